//! `[[budget]]` of `set.toml`, and everything that can be wrong with one. A budget that would not
//! count what it seems to count is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use writ_proto::card::Card;
use writ_proto::duration::seconds_of;
use writ_proto::ids::ActionName;
use writ_proto::toml_flaw::near;

use super::rule::{Budget, Measure, Scope, Window, has_money, is_counted};
use super::{RAISE_MS_MAX, Unit};
use crate::domain::policy::schema::FactTypes;

/// Most budgets of one policy set.
pub const BUDGETS_MAX: usize = 16;
const ID_BYTES_MAX: usize = 64;
const ARGUMENT: &str = "amount";
const SPIKE_FACTORS: core::ops::RangeInclusive<i64> = 2..=100;
/// A run is over after this time where its budget does not say.
const RUN_AGE: &str = "24h";
/// Usage is unknown after this time where the budget does not say.
const REPORT_WITHIN: &str = "10m";
const REPORT_WITHIN_SECONDS_MAX: u32 = 24 * 60 * 60;

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
    /// Most calls that are allowed.
    calls: Option<i64>,
    /// Most calls that are executed.
    records: Option<i64>,
    /// Most calls of a run after its first.
    follow_ups: Option<i64>,
    /// Most money, as a decimal text.
    amount: Option<String>,
    currency: Option<String>,
    /// The money argument that is counted; `amount` if absent.
    argument: Option<String>,
    /// Most tokens of a language model.
    tokens: Option<i64>,
    /// Most US dollars for a language model, as a decimal text.
    usd: Option<String>,
    /// Most that an operator may make of it for a time.
    max: Option<Figure>,
    /// `5x`: most against the median of the last seven days.
    spike: Option<String>,
    /// What is never a spike.
    spike_floor: Option<Figure>,
    /// What happens when it is spent, beside the denial.
    #[serde(default)]
    on_trip: OnTrip,
    /// How old a run may be; only with the window `run`.
    max_age: Option<String>,
    /// How long usage may be unknown; only with `tokens` and `usd`.
    report_within: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OnTrip {
    #[default]
    Deny,
    Halt,
}

/// A count as a number, money as a text.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Figure {
    Count(i64),
    Text(String),
}

/// What a budget stands on: the cards of its set, and the facts it declares.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// Cards by name.
    pub cards: &'a BTreeMap<ActionName, Arc<Card>>,
    /// Facts of the object types.
    pub facts: &'a FactTypes,
}

impl Figure {
    fn read(&self, unit: &Unit) -> Result<i64, String> {
        match (self, unit) {
            (Self::Count(count), Unit::Count | Unit::Tokens) if *count >= 0 => Ok(*count),
            (Self::Text(text), Unit::Minor { .. } | Unit::MicroUsd) => unit.read(text),
            (Self::Count(count), _) => Err(format!("`{count}` is not in the unit of the budget")),
            (Self::Text(text), _) => Err(format!("`{text}` is not in the unit of the budget")),
        }
    }
}

impl BudgetText {
    /// The measure and its cap; exactly one is given.
    fn measure(&self) -> Result<(Measure, Unit, i64), String> {
        let count = |measure, unit: Unit, cap: i64| {
            let cap = Figure::Count(cap).read(&unit)?;
            Ok((measure, unit, cap))
        };
        let one = || {
            let each =
                "`calls`, `records`, `follow_ups`, `amount` with `currency`, `tokens`, `usd`";
            Err(format!("give exactly one of {each}"))
        };
        let given = [
            self.calls.is_some(),
            self.records.is_some(),
            self.follow_ups.is_some(),
            self.amount.is_some(),
            self.tokens.is_some(),
            self.usd.is_some(),
        ];
        if given.iter().filter(|given| **given).count() != 1 {
            return one();
        }
        if self.amount.is_none() && (self.currency.is_some() || self.argument.is_some()) {
            return Err("`currency` and `argument` go with `amount`".to_owned());
        }
        if let Some(cap) = self.calls {
            count(Measure::Calls, Unit::Count, cap)
        } else if let Some(cap) = self.records {
            count(Measure::Records, Unit::Count, cap)
        } else if let Some(cap) = self.follow_ups {
            count(Measure::FollowUps, Unit::Count, cap)
        } else if let Some(cap) = self.tokens {
            count(Measure::Tokens, Unit::Tokens, cap)
        } else if let Some(cap) = &self.usd {
            let cap = Unit::MicroUsd
                .read(cap)
                .map_err(|why| format!("usd: {why}"))?;
            Ok((Measure::Usd, Unit::MicroUsd, cap))
        } else if let (Some(amount), Some(currency)) = (&self.amount, &self.currency) {
            let unit = Unit::money(currency)?;
            let cap = unit.read(amount).map_err(|why| format!("amount: {why}"))?;
            let argument = self.argument.clone().unwrap_or_else(|| ARGUMENT.to_owned());
            let currency = currency.clone();
            Ok((Measure::Amount { currency, argument }, unit, cap))
        } else {
            one()
        }
    }
}

impl Budget {
    /// Checks a budget against the set it stands in.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub fn check(text: &BudgetText, ground: &Ground<'_>) -> Result<Self, String> {
        let id = &text.id;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(plain) {
            return Err(format!("budget `{id}`: an id is letters, digits, - and _"));
        }
        checked(text, ground).map_err(|why| format!("budget `{id}`: {why}"))
    }
}

