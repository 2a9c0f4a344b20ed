//! Budgets as they stand, and raising one for a time.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;
use writ_proto::Reason;
use writ_proto::digest::sha256;
use writ_proto::ids::{AgentId, TenantId};
use writ_proto::value::Value;

use crate::app::App;
use crate::app::ask::disclosed::disclosure;
use crate::clock;
use crate::domain::budget::{
    Budget, Counter, Key, RAISE_MS_MAX, Raise, SPIKE_DAYS, Scope, Subject, View, view,
};
use crate::domain::policy::TenantPolicies;
use crate::domain::record::{BudgetStamp, Kind};
use crate::error::AppError;
use crate::store::{Append, Appended, Raising, Wanted};

const DAY_MS: i64 = 24 * 3_600 * 1_000;
/// The longest window is a day, and a spike is told from seven days before it.
const KEPT_MS: i64 = 10 * DAY_MS;
/// A run may go on for long; one that comes again after this time begins anew.
const RUNS_KEPT_MS: i64 = 90 * DAY_MS;
/// Counters that are removed at once, and how often in a row.
const PRUNED_MAX: usize = 1_000;
const ROUNDS_MAX: usize = 1_000;

/// Most counters in one list.
pub const LISTED_MAX: usize = 1_000;

/// A budget and how it stands for one subject.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The budget.
    pub budget: Budget,
    /// How it stands.
    pub view: View,
    /// Whether the figures are the caller's to see.
    pub open: bool,
}

/// What an operator asks for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The caller's id of the request.
    pub request_id: Uuid,
    /// Id of the budget.
    pub budget: String,
    /// Whose; empty is everybody.
    pub subject: String,
    /// By how much, a decimal.
    pub amount: String,
    /// Until when.
    pub until: DateTime<Utc>,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
}

/// The id of an outcome that a caller names: another tenant, or another kind of request, under
/// the same id is another outcome.
pub(crate) fn named_id(what: &str, tenant: &TenantId, id: Uuid) -> Uuid {
    let named = format!("writ {what} {tenant} {id}");
    let digest = sha256(named.as_bytes());
    let half: [u8; 16] = core::array::from_fn(|at| digest.get(at).copied().unwrap_or_default());
    Uuid::from_bytes(half)
}

/// Whether somebody may see a counter: an agent its own and those of its runs.
fn is_open(subject: &str, agent: Option<&AgentId>) -> bool {
    let Some(agent) = agent else { return true };
    let own = agent.as_str();
    let of_run = subject
        .strip_prefix("run:")
        .and_then(|rest| rest.rsplit_once(':'));
    subject.strip_prefix("agent:") == Some(own) || of_run.is_some_and(|(agent, _)| agent == own)
}

impl App {
    pub(crate) fn set_of(
        &self,
        tenant: &TenantId,
    ) -> Result<std::sync::Arc<TenantPolicies>, AppError> {
        let table = self.policies.load();
        let set = table.get(tenant).cloned();
        set.ok_or_else(|| AppError::of(Reason::UnknownTenant))
    }

