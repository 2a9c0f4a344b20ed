//! Readings: what an agent sees of records, by a writ like every other act, apart from the path of
//! writes. Values are answered and never journaled; that they were read is a record.

use writ_proto::Reason;
use writ_proto::card::{Card, Verb};
use writ_proto::token::Mode;
use writ_proto::value::Value;

use super::outcome::Kind;
use super::write::Spent;
use super::{App, AppError};
use crate::app::write::admit::{Admitted, Purpose};
use crate::domain::caps;
use crate::domain::execution::{Execution, State};
use crate::domain::gate::{Call, Refusal};
use crate::domain::identity::{Signal, matches};
use crate::domain::image::Image;
use crate::store::JournalError;
use crate::system::Wanted;

/// Most records that one search shows; more are an answer that says to narrow it.
pub const FOUND_MAX: usize = 10;

/// One field as the agent may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenField {
    /// Name in the system of record.
    pub name: String,
    /// The value, masked if the card says so; null where nothing is.
    pub value: Value,
    /// Whether only a part of it is shown.
    pub masked: bool,
}

impl SeenField {
    /// Whether it is text that somebody wrote: data, and never an instruction.
    #[must_use]
    pub const fn untrusted(&self) -> bool {
        !matches!(self.value, Value::Null | Value::Bool(_) | Value::Int(_))
    }
}

/// One record as the agent may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRecord {
    /// Id in the system of record.
    pub id: String,
    /// Version tag, to rely on in a later call.
    pub version: Option<String>,
    /// The fields that the card names, sorted; what is not there is null.
    pub fields: Vec<SeenField>,
}

/// What a reading came to.
#[derive(Debug)]
pub struct Reading {
    /// The journal entry, which holds no values.
    pub execution: Execution,
    /// The records, in the order of their ids.
    pub records: Vec<SeenRecord>,
}

fn seen(card: &Card, id: &str, image: &Image) -> SeenRecord {
    let names = card.sight.iter().flat_map(writ_proto::card::Sight::fields);
    let field = |name: &str| SeenField {
        name: name.to_owned(),
        value: image
            .value(name)
            .map_or(Value::Null, |value| card.shown(name, value)),
        masked: card.sight.as_ref().is_some_and(|sight| sight.masks(name)),
    };
    SeenRecord {
        id: id.to_owned(),
        version: image.version.clone(),
        fields: names.map(field).collect(),
    }
}

impl App {
    /// Spends the writ of a reading and reads. Halts stop writes and not this; ceilings of the
    /// card count every record that is shown.
    ///
    /// # Errors
    /// The refusal, which is also a record, or that the journal or the system is away.
    pub async fn read_records(
        &self,
        token: &[u8],
        call: &Call,
        certificate: [u8; 32],
    ) -> Result<Reading, AppError> {
        if self.reserve.is_short() {
            return Err(AppError::of(Reason::DiskReserve));
        }
        if call.mode != Mode::DryRun {
            let refusal = Refusal::new(Reason::DryRunOnly, "a reading is asked for as a dry run");
            return Err(self.refuse(call, &refusal).await);
        }
        let spent = self.spend(token, call, certificate, Purpose::Read).await?;
        let Spent::Fresh(spent) = spent else {
            // Values are not kept, and a second look may see other ones.
            return Err(self.refuse(call, &Refusal::of(Reason::TokenReplayed)).await);
        };
        let (admitted, mut execution) = *spent;
        let found = self.look_up(&admitted, call).await;
        let records = match found {
            Ok(records) => records,
            Err(refusal) => {
                self.fail(execution, &refusal).await?;
                return Err(refusal.into());
            }
        };
        // The first record was counted when the writ was spent.
        let more = records.len().saturating_sub(1);
        let counts = caps::at_read(&admitted.card, call, more, self.local_now(&call.tenant));
        let counted = &mut [&mut execution];
        match self.journal.save_counted(counted, vec![], counts).await {
            Ok(()) => {}
            Err(JournalError::OverCap(over)) => {
                let refusal = self.over(call, over).await;
                self.fail(execution, &refusal).await?;
                return Err(refusal.into());
            }
            Err(error) => return Err(error.into()),
        }
        // Only now: what is over a ceiling is not told by its ids either.
        let ids: Vec<&str> = records.iter().map(|record| record.id.as_str()).collect();
        let object = &admitted.card.target;
        execution.sentence = match ids.as_slice() {
            [] => format!("found no {object}"),
            ids => format!("read {object} {}", ids.join(", ")),
        };
        let execution = self.end(execution, State::Done, Kind::Result).await?;
        Ok(Reading { execution, records })
    }

    async fn look_up(&self, admitted: &Admitted, call: &Call) -> Result<Vec<SeenRecord>, Refusal> {
        let (card, system) = (&admitted.card, &admitted.system);
        let (object, id) = call.target.clone().unwrap_or_default();
        let ids = if card.verb == Verb::Find {
            let mut signals = Vec::new();
            for name in card.args.keys() {
                let found = system.find(&object, name, admitted.permit.args()).await;
                signals.push(Signal {
                    name: name.clone(),
                    ids: found?,
                });
            }
            let ids = matches(&signals)?;
            if ids.len() > FOUND_MAX {
                let why = format!("more than {FOUND_MAX} match; name more of what you look for");
                return Err(Refusal::new(Reason::TargetAmbiguous, why));
            }
            ids.into_iter().cloned().collect()
        } else {
            vec![id]
        };
        let seen_fields = card.sight.iter().flat_map(writ_proto::card::Sight::fields);
        let wanted = Wanted {
            written: Vec::new(),
            seen: seen_fields.map(str::to_owned).collect(),
        };
        let mut records = Vec::new();
        for id in ids {
            let image = system.read(&object, &id, &wanted).await?;
            records.push(seen(card, &id, &image));
        }
        Ok(records)
    }
}
