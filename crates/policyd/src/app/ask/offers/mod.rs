//! When a counter-offer is given: where the set asks for it, not to an agent with an open incident,
//! and only so often.

mod searches;

use writ_proto::Reason;
use writ_proto::token::Mode;
use writ_proto::value::{Map, Value};

use crate::app::App;
use crate::app::ask::decided::Decided;
use crate::clock;
use crate::domain::decide::Outcome;
use crate::domain::decide::counter_offer::{Offer, counter_offer, is_open_to_offers};
use crate::domain::decide::facts::Facts;
use crate::domain::request::Request;
use searches::Place;
pub use searches::Searches;

/// An offer as it is stored and told: everything of the call that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Connection.
    pub connection: String,
    /// Action.
    pub action: String,
    /// Object type and id.
    pub target: Option<(String, String)>,
    /// Arguments as canonical JSON.
    pub args_json: String,
    /// 0 dry run, 1 execute.
    pub mode: u8,
    /// Precondition.
    pub precondition: Option<String>,
    /// One sentence about the difference.
    pub sentence: String,
}

impl Offered {
    /// The stored form.
    #[must_use]
    pub fn value(&self) -> Value {
        let text = |text: &str| Value::Text(text.to_owned());
        let mut map = Map::new();
        map.set("connection", text(&self.connection));
        map.set("action", text(&self.action));
        map.set("args", text(&self.args_json));
        map.set("mode", Value::Int(i64::from(self.mode)));
        map.set("sentence", text(&self.sentence));
        if let Some((kind, id)) = &self.target {
            map.set("target", Value::List(vec![text(kind), text(id)]));
        }
        if let Some(precondition) = &self.precondition {
            map.set("precondition", text(precondition));
        }
        Value::Map(map)
    }

    /// Reads the stored form; none when it is not what was written.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        let map = value.as_map()?;
        let text = |name: &str| map.get(name).and_then(Value::as_text).map(str::to_owned);
        let target = match map.get("target") {
            None => None,
            Some(Value::List(parts)) => match parts.as_slice() {
                [Value::Text(kind), Value::Text(id)] => Some((kind.clone(), id.clone())),
                _ => return None,
            },
            Some(_) => return None,
        };
        let mode = match map.get("mode") {
            Some(Value::Int(mode)) => u8::try_from(*mode).ok()?,
            _ => return None,
        };
        Some(Self {
            connection: text("connection")?,
            action: text("action")?,
            target,
            args_json: text("args")?,
            mode,
            precondition: text("precondition"),
            sentence: text("sentence")?,
        })
    }
}

impl App {
    /// What is allowed instead, if the agent may know. Whatever stands in the way ends in none.
    pub(crate) async fn offer(
        &self,
        request: &Request,
        facts: &Facts,
        outcome: &Outcome,
    ) -> Option<Offered> {
        let set = &facts.policies.counter_offers;
        if !set.has(&request.action) || !is_open_to_offers(outcome) {
            return None;
        }
        let (tenant, agent) = (&request.caller_tenant, request.agent.as_str());
        let known = self.ledger.incident_is_open(tenant, agent).await;
        if known.unwrap_or(true) {
            return None;
        }
        // Who waits too long for a place gets no offer, and none of its number is spent.
        let place = self.searches.place(tenant).await?;
        let key = format!("{tenant}|{agent}|{}", request.action);
        if !self.grant(&key, set.per_hour) {
            return None;
        }
        let offer = searched(place, (request, facts, outcome)).await?;
        Some(Offered {
            connection: request.connection.clone(),
            action: request.action.as_str().to_owned(),
            target: request.target.clone(),
            args_json: Value::Map(offer.args).to_json(),
            mode: u8::from(request.mode == Mode::Execute),
            precondition: request.precondition.clone(),
            sentence: offer.sentence,
        })
    }

    /// A search that finds nothing is counted too: it tells as much.
    fn grant(&self, key: &str, per_hour: u32) -> bool {
        let now_ms = clock::now().timestamp_millis();
        let allowance = self.offers.lock();
        allowance.is_ok_and(|mut allowance| allowance.take(key, now_ms, per_hour))
    }
}

/// The search, on a thread of its own: the threads that serve go on meanwhile.
async fn searched(
    place: Place,
    (request, facts, outcome): (&Request, &Facts, &Outcome),
) -> Option<Offer> {
    let (request, facts, outcome) = (request.clone(), facts.clone(), outcome.clone());
    let search = tokio::task::spawn_blocking(move || {
        let offer = counter_offer(&request, &facts, &outcome);
        drop(place);
        offer
    });
    search.await.ok().flatten()
}

/// What an agent may know of a decision: no text and no name of a rule, since both may name a
/// limit, and not which customer or run is halted. Operators read all of it.
pub(crate) fn coarse(decided: &mut Decided) {
    decided.rules.clear();
    let reason = Reason::from_code(&decided.reason_code);
    match reason {
        Some(
            reason @ (Reason::Forbidden
            | Reason::ApprovalRequired
            | Reason::Halted
            | Reason::FactsUnavailable),
        ) => {
            reason.sentence().clone_into(&mut decided.message);
        }
        Some(_) => {}
        None => decided.message.clear(),
    }
}

#[cfg(test)]
mod tests;
