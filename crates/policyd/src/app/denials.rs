//! Repeated denials: what counts, what an incident stores, and whom it stops.

use std::collections::BTreeSet;

use writ_proto::Reason;
use writ_proto::ids::{ActionName, AgentId, TenantId};

use super::{App, AppError};
use crate::domain::escalation::{Denial, HaltWish, Incident, IncidentRule, UNKNOWN_ACTION};
use crate::domain::notice::{Notice, NoticeKind};
use crate::domain::policy_set::TenantPolicies;
use crate::domain::record::{IncidentStamp, Kind};
use crate::store::{Append, Incidents};
use crate::{clock, ids};

/// Halts that one round asks for.
const ROUND_MAX: usize = 64;

/// Agents whose halt an incident wants and connectord has not confirmed. policyd denies them
/// itself until it has.
pub type Stopped = BTreeSet<(TenantId, String)>;

/// A denial, as far as rules of incidents look at it.
#[derive(Debug, Clone)]
pub struct Denied<'a> {
    /// The agent's own tenant.
    pub policies: &'a TenantPolicies,
    /// Who was denied.
    pub agent: &'a AgentId,
    /// What it asked for, as far as it was readable.
    pub action: &'a str,
    /// Why it was denied.
    pub reason: Reason,
    /// When, Unix milliseconds.
    pub at_ms: i64,
}

impl App {
    /// What the rules of a tenant make of a denial.
    #[must_use]
    pub fn denials(&self, denied: &Denied<'_>) -> Vec<Denial> {
        let action = ActionName::parse(denied.action).ok();
        let action = action.filter(|action| denied.policies.card(action).is_some());
        let counts = |rule: &&IncidentRule| rule.counts(action.as_ref(), denied.reason);
        let rules = denied.policies.incident_rules.iter().filter(counts);
        rules
            .map(|rule| self.denial(rule, denied, action.as_ref()))
            .collect()
    }

    fn denial(
        &self,
        rule: &IncidentRule,
        denied: &Denied<'_>,
        action: Option<&ActionName>,
    ) -> Denial {
        let (tenant, id) = (&denied.policies.tenant, ids::new_id());
        let now_ms = clock::now().timestamp_millis();
        let incident = Incident {
            id,
            tenant: tenant.clone(),
            agent: denied.agent.as_str().to_owned(),
            action: action.map_or(UNKNOWN_ACTION, ActionName::as_str).to_owned(),
            rule: rule.id.clone(),
            count: rule.denials,
            window_seconds: rule.window_seconds,
            codes: Vec::new(),
            opened_ms: now_ms,
            halt: if rule.halts_agent {
                HaltWish::Wanted
            } else {
                HaltWish::None
            },
            closed: None,
        };
        let mut record = self.blank_record(Kind::IncidentOpened, tenant, id);
        record.agent.clone_from(&incident.agent);
        record.action.clone_from(&incident.action);
        record.incident = Some(stamp(&incident));
        Denial {
            key: rule.key(denied.agent, action),
            // A clock of another machine cannot move the count into the future.
            at_ms: denied.at_ms.min(now_ms),
            code: denied.reason.code().to_owned(),
            notice: rule.notifies.then(|| notice(&incident)),
            incident,
            record,
        }
    }

    /// Counts a denial that is no record.
    ///
    /// # Errors
    /// When it could not be counted.
    pub(super) async fn count(&self, denied: &Denied<'_>) -> Result<(), AppError> {
        let denials = self.denials(denied);
        if denials.is_empty() {
            return Ok(());
        }
        let tenant = &denied.policies.tenant;
        let record = self.blank_record(Kind::Evaluated, tenant, ids::new_id());
        let append = Append {
            incidents: Incidents {
                denials,
                closes: None,
                counts_only: true,
            },
            ..Append::record(tenant.clone(), record)
        };
        self.writer.append(append).await?;
        self.look_for_stops(&denied.policies.incident_rules).await
    }

    /// After a denial that may have opened an incident: from the next request on the agent is
    /// denied by this process.
    pub(super) async fn look_for_stops(&self, rules: &[IncidentRule]) -> Result<(), AppError> {
        if rules.iter().any(|rule| rule.halts_agent) {
            let wanted = self.refresh_stops().await?;
            if !wanted.is_empty() {
                self.escalate.notify_one();
            }
        }
        Ok(())
    }

    /// Reads which halts are wanted. Those it returns are to be asked for.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn refresh_stops(&self) -> Result<Vec<Incident>, AppError> {
        let wanted = self.ledger.incident_halts_wanted(ROUND_MAX).await?;
        let stopped: Stopped = wanted
            .iter()
            .map(|incident| (incident.tenant.clone(), incident.agent.clone()))
            .collect();
        if **self.stopped.load() != stopped {
            self.stopped.store(std::sync::Arc::new(stopped));
        }
        Ok(wanted)
    }

    /// Whether policyd itself denies an agent because of an incident.
    #[must_use]
    pub(super) fn is_stopped(&self, tenant: &TenantId, agent: &AgentId) -> bool {
        let stopped = self.stopped.load();
        !stopped.is_empty() && stopped.contains(&(tenant.clone(), agent.as_str().to_owned()))
    }
}

pub(super) fn stamp(incident: &Incident) -> IncidentStamp {
    IncidentStamp {
        rule: incident.rule.clone(),
        denials: incident.count,
        window_seconds: incident.window_seconds,
        halts_agent: incident.halt != HaltWish::None,
    }
}

fn notice(incident: &Incident) -> Notice {
    let halts = incident.halt != HaltWish::None;
    let consequence = if halts { "; it is being halted" } else { "" };
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let (count, window) = (incident.count, incident.window_seconds);
    Notice {
        id: ids::new_id(),
        tenant: incident.tenant.clone(),
        kind: NoticeKind::Incident,
        title: format!(
            "agent {} was denied again and again{consequence}",
            incident.agent
        ),
        fields: vec![
            field("agent", &incident.agent),
            field("action", &incident.action),
            field("rule", &incident.rule),
            field("denials", &format!("{count} within {window} s")),
            field("halt", if halts { "agent" } else { "none" }),
        ],
        link: format!("policyd incidents show {}", incident.id),
        dedup_key: format!("incident|{}", incident.id),
        time_ms: incident.opened_ms,
    }
}
