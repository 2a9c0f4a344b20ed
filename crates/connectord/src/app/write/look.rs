//! The look before a write: the record, whose it is, the plan, the reads before it, and the very
//! requests that will be sent. A dry run ends here.

use super::super::App;
use super::super::admit::Admitted;
use crate::domain::gate::{Call, Refusal};
use crate::domain::identity::{Signal, absent, confirm};
use crate::domain::image::Image;
use crate::domain::plan::{Plan, check_when, plan};
use crate::system::{Prepared, Wanted};
use writ_proto::Reason;
use writ_proto::card::{Card, RecordCeiling, Rollout};
use writ_proto::token::Mode;

use super::super::AppError;

/// What was seen before a write.
#[derive(Debug)]
pub(super) struct Seen {
    /// The record as it stood.
    pub(super) before: Image,
    /// What will be done.
    pub(super) plan: Plan,
    /// Answers of the reads before it.
    pub(super) prepared: Prepared,
    /// The requests as they would go out, without the credential.
    pub(super) requests: Vec<String>,
}

/// The field that a ceiling of the card is read from.
const fn ceiling_field(card: &Card) -> Option<&String> {
    match &card.caps.amount_per_record {
        Some(RecordCeiling::Field(field)) => Some(field),
        _ => None,
    }
}

/// Fields that a call of this card reads: what it writes, and what it is held to.
fn wanted(card: &Card) -> Wanted {
    let fields = card
        .args
        .iter()
        .filter(|(name, _)| card.verb.names_fields() && !card.identify.contains(name));
    Wanted {
        written: fields.map(|(_, arg)| arg.field.clone()).collect(),
        seen: card
            .when
            .keys()
            .chain(&card.customer)
            .chain(ceiling_field(card))
            .cloned()
            .collect(),
    }
}

impl App {
    /// The before-image, the plan, and what it takes to do it.
    pub(super) async fn look(&self, admitted: &Admitted, call: &Call) -> Result<Seen, Refusal> {
        let (card, system) = (&admitted.card, &admitted.system);
        let (object, id) = call.target.clone().unwrap_or_default();
        let before = if card.verb.has_record() {
            system.read(&object, &id, &wanted(card)).await?
        } else {
            Image::default()
        };
        // Before anything else is said of the record: whose it is may be what halts the call.
        self.check_before_write((card, admitted.permit.claims()), call, &before)?;
        self.identify(admitted, (&object, &id)).await?;
        let mut plan = plan(&admitted.permit, call, card, &before)?;
        if let Some(promoted) = &admitted.promoted {
            check_when(promoted, &before)?;
        }
        for field in &mut plan.fields {
            field.new = system.spelled(&object, &field.field, &field.new)?;
        }
        let prepared = system.prepare(&plan).await?;
        let requests = match call.mode {
            Mode::DryRun => system.rehearse(&plan, &prepared).await?,
            Mode::Execute => Vec::new(),
        };
        Ok(Seen {
            before,
            plan,
            prepared,
            requests,
        })
    }

    /// The ambiguity stop: what every signal finds, and whether that is the target alone.
    async fn identify(
        &self,
        admitted: &Admitted,
        (object, id): (&str, &str),
    ) -> Result<(), Refusal> {
        let mut signals = Vec::new();
        for name in &admitted.card.identify {
            let found = admitted
                .system
                .find(object, name, admitted.permit.args())
                .await;
            signals.push(Signal {
                name: name.clone(),
                ids: found?,
            });
        }
        if admitted.card.verb.has_record() {
            confirm(id, &signals)
        } else {
            absent(&signals)
        }
    }

    /// Whether the action may write still, as the database has it at this moment.
    pub(super) async fn still_writes(
        &self,
        admitted: &Admitted,
        call: &Call,
    ) -> Result<Result<(), Refusal>, AppError> {
        let now = self.rollout_now(&call.tenant, &admitted.card).await?;
        if now.writes() && now >= admitted.rollout.min(Rollout::Pilot) {
            return Ok(Ok(()));
        }
        let detail = format!("{} is at {}", call.action, now.name());
        Ok(Err(Refusal::new(Reason::DryRunOnly, detail)))
    }
}
