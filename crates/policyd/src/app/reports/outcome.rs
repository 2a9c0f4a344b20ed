//! What connectord reports: executions, refusals, undo, halts. Each becomes a record, once.

use uuid::Uuid;
use writ_proto::Reason;
use writ_proto::ids::{ActionName, AgentId, ConnectionId, TenantId};
use writ_proto::scope::{Part, Scope};
use writ_proto::value::{Map, Value, number_from_text};

use crate::app::App;
use crate::app::ask::disclosed::disclosure;
use crate::app::containment::denials::Denied;
use crate::app::containment::notices::halted;
use crate::app::reports::undo_writ::UndoWrit;
use crate::domain::budget::{SettledAs, Settlement, Unit};
use crate::domain::policy::TenantPolicies;
use crate::domain::record::{Draft, ExecutionStamp, HaltStamp, Kind};
use crate::error::AppError;
use crate::ids;
use crate::store::{Append, Incidents, StoreError, UndoRow};

/// One field before and after, as canonical values.
#[derive(Debug, Clone)]
pub struct Change {
    /// Field name.
    pub field: String,
    /// Before; none where the field was not there.
    pub before: Option<Value>,
    /// After.
    pub after: Option<Value>,
}

/// A reported outcome, taken apart by the edge.
#[derive(Debug, Clone)]
pub struct Reported {
    /// Made by connectord with the outcome.
    pub outcome_id: Uuid,
    /// Tenant of the record.
    pub tenant: TenantId,
    /// What happened.
    pub kind: Kind,
    /// Unix milliseconds.
    pub time_ms: i64,
    /// The decision that authorised it.
    pub decision: Option<Uuid>,
    /// The execution.
    pub execution: Option<Uuid>,
    /// Agent.
    pub agent: String,
    /// Connection.
    pub connection: String,
    /// Action.
    pub action: String,
    /// Object type and id.
    pub target: Option<(String, String)>,
    /// 0 dry run, 1 execute.
    pub mode: Option<u8>,
    /// Status.
    pub status: String,
    /// Reason code, or empty.
    pub reason_code: String,
    /// Attempt.
    pub attempt: u32,
    /// Milliseconds.
    pub milliseconds: u64,
    /// What changed.
    pub changes: Vec<Change>,
    /// What changed beside it.
    pub collateral: Vec<Change>,
    /// Whether a value could not be read and is kept as bytes.
    pub unread: bool,
    /// Who did it, for acts of people.
    pub by: String,
    /// Why.
    pub note: String,
    /// Currency and minor units that were executed, where that is not all of the amount.
    pub captured: Option<(String, i64)>,
    /// What a halt covers, or empty.
    pub scope: String,
}

/// The values on one side of changes, by field.
pub(crate) fn image(changes: &[Change], side: fn(&Change) -> &Option<Value>) -> Map {
    let mut map = Map::new();
    for change in changes {
        if let Some(value) = side(change) {
            map.set(&change.field, value.clone());
        }
    }
    map
}

/// What an outcome means for the holds of its decision.
fn settlement(reported: &Reported) -> Option<Settlement> {
    let ended = matches!(reported.kind, Kind::Result | Kind::Reconciliation);
    let to = match reported.status.as_str() {
        "DONE" | "RECONCILED_APPLIED" => SettledAs::Captured,
        "FAILED" | "RECONCILED_NOT_APPLIED" => SettledAs::Void,
        "IN_DOUBT" | "HUMAN" => SettledAs::Doubtful,
        _ => return None,
    };
    let decision = reported.decision.filter(|_| ended)?;
    Some(Settlement {
        decision,
        to,
        part: reported.captured.clone(),
    })
}

/// The code of a refused token, if it is a sign of probing. connectord names the agent by its
/// certificate; an agent of another tenant has a name here that is none.
fn refusal(reported: &Reported) -> Option<Reason> {
    let code = reported.reason_code.as_str();
    let probing = code.starts_with("TOKEN_") || code.starts_with("ARGS_");
    let refused = reported.kind == Kind::TokenRefused && probing;
    refused.then(|| Reason::from_code(code)).flatten()
}

/// Money that was executed, as a leaf says it.
fn money((currency, minor): &(String, i64)) -> Option<(String, Value)> {
    let shown = Unit::money(currency).ok()?.shown(*minor);
    Some((currency.clone(), number_from_text(&shown).ok()?))
}

/// What the leaf says of a halt: names of customers and runs are cut, and what is no scope is left out.
fn halt_stamp(reported: &Reported) -> HaltStamp {
    let read = reported.scope.parse::<Scope>().ok();
    let scope = read.map_or_else(String::new, |scope| {
        let whole = scope.to_string();
        let named = match scope.part() {
            Part::Customer(_) => "customer:",
            Part::Run(_) => "run:",
            // Agents, actions and connections are named by people too, and may be misspelt.
            Part::Agent(name) if AgentId::parse(name).is_err() => "agent:",
            Part::Action(name) if ActionName::parse(name).is_err() => "action:",
            Part::Connection(name) if ConnectionId::parse(name).is_err() => "connection:",
            _ => return whole,
        };
        let before = whole.split(named).next().unwrap_or_default();
        format!("{before}{named}(committed)")
    });
    HaltStamp { scope }
}

