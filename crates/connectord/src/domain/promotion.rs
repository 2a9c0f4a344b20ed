//! What a card says otherwise than when its action was promoted, item by item; and whether a call is
//! one that was promoted. Narrowing holds at once, widening waits for a promotion.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use writ_proto::Reason;
use writ_proto::card::{Arg, ArgKind, Caps, Card};
use writ_proto::value::Map;

use super::gate::{Call, Refusal};

/// Which way a difference goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Less is allowed than before.
    Narrower,
    /// More is allowed than before.
    Wider,
    /// It cannot be ordered.
    Other,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Narrower => "narrower",
            Self::Wider => "wider",
            Self::Other => "other",
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which way it goes.
    pub way: Way,
    /// What it is, for people.
    pub what: String,
}

impl core::fmt::Display for Difference {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}: {}", self.way.name(), self.what)
    }
}

#[derive(Default)]
struct Found(Vec<Difference>);

impl Found {
    fn add(&mut self, way: Way, what: impl Into<String>) {
        let what = what.into();
        self.0.push(Difference { way, what });
    }

    /// Anything whose order means nothing.
    fn other<T: PartialEq>(&mut self, what: &str, old: &T, new: &T) {
        if old != new {
            self.add(Way::Other, format!("{what} changed"));
        }
    }

    /// Words that are allowed.
    fn words(&mut self, what: &str, old: &[String], new: &[String]) {
        for word in new.iter().filter(|word| !old.contains(word)) {
            self.add(Way::Wider, format!("{what}: also {word}"));
        }
        for word in old.iter().filter(|word| !new.contains(word)) {
            self.add(Way::Narrower, format!("{what}: no longer {word}"));
        }
    }

    /// A bound; with more of it more is allowed.
    fn most<T: PartialOrd + Copy + core::fmt::Display>(&mut self, what: &str, old: T, new: T) {
        if old != new {
            let way = if new > old { Way::Wider } else { Way::Narrower };
            self.add(way, format!("{what}: {old} -> {new}"));
        }
    }

    /// A bound; with more of it less is allowed.
    fn least<T: PartialOrd + Copy + core::fmt::Display>(&mut self, what: &str, old: T, new: T) {
        if old != new {
            let way = if new < old { Way::Wider } else { Way::Narrower };
            self.add(way, format!("{what}: {old} -> {new}"));
        }
    }

    /// A bound that may be absent, which allows everything.
    fn ceiling(&mut self, what: &str, old: Option<u32>, new: Option<u32>) {
        match (old, new) {
            (None, None) => {}
            (None, Some(now)) => self.add(Way::Narrower, format!("{what}: now {now}")),
            (Some(was), None) => self.add(Way::Wider, format!("{what}: {was} -> no ceiling")),
            (Some(was), Some(now)) => self.most(what, was, now),
        }
    }

    fn kind(&mut self, what: &str, old: &ArgKind, new: &ArgKind) {
        use ArgKind as A;
        match (old, new) {
            (A::Choice { values: old }, A::Choice { values: new }) => self.words(what, old, new),
            (A::Text { max_chars: old }, A::Text { max_chars: new }) => {
                self.most(&format!("{what}.max_chars"), *old, *new);
            }
            (
                A::Integer { min, max },
                A::Integer {
                    min: least,
                    max: most,
                },
            ) => {
                self.least(&format!("{what}.min"), *min, *least);
                self.most(&format!("{what}.max"), *max, *most);
            }
            (
                A::Decimal { decimals, min, max },
                A::Decimal {
                    decimals: other,
                    min: least,
                    max: most,
                },
            ) if decimals == other => {
                self.least(&format!("{what}.min"), *min, *least);
                self.most(&format!("{what}.max"), *max, *most);
            }
            (
                A::Money {
                    currencies,
                    min,
                    max,
                },
                A::Money {
                    currencies: others,
                    min: least,
                    max: most,
                },
            ) => {
                self.words(&format!("{what}.currencies"), currencies, others);
                if (min, max) != (least, most) {
                    let (was, is) = (old.describe(), new.describe());
                    self.add(Way::Other, format!("{what}: {was} -> {is}"));
                }
            }
            (
                A::List { of, max_items },
                A::List {
                    of: other,
                    max_items: most,
                },
            ) => {
                self.most(&format!("{what}.max_items"), *max_items, *most);
                self.kind(&format!("{what}.of"), of, other);
            }
            (old, new) if old.name() == new.name() && old.describe() == new.describe() => {}
            (old, new) => self.add(
                Way::Other,
                format!("{what}: {} -> {}", old.describe(), new.describe()),
            ),
        }
    }

    fn arg(&mut self, name: &str, old: &Arg, new: &Arg) {
        let what = format!("args.{name}");
        self.kind(&what, &old.kind, &new.kind);
        self.other(&format!("{what}.field"), &old.field, &new.field);
        self.other(&format!("{what}.write"), &old.write, &new.write);
        self.other(
            &format!("{what}.abbreviations"),
            &old.abbreviations,
            &new.abbreviations,
        );
        match (old.evidence_required, new.evidence_required) {
            (true, false) => self.add(
                Way::Wider,
                format!("{what}: no evidence is wanted any more"),
            ),
            (false, true) => self.add(Way::Narrower, format!("{what}: evidence is wanted")),
            _ => self.other(
                &format!("{what}.evidence"),
                &old.evidence_from,
                &new.evidence_from,
            ),
        }
        if old.optional != new.optional {
            let way = if new.optional {
                Way::Wider
            } else {
                Way::Narrower
            };
            self.add(
                way,
                format!("{what}.optional: {} -> {}", old.optional, new.optional),
            );
        }
    }

