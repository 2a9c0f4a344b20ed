//! A budget without room: the denial, its full figures in the record, what people are told, and
//! the halt that the limit orders. All of it is one transaction.

use uuid::Uuid;
use writ_proto::Reason;
use writ_proto::value::Value;

use crate::app::App;
use crate::app::ask::decided::Decided;
use crate::app::ask::disclosed::disclosure;
use crate::domain::approval;
use crate::domain::budget::{Budget, Fired, Key, Over, Scope};
use crate::domain::decide::facts::Facts;
use crate::domain::decide::{Outcome, duplicate_intent, over_budget, queue_full};
use crate::domain::incident::notice::{Notice, NoticeKind};
use crate::domain::record::{BudgetStamp, Step};
use crate::domain::request::{Request, intent};
use crate::error::AppError;
use crate::ids;
use crate::store::{Append, Trip};

/// Which limit fired.
#[derive(Debug)]
pub(crate) struct Spent {
    /// The counter.
    pub(crate) key: Key,
    /// How it stands.
    pub(crate) over: Over,
}

impl Spent {
    /// Why a request ends at it.
    pub(crate) fn reason(&self) -> Reason {
        if intent::is_place(&self.key) {
            Reason::DuplicateIntent
        } else if approval::is_place(&self.key) {
            Reason::ApprovalQueueFull
        } else {
            self.over.fired.reason()
        }
    }

    /// The step of a decision that ends at it.
    fn step(&self) -> Step {
        Step::Full {
            key: self.key.as_str().to_owned(),
            fired: self.over.fired.name().to_owned(),
            used: self.over.used,
            limit: self.over.limit,
        }
    }
}

impl App {
    /// The denial of what a rule allowed and a budget has no room for.
    pub(crate) fn over_budget(
        &self,
        request: &Request,
        facts: &Facts,
        (outcome, spent): (Outcome, Spent),
    ) -> Result<(Decided, Append), AppError> {
        let Spent { key, over } = &spent;
        let budget = facts.policies.budget(key.budget());
        let mut outcome = over_budget(outcome, budget, over, facts);
        outcome.trace.push(spent.step());
        let (decided, mut append) = self.prepare(request, &outcome, facts, (Vec::new(), None))?;
        append.draft.budget = Some(BudgetStamp {
            change: "exceeded",
            budget: key.budget().to_owned(),
            used: Some(over.used),
            cap: Some(over.limit),
        });
        let whole = Value::Text(key.as_str().to_owned());
        let disclosed = disclosure("budget", whole)?;
        append.draft.disclosures.push(disclosed);
        let crowded = self
            .halting
            .is_crowded(&request.caller_tenant, &request.agent);
        append.trip = budget.and_then(|budget| trip(budget, request, &spent, (facts, crowded)));
        append
            .notices
            .push(notice(budget, request, &spent, (&decided, facts)));
        Ok((decided, append))
    }
}

impl App {
    /// The denial of what was decided a moment ago, with the name of that decision.
    pub(crate) fn duplicate_intent(
        &self,
        request: &Request,
        facts: &Facts,
        (outcome, spent, first): (Outcome, &Spent, Option<Uuid>),
    ) -> Result<(Decided, Append), AppError> {
        // A place that is free by now: the first has just been found not to have happened.
        let first = first.map_or_else(|| "-".to_owned(), |first| first.to_string());
        let mut outcome = duplicate_intent(outcome, &first);
        outcome.trace.push(spent.step());
        self.prepare(request, &outcome, facts, (Vec::new(), None))
    }

    /// The denial of what would have waited behind too many others of its agent.
    pub(crate) fn queue_full(
        &self,
        request: &Request,
        facts: &Facts,
        (outcome, spent): (Outcome, &Spent),
    ) -> Result<(Decided, Append), AppError> {
        let mut outcome = queue_full(outcome);
        outcome.trace.push(spent.step());
        let (decided, mut append) = self.prepare(request, &outcome, facts, (Vec::new(), None))?;
        let (agent, most) = (request.agent.as_str(), facts.policies.waiting_max);
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        append.notices.push(Notice {
            id: ids::new_id(),
            tenant: request.caller_tenant.clone(),
            kind: NoticeKind::LimitFired,
            title: format!("{most} decisions of {agent} wait for people; more are denied"),
            fields: vec![
                field("limit", "waiting_per_agent"),
                field("agent", agent),
                field("last call", request.action.as_str()),
                field("decision", &decided.id),
            ],
            link: String::new(),
            dedup_key: format!("waiting:{agent}"),
            time_ms: facts.now.timestamp_millis(),
        });
        Ok((decided, append))
    }
}

/// `used of limit`, in the unit of the budget.
fn figures(budget: Option<&Budget>, over: &Over) -> String {
    match budget {
        Some(budget) => {
            let (used, limit) = (budget.unit.shown(over.used), budget.unit.shown(over.limit));
            format!("{used} of {limit} {}", budget.unit.name())
                .trim_end()
                .to_owned()
        }
        None => format!("{} of {}", over.used, over.limit),
    }
}