/// Puts the names of a report into its leaf. What no card has was written by a caller, who may have
/// written anything: it is a value that is committed to.
fn named(
    draft: &mut Draft,
    policies: &TenantPolicies,
    reported: &Reported,
) -> Vec<(&'static str, Value)> {
    let mut values = Vec::new();
    let text = |text: &str| Value::Text(text.to_owned());
    match AgentId::parse(&reported.agent) {
        Ok(agent) => agent.as_str().clone_into(&mut draft.agent),
        Err(_) if reported.agent.is_empty() => {}
        Err(_) => values.push(("agent_name", text(&reported.agent))),
    }
    let card = ActionName::parse(&reported.action).ok();
    let card = card.and_then(|action| policies.card(&action));
    let kind = reported
        .target
        .as_ref()
        .map_or("", |(kind, _)| kind.as_str());
    let parts = [
        (
            "action_name",
            reported.action.as_str(),
            card.map(|card| card.name.as_str()),
        ),
        (
            "connection_name",
            reported.connection.as_str(),
            card.map(|card| card.connection.as_str()),
        ),
        ("target_kind", kind, card.map(|card| card.target.as_str())),
    ];
    let slots = [
        &mut draft.action,
        &mut draft.connection,
        &mut draft.target_type,
    ];
    for ((name, said, known), slot) in parts.into_iter().zip(slots) {
        if known == Some(said) {
            said.clone_into(slot);
        } else if !said.is_empty() {
            values.push((name, text(said)));
        }
    }
    values
}

/// What a database refuses of one tenant is a matter of that outcome: whoever reports it goes on with the others.
fn unstored(error: StoreError) -> AppError {
    match &error {
        StoreError::Refused(_) => AppError {
            detail: error.to_string(),
            ..AppError::of(Reason::StoreCorrupt)
        },
        _ => error.into(),
    }
}

impl App {
    /// Makes an outcome a record. A repeated report changes nothing. What can be undone is answered
    /// with the writ that allows it.
    ///
    /// # Errors
    /// When it could not be recorded.
    pub async fn report(&self, reported: &[Reported]) -> Vec<Result<Option<UndoWrit>, AppError>> {
        let undos = match self.undo_rows(reported).await {
            Ok(undos) => undos,
            Err(error) => return reported.iter().map(|_| Err(error.clone())).collect(),
        };
        let appends = reported.iter().zip(undos);
        let appends = appends.map(|(one, undo)| self.outcome_append(one, undo));
        // All are handed over before the first is waited for, so that they share a commit.
        let pending: Vec<_> = appends
            .map(|append| Ok(self.writer.submit(append?)?))
            .collect();
        let mut stored: Vec<Result<(), AppError>> = Vec::with_capacity(pending.len());
        for one in pending {
            stored.push(match one {
                Ok(pending) => pending.done().await.map(|_| ()).map_err(unstored),
                Err(error) => Err(error),
            });
        }
        let writs = self.undo_writs(reported).await;
        let writs = writs.map_or_else(
            |error| reported.iter().map(|_| Err(error.clone())).collect(),
            |writs| writs.into_iter().map(Ok).collect::<Vec<_>>(),
        );
        for one in reported.iter().filter(|one| one.execution.is_some()) {
            let target = one.target.as_ref();
            self.forget_target(&one.tenant, &one.connection, target)
                .await;
        }
        let done = stored.into_iter().zip(writs);
        let done = done.map(|(stored, writ)| stored.and(writ)).collect();
        if reported.iter().any(|one| refusal(one).is_some())
            && let Err(error) = self.refresh_stops().await
        {
            tracing::warn!(%error, "wanted halts are looked for later");
        }
        done
    }

    /// What a refused token counts for.
    fn probing(&self, policies: &TenantPolicies, reported: &Reported) -> Incidents {
        let agent = AgentId::parse(&reported.agent).ok();
        let denied = agent.as_ref().zip(refusal(reported));
        let denied = denied.map(|(agent, reason)| Denied {
            policies,
            agent,
            action: &reported.action,
            reason,
            at_ms: reported.time_ms,
        });
        let denials = denied.map(|denied| self.denials(&denied));
        Incidents {
            denials: denials.unwrap_or_default(),
            ..Incidents::default()
        }
    }

