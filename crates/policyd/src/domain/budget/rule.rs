//! Budgets as the policy set declares them: what a tenant or an agent may use up in an hour or a
//! day. Times are those of the zone of the set.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Deserialize;
use writ_proto::card::{ArgKind, Card};
use writ_proto::ids::ActionName;
use writ_proto::money::Money;
use writ_proto::value::{Value, value_from_json};

use super::Hold;
use crate::domain::request::Request;

/// Most budgets of one policy set.
pub const BUDGETS_MAX: usize = 16;
const ID_BYTES_MAX: usize = 64;
/// A writ may have been presented in its last second, and its outcome may come late. Until then
/// what it held stays held: a cap must not be passed because a report is on its way.
const EXPIRY_GRACE_MS: i64 = 60 * 60 * 1_000;

/// `[[budget]]` of `set.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetText {
    id: String,
    /// Actions that it counts; none means all.
    #[serde(default)]
    actions: Vec<String>,
    scope: Scope,
    window: Window,
    /// Most executions.
    calls: Option<u32>,
    /// Most money, as a decimal text.
    amount: Option<String>,
    currency: Option<String>,
}

/// Whose use is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scope {
    /// All agents of the tenant.
    Tenant,
    /// Each agent by itself.
    Agent,
}

/// For how long use is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Window {
    /// From a full hour to the next.
    Hour,
    /// From midnight to midnight.
    Day,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Measure {
    Calls,
    Amount { currency: String },
}

/// A checked budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Its name, for people and keys.
    pub id: String,
    actions: Vec<ActionName>,
    scope: Scope,
    window: Window,
    measure: Measure,
    cap: i64,
}

/// Why a request cannot reserve: an amount budget counts its action, but none counts its currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCurrency(pub String);

impl Budget {
    /// Checks a budget against the cards of its set.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub fn check<'a>(
        text: BudgetText,
        cards: impl Fn(&ActionName) -> Option<&'a Card>,
    ) -> Result<Self, String> {
        let BudgetText {
            id,
            actions,
            scope,
            window,
            calls,
            amount,
            currency,
        } = text;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(plain) {
            return Err(format!("budget `{id}`: an id is letters, digits, - and _"));
        }
        let wrong = |why: &str| format!("budget `{id}`: {why}");
        let (measure, cap) = match (calls, amount, currency) {
            (Some(calls), None, None) => (Measure::Calls, i64::from(calls)),
            (None, Some(amount), Some(currency)) => {
                let value = value_from_json(&amount).map_err(|_| wrong("amount is no number"))?;
                let money =
                    Money::new(&currency, &value).map_err(|error| wrong(&error.to_string()))?;
                (Measure::Amount { currency }, money.minor())
            }
            _ => return Err(wrong("give `calls`, or `amount` and `currency`")),
        };
        let parsed: Result<Vec<ActionName>, _> =
            actions.iter().map(|name| ActionName::parse(name)).collect();
        let actions = parsed.map_err(|error| wrong(&error.to_string()))?;
        for action in &actions {
            let card = cards(action).ok_or_else(|| wrong(&format!("no card named `{action}`")))?;
            if measure != Measure::Calls && !has_amount(card) {
                return Err(wrong(&format!("`{action}` has no amount")));
            }
        }
        Ok(Self {
            id,
            actions,
            scope,
            window,
            measure,
            cap,
        })
    }

    fn counts(&self, action: &ActionName) -> bool {
        self.actions.is_empty() || self.actions.contains(action)
    }

    /// Which counter a request uses: budget, whose, and the window that it falls in.
    fn key(&self, request: &Request, now: DateTime<Utc>, zone: Tz) -> String {
        let local = now.with_timezone(&zone);
        let window = match self.window {
            // The offset tells the two hours apart that a clock change makes alike.
            Window::Hour => local.format("%Y-%m-%dT%H%z").to_string(),
            Window::Day => local.format("%Y-%m-%d").to_string(),
        };
        match self.scope {
            Scope::Tenant => format!("{}|tenant|{window}", self.id),
            Scope::Agent => format!("{}|agent:{}|{window}", self.id, request.agent),
        }
    }
}

fn has_amount(card: &Card) -> bool {
    let amount = card.args.get("amount");
    amount.is_some_and(|arg| matches!(arg.kind, ArgKind::Money { .. }))
}

fn amount_of(card: &Card, request: &Request) -> Option<Money> {
    let value: &Value = request.args.get("amount").filter(|_| has_amount(card))?;
    Money::from_value(value).ok()
}

/// What an allowed request reserves of the budgets that count it.
///
/// # Errors
/// When its currency would slip past every amount budget that counts the action.
pub fn holds(
    budgets: &[Budget],
    (request, card): (&Request, &Card),
    (now, zone): (DateTime<Utc>, Tz),
    token_ttl_seconds: u32,
) -> Result<Vec<Hold>, NoCurrency> {
    let money = amount_of(card, request);
    let life = i64::from(token_ttl_seconds).saturating_mul(1_000);
    let expires_ms = now
        .timestamp_millis()
        .saturating_add(life)
        .saturating_add(EXPIRY_GRACE_MS);
    let (mut holds, mut uncounted) = (Vec::new(), None);
    for budget in budgets
        .iter()
        .filter(|budget| budget.counts(&request.action))
    {
        let amount = match (&budget.measure, &money) {
            (Measure::Calls, _) => 1,
            (Measure::Amount { currency }, Some(money)) if money.currency() == currency => {
                money.minor()
            }
            (Measure::Amount { .. }, Some(money)) => {
                uncounted = Some(NoCurrency(money.currency().to_owned()));
                continue;
            }
            // An action without money uses none.
            (Measure::Amount { .. }, None) => continue,
        };
        holds.push(Hold {
            key: budget.key(request, now, zone),
            amount,
            cap: budget.cap,
            expires_ms,
        });
    }
    let counted = budgets.iter().any(|budget| {
        let own = money.as_ref().map(Money::currency);
        budget.counts(&request.action)
            && matches!(&budget.measure, Measure::Amount { currency } if own == Some(currency))
    });
    match uncounted {
        Some(currency) if !counted => Err(currency),
        _ => Ok(holds),
    }
}