fn checked(text: &BudgetText, ground: &Ground<'_>) -> Result<Budget, String> {
    let (measure, unit, cap) = text.measure()?;
    let parsed: Result<Vec<ActionName>, _> = text
        .actions
        .iter()
        .map(|name| ActionName::parse(name))
        .collect();
    let actions = parsed.map_err(|error| error.to_string())?;
    let run = text.window == Window::Run;
    if run != (text.scope == Scope::Run) {
        return Err("the scope `run` has the window `run`, and no other has".to_owned());
    }
    if measure == Measure::FollowUps && !run {
        return Err("`follow_ups` are counted in the scope `run`".to_owned());
    }
    if measure.is_reported() && text.scope == Scope::Customer {
        return Err("usage is reported for agents and runs, not for customers".to_owned());
    }
    counts_what_it_seems(text, &measure, &actions, ground)?;
    let halts = text.on_trip == OnTrip::Halt;
    if halts && !matches!(text.scope, Scope::Agent | Scope::Run) {
        return Err("`on_trip = \"halt\"` goes with the scopes `agent` and `run`".to_owned());
    }
    let max = text.max.as_ref().map(|max| max.read(&unit)).transpose()?;
    if max.is_some_and(|max| max < cap) {
        return Err("`max` is less than the cap".to_owned());
    }
    let reported = measure.is_reported();
    Ok(Budget {
        id: text.id.clone(),
        actions,
        scope: text.scope,
        window: text.window,
        spike: spike(text, &unit)?,
        measure,
        unit,
        cap,
        max,
        halts,
        age_ms_max: milliseconds(("max_age", &text.max_age), run, RUN_AGE, RAISE_MS_MAX)?,
        report_ms_max: milliseconds(
            ("report_within", &text.report_within),
            reported,
            REPORT_WITHIN,
            i64::from(REPORT_WITHIN_SECONDS_MAX).saturating_mul(1_000),
        )?,
    })
}

fn spike(text: &BudgetText, unit: &Unit) -> Result<Option<(i64, i64)>, String> {
    let (factor, floor) = match (&text.spike, &text.spike_floor) {
        (None, None) => return Ok(None),
        (Some(factor), Some(floor)) => (factor, floor.read(unit)?),
        _ => return Err("`spike` and `spike_floor` go together".to_owned()),
    };
    if text.window != Window::Day {
        return Err("`spike` compares days: give the window `day`".to_owned());
    }
    let number = factor
        .strip_suffix('x')
        .and_then(|number| number.parse().ok());
    let factor = number
        .filter(|factor| SPIKE_FACTORS.contains(factor))
        .ok_or_else(|| {
            let (least, most) = (SPIKE_FACTORS.start(), SPIKE_FACTORS.end());
            format!("`spike = \"{factor}\"` is not {least}x to {most}x")
        })?;
    Ok(Some((factor, floor)))
}

/// A duration where it belongs, its default if absent, and nothing where it does not belong.
fn milliseconds(
    (name, text): (&str, &Option<String>),
    belongs: bool,
    default: &str,
    most: i64,
) -> Result<Option<i64>, String> {
    if !belongs {
        return match text {
            None => Ok(None),
            Some(_) => Err(format!("`{name}` does not go with this budget")),
        };
    }
    let seconds = seconds_of(text.as_deref().unwrap_or(default))?;
    let milliseconds = i64::from(seconds).saturating_mul(1_000);
    if milliseconds > most {
        return Err(format!("`{name}` is too long"));
    }
    Ok(Some(milliseconds))
}

/// An action whose amount or customer could not be counted would be a hole in the budget.
fn counts_what_it_seems(
    text: &BudgetText,
    measure: &Measure,
    actions: &[ActionName],
    ground: &Ground<'_>,
) -> Result<(), String> {
    let mut counted = Vec::new();
    for action in actions {
        let card = ground.cards.get(action);
        counted.push(card.ok_or_else(|| format!("no card named `{action}`"))?);
    }
    let all = counted.is_empty();
    if all {
        counted.extend(ground.cards.values());
    }
    for card in counted {
        let name = &card.name;
        if let Measure::Amount { argument, .. } = measure
            && !is_counted(card, argument)
            && (!all || has_money(card))
        {
            let arguments: Vec<&str> = card.args.keys().map(String::as_str).collect();
            let arguments = arguments.join(", ");
            return Err(format!(
                "`{name}` has no amount in an argument `{argument}` of type money (it has \
                 {arguments}); name its argument, or name the actions that are counted"
            ));
        }
        let facts = ground.facts.get(&card.target);
        let customer = facts.and_then(|facts| facts.get("customer"));
        if text.scope == Scope::Customer
            && card.target != "customer"
            && customer.is_none_or(|kind| kind != "Customer")
        {
            let target = &card.target;
            let known = ground.facts.keys().map(String::as_str);
            let meant = near(target, known.filter(|other| other != target));
            return Err(match meant {
                Some(meant) => format!(
                    "the target of `{name}` is `{target}`, of which the set has no facts; did you mean `{meant}`?"
                ),
                None => format!(
                    "`{name}` acts on the type `{target}`, of which `[facts.{target}]` declares no \
                     customer = \"Customer\""
                ),
            });
        }
    }
    Ok(())
}
