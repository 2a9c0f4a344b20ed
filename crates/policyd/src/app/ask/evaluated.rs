//! The record of a decision: what stands in its leaf, and what is kept beside it.

use uuid::Uuid;
use writ_proto::money::Money;
use writ_proto::token::{Claims, Mode};
use writ_proto::value::{Value, number_from_text};

use crate::app::App;
use crate::app::ask::disclosed::{disclosure, disclosures};
use crate::domain::decide::facts::Facts;
use crate::domain::decide::{Outcome, Verdict};
use crate::domain::policy::schema::is_money;
use crate::domain::record::{Draft, Kind, PolicyStamp, TokenStamp};
use crate::domain::request::Request;
use crate::error::AppError;

impl App {
    pub(crate) fn draft(
        &self,
        request: &Request,
        outcome: &Outcome,
        facts: &Facts,
        (id, claims): (Uuid, Option<&Claims>),
    ) -> Result<Draft, AppError> {
        let mut draft = self.blank(Kind::Evaluated, &request.caller_tenant, id);
        draft.time_ms = facts.now.timestamp_millis();
        request.agent.as_str().clone_into(&mut draft.agent);
        // What no card has is text of the caller: it is committed to, as a value.
        let card = facts.policies.card(&request.action);
        let kind = request
            .target
            .as_ref()
            .map_or("", |(kind, _)| kind.as_str());
        if let Some(card) = card {
            card.name.as_str().clone_into(&mut draft.action);
            if card.connection.as_str() == request.connection {
                draft.connection.clone_from(&request.connection);
            }
            if card.target == kind {
                draft.target_type = kind.to_owned();
            }
        }
        let names = [
            (
                "action_name",
                request.action.as_str(),
                draft.action.as_str(),
            ),
            ("connection_name", &request.connection, &draft.connection),
            ("target_kind", kind, &draft.target_type),
        ];
        let names = names.into_iter().filter(|(_, said, kept)| said != kept);
        let names: Vec<_> = names
            .map(|(name, said, _)| (name, Value::Text(said.to_owned())))
            .collect();
        draft.verdict = Some(match outcome.verdict {
            Verdict::Deny => 0,
            Verdict::Allow => 1,
            Verdict::RequireApproval => 2,
        });
        draft.reasons = outcome
            .reason
            .iter()
            .map(|reason| reason.code().to_owned())
            .collect();
        draft.policy = Some(PolicyStamp {
            digest: facts.policies.digest,
            label: facts.policies.label.clone(),
            determining: outcome.determining.clone(),
            errors: outcome.errors.clone(),
            schema_digest: facts.policies.schema_digest,
        });
        draft.mode = Some(u8::from(request.mode == Mode::Execute));
        draft.money = money(request, facts);
        draft.token = claims.map(|claims| TokenStamp {
            cti: claims.cti.uuid(),
            kid: Some(self.signer.load().token_kid()),
            issued: claims.iat,
            expires: claims.exp,
        });
        draft.epoch = Some(facts.halts.epoch);
        draft.trace_id = request.trace_id;
        draft.disclosures = disclosures(request)?;
        for (name, value) in names {
            draft.disclosures.push(disclosure(name, value)?);
        }
        Ok(draft)
    }
}

/// The amount that a card calls money.
fn money(request: &Request, facts: &Facts) -> Option<(String, Value)> {
    let card = facts.policies.card(&request.action)?;
    let is_money = is_money(&card.args.get("amount")?.kind);
    let money = Money::from_value(request.args.get("amount").filter(|_| is_money)?).ok()?;
    let amount = number_from_text(&money.amount_text()).ok()?;
    Some((money.currency().to_owned(), amount))
}
