//! The largest value of one number that policy allows, all else as asked.
//!
//! Policies compare numbers with numbers that they name or that facts of the target hold. Between
//! two such numbers nothing changes, so the largest allowed value is one of them or next to one.

use std::collections::BTreeSet;

use writ_proto::card::{ArgKind, Card};
use writ_proto::money::Money;
use writ_proto::value::{Map, Value, minor_units, number_from_text};

use crate::domain::decide::cedar::numbers_of_target;
use crate::domain::decide::counter_offer::search::{descend, literals};
use crate::domain::decide::counter_offer::{Offer, Search};
use crate::domain::decide::facts::Facts;
use crate::domain::request::Request;

/// One number among the arguments.
#[derive(Debug)]
pub(crate) struct Scalar {
    name: String,
    /// As asked, in its smallest units.
    asked: i64,
    /// Least that the card takes.
    least: i64,
    unit: Unit,
}

#[derive(Debug)]
enum Unit {
    Whole,
    Decimals(u32),
    Money(Money),
}

/// A number of smallest units as it is written.
fn written(units: i64, decimals: u32) -> Option<Value> {
    let width = usize::try_from(decimals).ok()?;
    let sign = if units < 0 { "-" } else { "" };
    let digits = format!("{:0>1$}", units.unsigned_abs(), width.checked_add(1)?);
    let (whole, part) = digits.split_at_checked(digits.len().checked_sub(width)?)?;
    let text = match part {
        "" => format!("{sign}{whole}"),
        part => format!("{sign}{whole}.{part}"),
    };
    number_from_text(&text).ok()
}

impl Scalar {
    /// The numbers of a request.
    pub(crate) fn of(request: &Request, card: &Card) -> Vec<Self> {
        let read = |(name, value): (&str, &Value)| {
            let arg = card.args.get(name)?;
            let (asked, least, unit) = match &arg.kind {
                ArgKind::Integer { min, .. } => match value {
                    Value::Int(asked) => (*asked, *min, Unit::Whole),
                    _ => return None,
                },
                ArgKind::Decimal { decimals, min, .. } => (
                    minor_units(value, *decimals)?,
                    *min,
                    Unit::Decimals(*decimals),
                ),
                ArgKind::Money { min, .. } => {
                    let money = Money::from_value(value).ok()?;
                    let least = Money::new(money.currency(), min).ok()?.minor();
                    (money.minor(), least, Unit::Money(money))
                }
                ArgKind::Choice { .. }
                | ArgKind::Text { .. }
                | ArgKind::Date { .. }
                | ArgKind::Timestamp { .. }
                | ArgKind::Boolean
                | ArgKind::Reference { .. }
                | ArgKind::List { .. } => return None,
            };
            Some(Self {
                name: name.to_owned(),
                asked,
                least,
                unit,
            })
        };
        request.args.iter().filter_map(read).collect()
    }

    fn value(&self, units: i64) -> Option<Value> {
        match &self.unit {
            Unit::Whole => Some(Value::Int(units)),
            Unit::Decimals(decimals) => written(units, *decimals),
            Unit::Money(money) => {
                let Value::Map(mut map) = money.to_value() else {
                    return None;
                };
                let digits = writ_proto::money::minor_digits(money.currency())?;
                map.set("value", written(units, digits)?);
                Some(Value::Map(map))
            }
        }
    }

    fn args(&self, request: &Request, units: i64) -> Option<Map> {
        let mut args = Map::new();
        for (name, value) in request.args.iter() {
            let own = (name == self.name).then(|| self.value(units));
            args.set(name, own.unwrap_or_else(|| Some(value.clone()))?);
        }
        Some(args)
    }

    fn sentence(&self, value: &Value) -> String {
        let money = Money::from_value(value).map(|money| money.to_string());
        let shown = money.unwrap_or_else(|_| value.to_json());
        format!("{} up to {shown} is allowed", self.name)
    }

    /// Values below the one asked at which policy may change its mind, from the largest.
    fn candidates(&self, request: &Request, card: &Card, facts: &Facts) -> Vec<i64> {
        let known = numbers_of_target(request, card, facts);
        let mut numbers = known.clone();
        // What is left of one where another is used up already.
        let left = known
            .iter()
            .flat_map(|all| known.iter().map(|used| all.saturating_sub(*used)));
        numbers.extend(left);
        for policy in facts.policies.in_force(&request.action, facts.now) {
            if let Ok(json) = policy.to_json() {
                literals(&json, &mut numbers);
            }
        }
        let negated = numbers.iter().map(|number| number.saturating_neg());
        let negated: Vec<i64> = negated.filter(|_| self.least < 0).collect();
        let near = numbers
            .into_iter()
            .chain(negated)
            .flat_map(|number| [number.saturating_sub(1), number, number.saturating_add(1)]);
        let below = self.asked.saturating_sub(1);
        let ends = [self.least, below];
        let all: BTreeSet<i64> = near.chain(ends).collect();
        let inside = |units: &i64| (self.least..=below).contains(units);
        all.into_iter().rev().filter(inside).collect()
    }

    /// The offer with the largest allowed value.
    pub(crate) fn largest(&self, search: &mut Search<'_>) -> Option<Offer> {
        let (request, facts) = (search.request, search.facts);
        let card = facts.policies.card(&request.action)?;
        let candidates = self.candidates(request, card, facts);
        let mut allows = |units: i64| {
            let args = self.args(search.request, units)?;
            search.allows(&args)
        };
        let found = descend(&candidates, &mut allows)?;
        let args = self.args(search.request, found)?;
        let sentence = self.sentence(args.get(&self.name)?);
        Some(Offer { args, sentence })
    }
}
