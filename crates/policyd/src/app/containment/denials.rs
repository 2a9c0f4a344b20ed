//! Repeated denials: what counts, what an incident stores, and whom it stops.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;
use writ_proto::Reason;
use writ_proto::ids::{ActionName, AgentId, TenantId};

use crate::app::App;
use crate::domain::incident::notice::{Notice, NoticeKind};
use crate::domain::incident::{Denial, HaltWish, Incident, IncidentRule, UNKNOWN_ACTION};
use crate::domain::policy::TenantPolicies;
use crate::domain::record::{IncidentStamp, Kind};
use crate::error::AppError;
use crate::store::{Append, Incidents};
use crate::{clock, ids};

/// Halts that one round asks for.
const ROUND_MAX: usize = 64;
/// Most agents of one tenant that policyd stops by name.
pub const STOPPED_MAX: usize = 1_000;

/// Agents whose halt an incident wants and connectord has not confirmed. policyd denies them
/// itself until it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stopped {
    agents: BTreeSet<(TenantId, String)>,
    /// Tenants that have more than can be named: a list that was cut denies all of its tenant.
    whole: BTreeSet<TenantId>,
}

impl Stopped {
    /// At most one agent more than `STOPPED_MAX` of each tenant.
    fn of(agents: BTreeSet<(TenantId, String)>) -> Self {
        let mut counts: BTreeMap<&TenantId, usize> = BTreeMap::new();
        for (tenant, _) in &agents {
            let count = counts.entry(tenant).or_default();
            *count = count.saturating_add(1);
        }
        let whole = counts.into_iter().filter(|(_, count)| *count > STOPPED_MAX);
        let whole = whole.map(|(tenant, _)| tenant.clone()).collect();
        Self { agents, whole }
    }

    fn is_empty(&self) -> bool {
        self.agents.is_empty()
    }

    fn holds(&self, tenant: &TenantId, agent: &AgentId) -> bool {
        let key = || (tenant.clone(), agent.as_str().to_owned());
        !self.agents.is_empty() && (self.whole.contains(tenant) || self.agents.contains(&key()))
    }
}

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
    pub(crate) async fn count(&self, denied: &Denied<'_>) -> Result<(), AppError> {
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
    pub(crate) async fn look_for_stops(&self, rules: &[IncidentRule]) -> Result<(), AppError> {
        if rules.iter().any(|rule| rule.halts_agent) {
            self.refresh_stops().await?;
            if !self.stopped.load().is_empty() {
                self.escalate.notify_one();
            }
        }
        Ok(())
    }

    /// Reads whom incidents stop.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn refresh_stops(&self) -> Result<(), AppError> {
        // One after the other: an older list never takes the place of a newer one.
        let _order = self.refreshing.lock().await;
        let most = STOPPED_MAX.saturating_add(1);
        let stopped = Stopped::of(self.ledger.agents_to_halt(most).await?);
        if **self.stopped.load() != stopped {
            self.stopped.store(std::sync::Arc::new(stopped));
        }
        Ok(())
    }

    /// The next incidents whose halt is to be asked for, behind one that was asked for last: one that
    /// cannot be set keeps none of the others waiting.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn halts_wanted(&self, after: Uuid) -> Result<Vec<Incident>, AppError> {
        Ok(self.ledger.incident_halts_wanted(after, ROUND_MAX).await?)
    }

    /// Whether policyd itself denies an agent because of an incident.
    #[must_use]
    pub(crate) fn is_stopped(&self, tenant: &TenantId, agent: &AgentId) -> bool {
        self.stopped.load().holds(tenant, agent)
    }
}

pub(crate) fn stamp(incident: &Incident) -> IncidentStamp {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_was_cut_denies_all_of_its_tenant_and_nobody_else() {
        let tenant = |name: &str| TenantId::parse(name).unwrap();
        let agents = |count: usize| {
            let name = |index: usize| (tenant("acme"), format!("agent-{index}"));
            Stopped::of((0..count).map(name).collect())
        };
        let other = AgentId::parse("other").unwrap();
        let last = AgentId::parse(&format!("agent-{}", STOPPED_MAX - 1)).unwrap();
        let full = agents(STOPPED_MAX);
        assert!(full.holds(&tenant("acme"), &last) && !full.holds(&tenant("acme"), &other));
        assert!(!full.holds(&tenant("globex"), &last));
        let cut = agents(STOPPED_MAX + 1);
        assert!(cut.holds(&tenant("acme"), &other) && !cut.holds(&tenant("globex"), &other));
        assert!(agents(0).is_empty() && !agents(0).holds(&tenant("acme"), &last));
    }
}