fn trip(
    budget: &Budget,
    request: &Request,
    spent: &Spent,
    (facts, crowded): (&Facts, bool),
) -> Option<Trip> {
    let scope = match (budget.scope, &request.run) {
        (Scope::Agent, _) => format!("agent:{}", request.agent.as_str()),
        // A fresh run a call would be a fresh order a call.
        (Scope::Run, Some(_)) if crowded => format!("agent:{}", request.agent.as_str()),
        (Scope::Run, Some(run)) => format!("run:{}", run.as_str()),
        (Scope::Run, None) | (Scope::Tenant | Scope::Customer, _) => return None,
    };
    let used = figures(Some(budget), &spent.over);
    let (id, kind) = (&budget.id, spent.over.fired.name());
    // A reporter that is late is no reason to stop everything.
    let halts = budget.halts && spent.over.fired != Fired::Unreported;
    halts.then(|| Trip {
        key: spent.key.clone(),
        limit: spent.over.limit,
        scope,
        reason: format!(
            "budget {id} ({kind}): {used}; last call {} by {}",
            request.action,
            request.agent.as_str()
        ),
        at_ms: facts.now.timestamp_millis(),
    })
}

fn notice(
    budget: Option<&Budget>,
    request: &Request,
    Spent { key, over }: &Spent,
    (decided, facts): (&Decided, &Facts),
) -> Notice {
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let limit = budget.map_or_else(
        || over.fired.name().to_owned(),
        |budget| {
            let (measure, scope) = (budget.measure.name(), budget.scope.name());
            let window = budget.window.name();
            format!("{} ({measure}, {scope}, {window})", over.fired.name())
        },
    );
    let mut fields = vec![
        field("budget", key.budget()),
        field("limit", &limit),
        field("used", &figures(budget, over)),
        field("agent", request.agent.as_str()),
        field("last call", request.action.as_str()),
        field("decision", &decided.id),
    ];
    if let Some(run) = &request.run {
        fields.push(field("run", run.as_str()));
    }
    if budget.is_some_and(|budget| budget.halts) {
        fields.push(field("halts", "yes"));
    }
    Notice {
        id: ids::new_id(),
        tenant: request.caller_tenant.clone(),
        kind: NoticeKind::LimitFired,
        title: format!(
            "Limit fired: {} is spent, last call {} by {}",
            key.budget(),
            request.action,
            request.agent.as_str()
        ),
        fields,
        link: String::new(),
        // By who is stopped and not by the counter: a fresh run or customer a call is no fresh notice.
        dedup_key: format!(
            "budget:{}:{}:{}",
            key.budget(),
            request.agent.as_str(),
            over.fired.name()
        ),
        time_ms: facts.now.timestamp_millis(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use writ_proto::ids::RunId;

    use super::*;
    use crate::domain::budget::Subject;
    use crate::domain::decide::facts::HaltView;
    use crate::domain::decide::tests::refund;
    use crate::domain::policy::TenantPolicies;
    use crate::domain::policy::tests::shipped;

    /// What a limit orders whose budget of so many of something is spent.
    fn ordered(lines: &str, request: &Request, (fired, crowded): (Fired, bool)) -> Option<String> {
        let mut sources = shipped("acme");
        let own = sources.set_toml.split("[[budget]]").next().unwrap();
        sources.set_toml =
            format!("{own}\n[[budget]]\nid = \"spent\"\non_trip = \"halt\"\n{lines}\n");
        let facts = Facts {
            now: "2026-11-02T11:00:00Z".parse().unwrap(),
            policies: Arc::new(TenantPolicies::build(&sources).unwrap()),
            halts: HaltView::default(),
            known: Default::default(),
            grounds: Default::default(),
        };
        let spent = Spent {
            key: Key::new("spent", &Subject::Agent("triage".into()), "w"),
            over: Over {
                fired,
                used: 7,
                limit: 7,
            },
        };
        let budget = &facts.policies.budgets[0];
        trip(budget, request, &spent, (&facts, crowded)).map(|trip| trip.scope)
    }

    #[test]
    fn a_limit_halts_its_agent_and_a_late_reporter_nobody() {
        let calls = "scope = \"agent\"\nwindow = \"hour\"\ncalls = 7";
        for (fired, halts) in [(Fired::Cap, true), (Fired::Unreported, false)] {
            let wanted = halts.then(|| "agent:triage".to_owned());
            let found = ordered(calls, &refund("1.00"), (fired, false));
            assert_eq!(found, wanted, "{fired:?}");
        }
    }

    #[test]
    fn an_agent_of_which_too_many_runs_are_to_be_halted_is_halted_itself() {
        let chain = "scope = \"run\"\nwindow = \"run\"\nfollow_ups = 7";
        let request = Request {
            run: Some(RunId::parse("r-1").unwrap()),
            ..refund("1.00")
        };
        for (crowded, wanted) in [(false, "run:r-1"), (true, "agent:triage")] {
            let found = ordered(chain, &request, (Fired::Cap, crowded));
            assert_eq!(found.as_deref(), Some(wanted));
        }
    }
}
