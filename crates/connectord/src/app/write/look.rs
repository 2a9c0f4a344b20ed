//! The look before a write: the record, whose it is, the plan, the reads before it, and the very
//! requests that will be sent. A dry run ends here.

use std::sync::Arc;

use super::super::App;
use crate::app::write::admit::Admitted;
use crate::clock;
use crate::domain::gate::not_live;
use crate::domain::gate::{Call, Refusal};
use crate::domain::identity::{Signal, absent, confirm};
use crate::domain::image::Image;
use crate::domain::plan::{Plan, check_when, plan};
use crate::domain::promotion::check_promoted;
use crate::store::Promoted;
use crate::system::{Prepared, Wanted};
use writ_proto::Reason;
use writ_proto::card::{Card, RecordCeiling};
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
fn wanted(admitted: &Admitted) -> Wanted {
    let card = &admitted.card;
    let fields = card
        .args
        .iter()
        .filter(|(name, _)| card.verb.names_fields() && !card.identify.contains(name));
    let looked = |card: &Card| -> Vec<String> {
        let named = card.when.keys().chain(&card.customer);
        named.chain(ceiling_field(card)).cloned().collect()
    };
    let others = admitted.also.iter().flat_map(|other| looked(other));
    Wanted {
        written: fields.map(|(_, arg)| arg.field.clone()).collect(),
        seen: looked(card).into_iter().chain(others).collect(),
    }
}

impl App {
    /// The before-image, the plan, and what it takes to do it.
    pub(super) async fn look(&self, admitted: &Admitted, call: &Call) -> Result<Seen, Refusal> {
        let (card, system) = (&admitted.card, &admitted.system);
        let (object, id) = call.target.clone().unwrap_or_default();
        let before = if card.verb.has_record() {
            system.read(&object, &id, &wanted(admitted)).await?
        } else {
            Image::default()
        };
        // Before anything else is said of the record: whose it is may be what halts the call.
        self.check_before_write((card, admitted.permit.claims()), call, &before)?;
        self.identify(admitted, (&object, &id)).await?;
        let mut plan = plan(&admitted.permit, call, card, &before)?;
        for other in &admitted.also {
            check_when(other, &before)?;
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

    /// Whether a call that is on its way is allowed by what was promoted meanwhile.
    fn still_holds(
        &self,
        admitted: &Admitted,
        call: &Call,
        (set, before): (&Promoted, &Image),
    ) -> Result<(), Refusal> {
        let card = &admitted.card;
        let Some(promoted) = self.as_promoted(set, card, &admitted.system)? else {
            return Ok(());
        };
        let args = admitted.permit.args();
        check_promoted(&promoted, card, call, args, clock::now())?;
        check_when(&promoted, before)
    }

    /// Whether the action may write still, as the database has it at this moment.
    pub(super) async fn still_writes(
        &self,
        admitted: &Admitted,
        call: &Call,
        before: &Image,
    ) -> Result<Result<(), Refusal>, AppError> {
        let set = self.journal.rollout_now(&call.tenant, &call.action).await?;
        let catalog = self.catalog.load();
        let in_force = match catalog.held(&call.tenant, &call.action) {
            Ok(held) => Arc::clone(&held.card),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let of = |card: &Card| Self::within(card, set.as_ref());
        let now = of(&admitted.card).min(of(&in_force));
        if now.writes() && now >= admitted.rollout {
            let args = admitted.permit.args();
            let narrower = check_promoted(&in_force, &admitted.card, call, args, clock::now());
            if let Err(refusal) = narrower.and_then(|()| check_when(&in_force, before)) {
                let detail = "the card was changed while this call was under way, and does not allow it any more";
                return Ok(Err(Refusal::new(refusal.reason, detail)));
            }
            let moved = set.filter(|set| set.revision != admitted.revision);
            return Ok(moved.map_or(Ok(()), |set| {
                self.still_holds(admitted, call, (&set, before))
            }));
        }
        let detail = not_live(&call.action, now);
        Ok(Err(Refusal::new(Reason::DryRunOnly, detail)))
    }
}
