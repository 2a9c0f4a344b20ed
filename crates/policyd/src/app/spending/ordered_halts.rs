//! Halts that limits ordered: kept with the denial, handed to whoever sets halts, and forgotten
//! only when connectord has them, so that a crash in between loses none.

use std::collections::BTreeSet;

use writ_proto::scope::{Part, Scope};

use crate::app::App;
use crate::app::containment::halting::{Cause, Wanted};
use crate::domain::incident::notice::{Notice, NoticeKind};
use crate::error::AppError;
use crate::{clock, ids};

/// Most open orders that are looked at, and most of one tenant: none of them hides those of another.
const TRIPS_MAX: usize = 10_000;
const PER_TENANT_MAX: usize = 1_000;

impl App {
    /// Orders the halts that nobody was asked for yet, and closes those that connectord says stand.
    /// `asked` is what this process has ordered. Gives how many are still to be set.
    ///
    /// # Errors
    /// When the store is away or too many halts wait.
    pub async fn set_ordered_halts(&self, asked: &mut BTreeSet<Scope>) -> Result<usize, AppError> {
        let open = self.ledger.trip_list(TRIPS_MAX, PER_TENANT_MAX).await?;
        let count = open.len();
        let waiting: BTreeSet<Scope> = self.halting.waiting().into_iter().collect();
        // What waits no more and does not stand is ordered anew.
        asked.retain(|scope| waiting.contains(scope));
        for (tenant, trip) in open {
            let Some(part) = part(&trip.scope) else {
                tracing::error!(scope = trip.scope, "an ordered halt has no scope");
                continue;
            };
            let scope = Scope::new(Some(tenant.clone()), part.clone());
            let stands = self.halting.took_note(&scope);
            if stands || self.halted_since(&scope, trip.at_ms) {
                self.ledger.trip_done(&tenant, &trip).await?;
                asked.remove(&scope);
                continue;
            }
            if asked.contains(&scope) {
                continue;
            }
            // One that finds no room keeps none of the others from theirs.
            let whose = (Cause::Budget, agent_of(trip.key.subject()));
            match self.halting.set(&tenant, part, &trip.reason, whose) {
                Ok(()) => drop(asked.insert(scope)),
                Err(error) => tracing::debug!(%error, %scope, "an ordered halt waits"),
            }
        }
        Ok(count)
    }

    /// Whether an order is still wanted: that of an incident while one is open that wants it, that of a
    /// limit always. What cannot be looked up is wanted.
    pub async fn still_wants(&self, wanted: &Wanted) -> bool {
        let (Some(tenant), Cause::Incident, Part::Agent(agent)) =
            (wanted.scope.tenant(), wanted.by, wanted.scope.part())
        else {
            return true;
        };
        let open = self.ledger.incident_wants_halt(tenant, agent).await;
        open.unwrap_or(true)
    }

    /// Tells a tenant that connectord refuses a halt that policyd ordered: until somebody mends it,
    /// only policyd itself denies whom it concerns.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn tell_halt_refused(&self, scope: &Scope, code: &str) -> Result<(), AppError> {
        let Some(tenant) = scope.tenant() else {
            return Ok(());
        };
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let notice = Notice {
            id: ids::new_id(),
            tenant: tenant.clone(),
            kind: NoticeKind::HaltRefused,
            title: "connectord refuses a halt that policyd ordered".to_owned(),
            fields: vec![field("scope", &scope.to_string()), field("code", code)],
            link: "connectord halt drill".to_owned(),
            dedup_key: format!("halt_refused:{scope}"),
            time_ms: clock::now().timestamp_millis(),
        };
        Ok(self.ledger.notice_add(&notice).await?)
    }
}

/// The agent of `run:AGENT:RUN`; it may hold a colon itself, and its run cannot. Empty for another subject.
fn agent_of(subject: &str) -> &str {
    let run = subject
        .strip_prefix("run:")
        .and_then(|rest| rest.rsplit_once(':'));
    run.map_or("", |(agent, _)| agent)
}

fn part(scope: &str) -> Option<Part> {
    match scope.split_once(':')? {
        ("agent", name) => Some(Part::Agent(name.to_owned())),
        ("run", name) => Some(Part::Run(name.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_belongs_to_its_whole_agent() {
        for (subject, agent) in [
            ("run:triage:r-1", "triage"),
            ("run:triage:x:r-1", "triage:x"),
            ("agent:triage", ""),
            ("tenant", ""),
        ] {
            assert_eq!(agent_of(subject), agent, "{subject}");
        }
    }
}