    /// Budgets of a tenant as they stand now: of an agent those that bind it, with its own
    /// figures only. The second is whether there are more than are listed.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn budgets(
        &self,
        tenant: &TenantId,
        agent: Option<&AgentId>,
    ) -> Result<(Vec<Standing>, bool), AppError> {
        let set = self.set_of(tenant)?;
        let mut all = Vec::new();
        for budget in &set.budgets {
            all.extend(self.standing(&set, budget, None, agent).await?);
            if all.len() > LISTED_MAX {
                all.truncate(LISTED_MAX);
                return Ok((all, true));
            }
        }
        Ok((all, false))
    }

    /// One budget for one subject; an agent's own where none is named.
    ///
    /// # Errors
    /// `NOT_FOUND` where there is no such budget, or it is not the caller's to see.
    pub async fn budget(
        &self,
        tenant: &TenantId,
        agent: Option<&AgentId>,
        (id, subject): (&str, &str),
    ) -> Result<Standing, AppError> {
        let set = self.set_of(tenant)?;
        let not_found = || AppError::of(Reason::NotFound);
        let budget = set.budget(id).ok_or_else(not_found)?;
        let (scope, subject) = (budget.scope, Some(subject).filter(|one| !one.is_empty()));
        if let Some(subject) = subject {
            let kind = subject.split(':').next().unwrap_or_default();
            let theirs = scope != Scope::Tenant && !is_open(subject, agent);
            if kind != scope.name() || subject.len() > SUBJECT_BYTES_MAX || theirs {
                return Err(not_found());
            }
        }
        let nobody = subject.is_none() && matches!(scope, Scope::Customer | Scope::Run);
        // Whom a budget counts where nobody is named: nobody, or whoever asks.
        let whose = subject.or(nobody.then_some("")).or(match (scope, agent) {
            (Scope::Agent, None) => Some(""),
            _ => None,
        });
        let mut found = self.standing(&set, budget, whose, agent).await?;
        found.pop().ok_or_else(not_found)
    }

    /// The counters of a budget in the window of now: of one subject, or of all that the caller
    /// may know of. Where there are none, one without use.
    async fn standing(
        &self,
        set: &TenantPolicies,
        budget: &Budget,
        whose: Option<&str>,
        agent: Option<&AgentId>,
    ) -> Result<Vec<Standing>, AppError> {
        let (now, zone) = (clock::now(), set.zone);
        let (id, end) = (&budget.id, format!("|{}", budget.window.named(now, zone)));
        let whose = match (whose, budget.scope, agent) {
            (Some(whose), ..) => Some(whose.to_owned()),
            (None, Scope::Tenant, _) => Some(Subject::Tenant.to_string()),
            (None, Scope::Agent, Some(agent)) => {
                Some(Subject::Agent(agent.as_str().to_owned()).to_string())
            }
            // Which customers others work for is not for an agent to see.
            (None, Scope::Customer, Some(_)) => Some(String::new()),
            (None, ..) => None,
        };
        let begin = match (&whose, agent) {
            (Some(whose), _) => format!("{id}|{whose}|"),
            (None, Some(agent)) => format!("{id}|run:{}:", agent.as_str()),
            (None, None) => format!("{id}|{}:", budget.scope.name()),
        };
        let wanted = Wanted {
            begin: &begin,
            end: &end,
        };
        let most = LISTED_MAX.saturating_add(1);
        // One counter is looked up by its key; only a list goes through the keys of a tenant.
        let mut counters = match whose.as_deref().filter(|whose| !whose.is_empty()) {
            Some(whose) => {
                let key = Key::stored(format!("{id}|{whose}{end}"));
                let found = self.ledger.counters(&set.tenant, &[key]).await?;
                found.into_iter().collect()
            }
            None => self.ledger.counter_list(&set.tenant, wanted, most).await?,
        };
        let shared = budget.scope == Scope::Tenant;
        let wanted = |subject: &str| whose.as_deref().is_none_or(|whose| whose == subject);
        counters
            .retain(|(key, _)| wanted(key.subject()) && (shared || is_open(key.subject(), agent)));
        if counters.is_empty() {
            let unused = format!("{id}|{}{end}", whose.unwrap_or_default());
            counters.push((Key::stored(unused), Counter::default()));
        }
        let raises = self
            .ledger
            .raise_list(&set.tenant, now.timestamp_millis())
            .await?;
        let hidden = agent.is_some() && matches!(budget.scope, Scope::Tenant | Scope::Customer);
        let subjects: Vec<&str> = counters.iter().map(|(key, _)| key.subject()).collect();
        let used = self.days(set, budget, (&subjects, now)).await?;
        let mut standings = Vec::with_capacity(counters.len());
        for (key, counter) in &counters {
            let days = used.get(key.subject()).cloned().unwrap_or_default();
            standings.push(Standing {
                budget: budget.clone(),
                view: view(budget, (key, counter), &raises, &days, (now, zone)),
                open: !hidden,
            });
        }
        Ok(standings)
    }

    /// What each subject used on the days before, where a spike is told from them.
    async fn days(
        &self,
        set: &TenantPolicies,
        budget: &Budget,
        (subjects, now): (&[&str], DateTime<Utc>),
    ) -> Result<BTreeMap<String, Vec<i64>>, AppError> {
        let limits = budget.limits(&Subject::Tenant, now, set.zone);
        let Some(spike) = limits.spike else {
            return Ok(BTreeMap::new());
        };
        let most = usize::try_from(SPIKE_DAYS).unwrap_or_default();
        let ends: Vec<&str> = (spike.days.iter().take(most))
            .filter_map(|day| Some(day.as_str().rsplit_once('|')?.1))
            .collect();
        let key = |subject: &str, end: &str| Key::stored(format!("{}|{subject}|{end}", budget.id));
        let keys: Vec<Key> = (subjects.iter())
            .flat_map(|subject| ends.iter().map(move |end| key(subject, end)))
            .collect();
        let found = self.ledger.counters(&set.tenant, &keys).await?;
        let used = |subject: &&str| {
            let of = |end: &&str| {
                found
                    .get(&key(subject, end))
                    .map_or(0, |counter| counter.used)
            };
            ((*subject).to_owned(), ends.iter().map(of).collect())
        };
        Ok(subjects.iter().map(used).collect())
    }

    /// Removes counters that nothing looks at any more. How many there were.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn prune_counters(&self) -> Result<u64, AppError> {
        let now = clock::now().timestamp_millis();
        let before = (
            now.saturating_sub(KEPT_MS),
            now.saturating_sub(RUNS_KEPT_MS),
        );
        let mut all = 0_u64;
        for _ in 0..ROUNDS_MAX {
            let round = self.ledger.counter_prune(before, PRUNED_MAX).await?;
            all = all.saturating_add(round);
            if usize::try_from(round).is_ok_and(|round| round < PRUNED_MAX) {
                break;
            }
        }
        Ok(all)
    }

    /// Makes a cap higher for a time, by a record. The same request again raises nothing more.
    ///
    /// # Errors
    /// `RAISE_REFUSED` beyond the `max` of the set or for too long.
    pub async fn raise(&self, tenant: &TenantId, wish: &Wish) -> Result<Standing, AppError> {
        let set = self.set_of(tenant)?;
        let budget = set.budget(&wish.budget);
        let budget = budget.ok_or_else(|| AppError::of(Reason::NotFound))?;
        let bad = |why: String| AppError::new(Reason::RequestMalformed, why);
        let amount = budget
            .unit
            .read(&wish.amount)
            .map_err(|why| bad(format!("amount: {why}")))?;
        let now_ms = clock::now().timestamp_millis();
        let until_ms = wish.until.timestamp_millis();
        if amount == 0 || wish.reason.trim().is_empty() {
            return Err(bad("amount is more than 0, and reason says why".to_owned()));
        }
        let kind = format!("{}:", budget.scope.name());
        let whose = wish.subject.as_str();
        let fits = whose.is_empty() || whose.starts_with(&kind) && budget.scope != Scope::Tenant;
        if !fits || whose.len() > SUBJECT_BYTES_MAX || whose.contains('\0') {
            return Err(bad(format!("subject: empty, or as in the list: {kind}...")));
        }
        let refuse = |why: &str| Err(AppError::new(Reason::RaiseRefused, why));
        if until_ms <= now_ms || until_ms.saturating_sub(now_ms) > RAISE_MS_MAX {
            return refuse("until: later than now, and within 7 days");
        }
        let id = named_id("raise", tenant, wish.request_id);
        let cap = budget.limits(&Subject::Tenant, wish.until, set.zone).cap;
        let append = self.raising(tenant, wish, (id, cap))?;
        let raise = Raise {
            id,
            budget: budget.id.clone(),
            subject: wish.subject.clone(),
            amount,
            until_ms,
        };
        let append = Append {
            raise: Some(Raising {
                raise,
                room: budget.max.map(|max| max.saturating_sub(cap)),
                at_ms: now_ms,
            }),
            ..append
        };
        match self.writer.append(append).await? {
            Appended::Stored { .. } | Appended::DuplicateOutcome => {
                let subject = wish.subject.as_str();
                self.budget(tenant, None, (&wish.budget, subject)).await
            }
            Appended::RaiseRefused => refuse("all raises together would pass the `max` of the set"),
            Appended::DuplicateDecision(_) | Appended::OverBudget { .. } | Appended::Counted => {
                Err(AppError::of(Reason::Internal))
            }
        }
    }

    /// The record of a raise.
    fn raising(
        &self,
        tenant: &TenantId,
        wish: &Wish,
        (id, cap): (Uuid, i64),
    ) -> Result<Append, AppError> {
        let mut draft = self.blank_record(Kind::BudgetChanged, tenant, id);
        draft.budget = Some(BudgetStamp {
            change: "raised",
            budget: wish.budget.clone(),
            used: None,
            cap: Some(cap),
        });
        let until = wish
            .until
            .to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let values = [
            ("subject", &wish.subject),
            ("amount", &wish.amount),
            ("until", &until),
            ("by", &wish.by),
            ("note", &wish.reason),
        ];
        for (name, text) in values {
            if !text.is_empty() {
                draft
                    .disclosures
                    .push(disclosure(name, Value::Text(text.clone()))?);
            }
        }
        Ok(Append {
            outcome_id: Some(id),
            ..Append::record(tenant.clone(), draft)
        })
    }
}

const SUBJECT_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_a_caller_names_is_of_its_tenant_and_its_kind() {
        let id = |what: &str, tenant: &str| {
            let tenant = TenantId::parse(tenant).unwrap();
            named_id(what, &tenant, Uuid::nil())
        };
        let own = id("raise", "acme");
        assert_eq!(own, id("raise", "acme"), "also when it is repeated");
        assert_ne!(own, id("raise", "globex"));
        assert_ne!(own, id("usage by", "acme"));
    }
}
