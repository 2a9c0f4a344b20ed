//! What people are told of decisions and reports, and reading what they were told.

use writ_proto::Reason;
use writ_proto::ids::TenantId;

use crate::app::App;
use crate::app::ask::decided::Decided;
use crate::app::reports::outcome::Reported;
use crate::domain::decide::{Outcome, Verdict};
use crate::domain::incident::notice::{Notice, NoticeKind};
use crate::domain::policy::PolicyErrors;
use crate::domain::record::Kind;
use crate::domain::request::Request;
use crate::error::AppError;
use crate::store::notice::NoticeRow;
use crate::{clock, ids};

fn field(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// A decision that waits for a person. Requests of one agent for one action are told together, so
/// that an agent cannot flood whoever approves.
pub(crate) fn waiting(request: &Request, outcome: &Outcome, decided: &Decided) -> Option<Notice> {
    let need = outcome.approval.as_ref();
    let need = need.filter(|_| outcome.verdict == Verdict::RequireApproval)?;
    let (agent, action) = (request.agent.as_str(), request.action.as_str());
    Some(Notice {
        id: ids::new_id(),
        tenant: request.caller_tenant.clone(),
        kind: NoticeKind::ApprovalWaiting,
        title: format!("a decision about {action} waits for role {}", need.role),
        fields: vec![
            field("agent", agent),
            field("action", action),
            field("role", &need.role),
            field("rules", &decided.rules.join(", ")),
        ],
        link: format!("policyd decisions show {}", decided.id),
        dedup_key: format!("approval_waiting|{agent}|{action}"),
        time_ms: decided.created_ms,
    })
}

/// A halt that was set or cleared, as connectord reports it.
pub(crate) fn halted(reported: &Reported) -> Option<Notice> {
    let (kind, what) = match reported.kind {
        Kind::HaltSet => (NoticeKind::HaltSet, "a halt was set"),
        Kind::HaltCleared => (NoticeKind::HaltCleared, "a halt was cleared"),
        _ => return None,
    };
    let id = ids::new_id();
    let mut fields = vec![
        field("by", &reported.by),
        field("scope", &scope_of(reported)),
    ];
    let ceiling = ceiling_of(reported);
    if let Some(ceiling) = ceiling {
        fields.push(field("limit", ceiling));
    }
    let (kind, what) = if ceiling.is_some() {
        (NoticeKind::LimitFired, "a ceiling of a card halted a run")
    } else {
        (kind, what)
    };
    Some(Notice {
        id,
        tenant: reported.tenant.clone(),
        kind,
        title: what.to_owned(),
        fields,
        link: "connectord halt status".to_owned(),
        dedup_key: match ceiling {
            // Runs that reach the same ceiling one after another are one message with a count.
            Some(ceiling) => format!("{}|caps|{ceiling}", kind.name()),
            None => format!("{}|{}", kind.name(), reported.outcome_id),
        },
        time_ms: clock::now().timestamp_millis(),
    })
}

/// The ceiling of a card that halted a run and the last call, without the record it was on.
fn ceiling_of(reported: &Reported) -> Option<&str> {
    let of_a_run = reported.kind == Kind::HaltSet && reported.scope.contains("/run:");
    let (why, _record) = reported.note.split_once(", on ")?;
    (of_a_run && reported.by == "caps").then_some(why)
}

/// A scope without the name of a customer.
fn scope_of(reported: &Reported) -> String {
    match reported.scope.split_once("customer:") {
        Some((before, _)) => format!("{before}customer"),
        None => reported.scope.clone(),
    }
}

impl App {
    /// The newest notices of a tenant.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn notices(
        &self,
        tenant: &TenantId,
        most: usize,
    ) -> Result<Vec<NoticeRow>, AppError> {
        Ok(self.ledger.notice_list(tenant, most).await?)
    }

    /// Tells a tenant that its changed policies were not accepted.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn tell_reload_failed(
        &self,
        tenant: &TenantId,
        errors: &PolicyErrors,
    ) -> Result<(), AppError> {
        let first = errors
            .0
            .first()
            .map_or(Reason::PolicyInvalid, |first| first.reason);
        let notice = Notice {
            id: ids::new_id(),
            tenant: tenant.clone(),
            kind: NoticeKind::PolicyReloadFailed,
            title: Reason::PolicyReloadFailed.sentence().to_owned(),
            fields: vec![
                field("findings", &errors.0.len().to_string()),
                field("first", first.code()),
            ],
            link: "policyd check policies".to_owned(),
            dedup_key: "policy_reload_failed".to_owned(),
            time_ms: clock::now().timestamp_millis(),
        };
        Ok(self.ledger.notice_add(&notice).await?)
    }
}