    fn outcome_append(
        &self,
        reported: &Reported,
        undo: Option<UndoRow>,
    ) -> Result<Append, AppError> {
        let policies = self.policies.load().get(&reported.tenant).cloned();
        let policies = policies.ok_or_else(|| AppError::of(Reason::UnknownTenant))?;
        let incidents = self.probing(&policies, reported);
        let id = reported.decision.unwrap_or_else(ids::new_id);
        let mut draft = self.blank_record(reported.kind, &reported.tenant, id);
        // A later fact about a decision is the next version of its record.
        draft.later = reported.decision.is_some();
        draft.time_ms = reported.time_ms;
        let mut values = named(&mut draft, &policies, reported);
        draft.mode = reported.mode;
        draft
            .money
            .clone_from(&reported.captured.as_ref().and_then(money));
        if !reported.reason_code.is_empty() {
            draft.reasons = vec![reported.reason_code.clone()];
        }
        draft.execution = Some(ExecutionStamp {
            status: reported.status.clone(),
            attempt: reported.attempt,
            milliseconds: reported.milliseconds,
            execution: reported.execution,
        });
        if let Some((_, id)) = &reported.target {
            values.push(("target_id", Value::Text(id.clone())));
        }
        if !reported.changes.is_empty() {
            let side = |side| Value::Map(image(&reported.changes, side));
            values.push(("before", side(|change| &change.before)));
            values.push(("after", side(|change| &change.after)));
        }
        if !reported.collateral.is_empty() {
            let after = image(&reported.collateral, |change| &change.after);
            values.push(("collateral", Value::Map(after)));
        }
        for (name, text) in [("by", &reported.by), ("note", &reported.note)] {
            if !text.is_empty() {
                values.push((name, Value::Text(text.clone())));
            }
        }
        if matches!(reported.kind, Kind::HaltSet | Kind::HaltCleared) {
            let stamp = halt_stamp(reported);
            if stamp.scope != reported.scope {
                values.push(("scope", Value::Text(reported.scope.clone())));
            }
            draft.halt = Some(stamp);
        }
        let disclosures: Result<Vec<_>, _> = values
            .into_iter()
            .map(|(name, value)| disclosure(name, value))
            .collect();
        draft.disclosures = disclosures?;
        Ok(Append {
            outcome_id: Some(reported.outcome_id),
            settles: settlement(reported),
            notices: halted(reported).into_iter().collect(),
            incidents,
            undo,
            ..Append::record(reported.tenant.clone(), draft)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(kind: Kind, status: &str, reason: &str) -> Reported {
        Reported {
            outcome_id: Uuid::nil(),
            tenant: TenantId::parse("acme").unwrap(),
            kind,
            time_ms: 0,
            decision: Some(Uuid::from_u128(1)),
            execution: None,
            agent: "triage".into(),
            connection: String::new(),
            action: String::new(),
            target: None,
            mode: None,
            status: status.into(),
            reason_code: reason.into(),
            attempt: 1,
            milliseconds: 0,
            changes: vec![],
            collateral: vec![],
            unread: false,
            by: String::new(),
            note: String::new(),
            captured: None,
            scope: String::new(),
        }
    }

    #[test]
    fn only_the_end_of_an_execution_moves_what_is_held() {
        for (kind, status, to) in [
            (Kind::Result, "DONE", Some(SettledAs::Captured)),
            (Kind::Result, "FAILED", Some(SettledAs::Void)),
            (Kind::Result, "IN_DOUBT", Some(SettledAs::Doubtful)),
            (Kind::Result, "RUNNING", None),
            (
                Kind::Reconciliation,
                "RECONCILED_NOT_APPLIED",
                Some(SettledAs::Void),
            ),
            (Kind::Undo, "DONE", None),
            (Kind::TokenRefused, "FAILED", None),
        ] {
            let found = settlement(&reported(kind, status, ""));
            assert_eq!(found.map(|found| found.to), to, "{kind:?} {status}");
        }
    }

    #[test]
    fn only_a_refused_token_is_a_sign_of_probing() {
        for (kind, code, counts) in [
            (Kind::TokenRefused, "TOKEN_MALFORMED", true),
            (Kind::TokenRefused, "ARGS_NOT_CANONICAL", true),
            (Kind::TokenRefused, "HALTED", false),
            (Kind::Result, "TOKEN_EXPIRED", false),
        ] {
            let found = refusal(&reported(kind, "", code));
            assert_eq!(found.is_some(), counts, "{kind:?} {code}");
        }
    }

    #[test]
    fn a_leaf_names_no_customer_and_no_run_and_nothing_that_is_no_scope() {
        for (scope, shown) in [
            ("tenant:acme/agent:triage", "tenant:acme/agent:triage"),
            (
                "tenant:acme/customer:Ada",
                "tenant:acme/customer:(committed)",
            ),
            ("tenant:acme/run:ada-1", "tenant:acme/run:(committed)"),
            (
                "tenant:acme/agent:Ada Lovelace",
                "tenant:acme/agent:(committed)",
            ),
            ("Ada Lovelace", ""),
        ] {
            let halted = Reported {
                scope: scope.into(),
                ..reported(Kind::HaltSet, "", "")
            };
            assert_eq!(halt_stamp(&halted).scope, shown, "{scope}");
        }
    }

    #[test]
    fn a_notice_of_a_halt_names_no_customer() {
        for kind in [Kind::HaltSet, Kind::HaltCleared] {
            let told = halted(&Reported {
                scope: "tenant:acme/customer:Ada".into(),
                ..reported(kind, "", "")
            });
            let told = format!("{:?}", told.unwrap());
            assert!(told.contains("customer") && !told.contains("Ada"), "{told}");
        }
    }
}