    fn when(&mut self, old: &BTreeMap<String, Vec<String>>, new: &BTreeMap<String, Vec<String>>) {
        for (field, values) in old {
            match new.get(field) {
                Some(now) => self.words(&format!("precondition.when.{field}"), values, now),
                None => self.add(
                    Way::Wider,
                    format!("precondition.when: {field} is not looked at any more"),
                ),
            }
        }
        for field in new.keys().filter(|field| !old.contains_key(*field)) {
            self.add(
                Way::Narrower,
                format!("precondition.when: {field} is looked at too"),
            );
        }
    }

    fn caps(&mut self, old: &Caps, new: &Caps) {
        self.most(
            "caps.records_per_day",
            old.records_per_day,
            new.records_per_day,
        );
        for (name, was, is) in [
            ("records_per_run", old.records_per_run, new.records_per_run),
            (
                "records_per_agent_per_day",
                old.records_per_agent_per_day,
                new.records_per_agent_per_day,
            ),
            (
                "records_per_customer_per_day",
                old.records_per_customer_per_day,
                new.records_per_customer_per_day,
            ),
            ("fields_per_run", old.fields_per_run, new.fields_per_run),
            (
                "follow_ups_per_run",
                old.follow_ups_per_run,
                new.follow_ups_per_run,
            ),
            ("spike", old.spike, new.spike),
        ] {
            self.ceiling(&format!("caps.{name}"), was, is);
        }
        self.other(
            "caps.amount_per_day",
            &old.amount_per_day,
            &new.amount_per_day,
        );
        self.other(
            "caps.amount_per_run",
            &old.amount_per_run,
            &new.amount_per_run,
        );
        self.other(
            "caps.amount_per_record",
            &old.amount_per_record,
            &new.amount_per_record,
        );
    }
}

/// What a card says otherwise than an earlier one.
#[must_use]
pub fn differences(old: &Card, new: &Card) -> Vec<Difference> {
    let mut found = Found::default();
    found.other("connection", &old.connection, &new.connection);
    found.other("verb", &old.verb, &new.verb);
    found.other("target", &old.target, &new.target);
    found.other("customer", &old.customer, &new.customer);
    for (name, arg) in &old.args {
        match new.args.get(name) {
            Some(now) => found.arg(name, arg, now),
            None => found.add(Way::Narrower, format!("args.{name} is gone")),
        }
    }
    for name in new.args.keys().filter(|name| !old.args.contains_key(*name)) {
        found.add(Way::Wider, format!("args.{name} is new"));
    }
    for signal in old
        .identify
        .iter()
        .filter(|signal| !new.identify.contains(signal))
    {
        found.add(
            Way::Wider,
            format!("identify.by: {signal} is not looked for any more"),
        );
    }
    for signal in new
        .identify
        .iter()
        .filter(|signal| !old.identify.contains(signal))
    {
        found.add(
            Way::Narrower,
            format!("identify.by: {signal} is looked for too"),
        );
    }
    if old.version_required != new.version_required {
        let way = if old.version_required {
            Way::Wider
        } else {
            Way::Narrower
        };
        found.add(way, "precondition.version changed");
    }
    found.when(&old.when, &new.when);
    found.caps(&old.caps, &new.caps);
    let hours = |card: &Card| card.hours.as_ref().map(ToString::to_string);
    found.other("hours", &hours(old), &hours(new));
    found.other("pilot", &old.pilot, &new.pilot);
    found.other("demote", &old.demotion, &new.demotion);
    found.0
}

/// Whether a call is one that the card allowed when it was promoted.
///
/// # Errors
/// `DRY_RUN_ONLY`, with what only the newer card allows.
pub fn check_promoted(
    promoted: &Card,
    card: &Card,
    call: &Call,
    args: &Map,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let refuse = |why: String| {
        let detail = format!(
            "only the newer card allows this ({why}); it is a dry run until it is promoted: connectord actions promote {}",
            card.name
        );
        Err(Refusal::new(Reason::DryRunOnly, detail))
    };
    let same = promoted.connection == card.connection
        && promoted.verb == card.verb
        && promoted.target == card.target
        && promoted.customer == card.customer;
    if !same {
        return refuse("it acts elsewhere or otherwise".to_owned());
    }
    if let Err(error) = promoted.check(args, now.date_naive()) {
        return refuse(error.to_string());
    }
    for (name, _) in args.iter() {
        let alike = |old: &Arg, new: &Arg| {
            old.field == new.field
                && old.write == new.write
                && old.abbreviations == new.abbreviations
                // Whether there was any, policyd alone knows, and it asked by the newer card.
                && (!old.evidence_required
                    || new.evidence_required && old.evidence_from == new.evidence_from)
        };
        if !promoted
            .args
            .get(name)
            .zip(card.args.get(name))
            .is_some_and(|(old, new)| alike(old, new))
        {
            return refuse(format!("args.{name} writes otherwise, or without evidence"));
        }
    }
    if let Some(signal) = promoted
        .identify
        .iter()
        .find(|signal| !card.identify.contains(signal))
    {
        return refuse(format!("{signal} is not looked for any more"));
    }
    if promoted.version_required && call.precondition.is_none() {
        return refuse("a version had to be named".to_owned());
    }
    if !promoted.is_open_at(now) {
        return refuse("the hours".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
