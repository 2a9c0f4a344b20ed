//! Halts that limits ordered: kept with the denial, handed to whoever sets halts, and forgotten
//! only when connectord has them, so that a crash in between loses none.

use std::collections::BTreeSet;

use writ_proto::scope::{Part, Scope};

use super::halting::Cause;
use super::{App, AppError};

/// Most halts of one round.
const ROUND_MAX: usize = 64;

impl App {
    /// Hands over what nobody was asked for yet, and ends what is set. `asked` is what this
    /// process has handed over. Gives how many are still to be set.
    ///
    /// # Errors
    /// When the store is away or too many halts wait.
    pub async fn set_ordered_halts(&self, asked: &mut BTreeSet<Scope>) -> Result<usize, AppError> {
        let open = self.ledger.trip_list(ROUND_MAX).await?;
        let count = open.len();
        for (tenant, trip) in open {
            let Some(part) = part(&trip.scope) else {
                tracing::error!(scope = trip.scope, "an ordered halt has no scope");
                continue;
            };
            let scope = Scope::new(Some(tenant.clone()), part.clone());
            if asked.contains(&scope) {
                if !self.halting.waiting().contains(&scope) {
                    self.ledger.trip_done(&tenant, &trip).await?;
                    asked.remove(&scope);
                }
                continue;
            }
            self.halting
                .set(&tenant, part, &trip.reason, Cause::Budget)?;
            asked.insert(scope);
        }
        Ok(count)
    }
}

fn part(scope: &str) -> Option<Part> {
    match scope.split_once(':')? {
        ("agent", name) => Some(Part::Agent(name.to_owned())),
        ("run", name) => Some(Part::Run(name.to_owned())),
        _ => None,
    }
}
