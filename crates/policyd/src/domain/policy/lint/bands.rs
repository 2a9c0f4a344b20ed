//! Amounts: which of them a rule speaks of, and those that no rule does.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::Effect;
use serde_json::Value as Json;
use writ_proto::ids::ActionName;

use crate::domain::policy::lint::expression::{Comparison, Literal, required};

/// Amounts between two rules of which none speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The action.
    pub action: ActionName,
    /// ISO 4217 code; empty where the rules name none.
    pub currency: String,
    /// The smallest amount, in minor units.
    pub from: i64,
    /// The largest.
    pub to: i64,
}

/// From and to, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Band {
    from: i64,
    to: i64,
}

impl Band {
    const ALL: Self = Self {
        from: i64::MIN,
        to: i64::MAX,
    };

    fn narrow(&mut self, op: &str, number: i64) {
        match op {
            "<" => self.to = self.to.min(number.saturating_sub(1)),
            "<=" => self.to = self.to.min(number),
            ">" => self.from = self.from.max(number.saturating_add(1)),
            ">=" => self.from = self.from.max(number),
            "==" => {
                self.from = self.from.max(number);
                self.to = self.to.min(number);
            }
            _ => {}
        }
    }
}

/// The band of each thing that must hold for a policy.
fn bands(comparisons: &[Comparison]) -> BTreeMap<&[String], Band> {
    let mut bands: BTreeMap<&[String], Band> = BTreeMap::new();
    for comparison in comparisons {
        if let Literal::Number(number) = comparison.value {
            let band = bands.entry(&comparison.path).or_insert(Band::ALL);
            band.narrow(&comparison.op, number);
        }
    }
    bands
}

/// Whether no number satisfies all that a policy demands of one thing, or a text must be two.
pub(crate) fn is_impossible(policy: &Json) -> bool {
    let comparisons = required(policy);
    let mut texts: BTreeMap<&[String], BTreeSet<&str>> = BTreeMap::new();
    for comparison in comparisons.iter().filter(|found| found.op == "==") {
        if let Literal::Text(text) = &comparison.value {
            texts.entry(&comparison.path).or_default().insert(text);
        }
    }
    bands(&comparisons).values().any(|band| band.from > band.to)
        || texts.values().any(|values| values.len() > 1)
}

/// The gaps of one action, by currency.
pub(crate) fn gaps(action: &ActionName, rules: &[(Effect, Json)]) -> Vec<Gap> {
    let mut by_currency: BTreeMap<String, Vec<Band>> = BTreeMap::new();
    for (effect, policy) in rules {
        let comparisons = required(policy);
        let is = |path: &[String], last: &str| matches!(path, [root, name] if root == "context" && name == last);
        let currency = comparisons.iter().find_map(|found| match &found.value {
            Literal::Text(text) if is(&found.path, "currency") => Some(text.clone()),
            _ => None,
        });
        let band = bands(&comparisons)
            .into_iter()
            .find(|(path, _)| is(path, "amount_minor"));
        let Some((_, band)) = band else { continue };
        // A forbid with both ends closes a gap on purpose; one with an open end is a ceiling.
        let bounded = band.from > i64::MIN && band.to < i64::MAX;
        if *effect == Effect::Permit || bounded {
            by_currency
                .entry(currency.unwrap_or_default())
                .or_default()
                .push(band);
        }
    }
    let mut gaps = Vec::new();
    for (currency, mut bands) in by_currency {
        bands.sort_unstable();
        let mut reached: Option<i64> = None;
        for band in bands {
            if let Some(to) = reached
                && band.from > to.saturating_add(1)
            {
                gaps.push(Gap {
                    action: action.clone(),
                    currency: currency.clone(),
                    from: to.saturating_add(1),
                    to: band.from.saturating_sub(1),
                });
            }
            reached = Some(reached.map_or(band.to, |to| to.max(band.to)));
        }
    }
    gaps
}
