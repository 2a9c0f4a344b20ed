//! Rules of a card beside its arguments: ceilings, hours, when it goes back to dry run.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike as _, NaiveTime, Utc, Weekday};
use chrono_tz::Tz;
use serde::Deserialize;

use super::file::invalid;
use super::{Arg, CardError};
use crate::value::{Value, number_from_text};

const PERCENT_MAX: u32 = 100;
const DEMOTION_SAMPLE_MAX: u32 = 1_000;
const SPIKE_FACTOR_MAX: u32 = 1_000;

/// Ceilings of one action and tenant. A policy can only be narrower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caps {
    /// Most executed records per UTC day.
    pub records_per_day: u32,
    /// Most executed records per UTC day and agent.
    pub records_per_agent_per_day: Option<u32>,
    /// Most executed records per UTC day and customer.
    pub records_per_customer_per_day: Option<u32>,
    /// Most executed records of one run.
    pub records_per_run: Option<u32>,
    /// Most fields that one run writes.
    pub fields_per_run: Option<u32>,
    /// Most executions of any action that one run makes after its first.
    pub follow_ups_per_run: Option<u32>,
    /// Most money of one currency per UTC day.
    pub amount_per_day: Option<Value>,
    /// Most money of one currency in one run.
    pub amount_per_run: Option<Value>,
    /// Most money of one currency on one record, over all executions that were done or may be.
    pub amount_per_record: Option<RecordCeiling>,
    /// Most executed records of a day as a multiple of the median of the 7 days before.
    pub spike: Option<u32>,
}

impl Caps {
    /// Whether a call has to say which run it belongs to.
    #[must_use]
    pub const fn count_runs(&self) -> bool {
        self.records_per_run.is_some()
            || self.fields_per_run.is_some()
            || self.follow_ups_per_run.is_some()
            || self.amount_per_run.is_some()
    }
}

/// The most that may be executed on one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordCeiling {
    /// This amount, in the units that people write.
    Amount(Value),
    /// What this field of the record holds, such as the total of an order.
    Field(String),
}

/// What makes two requests one intent, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// `target`, `agent`, and names of arguments.
    pub by: Vec<String>,
    /// Seconds in which the same intent is decided once.
    pub within_seconds: u32,
}

/// Longest time in which one intent is decided once.
const INTENT_SECONDS_MAX: u32 = 24 * 3_600;

/// Weekly opening hours in a time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    days: Vec<Weekday>,
    from: NaiveTime,
    to: NaiveTime,
    zone: Tz,
    text: String,
}

impl Hours {
    /// Whether a moment lies in them; `to` is outside.
    #[must_use]
    pub fn contain(&self, now: DateTime<Utc>) -> bool {
        let local = now.with_timezone(&self.zone);
        self.days.contains(&local.weekday()) && (self.from..self.to).contains(&local.time())
    }
}

impl core::fmt::Display for Hours {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.text)
    }
}

/// When a live action goes back to dry run by itself: over its latest executions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demotion {
    /// Percent of executions that were undone, above which it happens.
    pub undone_percent: Option<u32>,
    /// Percent of executions that were refused at the record, above which it happens.
    pub refused_percent: Option<u32>,
    /// How many of the latest executions are looked at; with fewer nothing happens.
    pub of_last: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CapsText {
    records_per_day: u32,
    records_per_agent_per_day: Option<u32>,
    records_per_customer_per_day: Option<u32>,
    records_per_run: Option<u32>,
    fields_per_run: Option<u32>,
    follow_ups_per_run: Option<u32>,
    amount_per_day: Option<String>,
    amount_per_run: Option<String>,
    amount_per_record: Option<RecordText>,
    spike: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RecordText {
    Amount(String),
    Field(FieldText),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldText {
    field: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IntentText {
    by: Vec<String>,
    within: String,
}

impl IntentText {
    pub(super) fn check(&self, args: &BTreeMap<String, Arg>) -> Result<Intent, CardError> {
        let known = |name: &&String| {
            matches!(name.as_str(), "target" | "agent") || args.contains_key(name.as_str())
        };
        if self.by.is_empty() || !self.by.iter().all(|name| known(&name)) {
            let why = "intent.by names `target`, `agent` and arguments of the card";
            return Err(invalid(why));
        }
        let within_seconds = super::file::window("intent.within", &self.within)?;
        if within_seconds > INTENT_SECONDS_MAX {
            return Err(invalid("intent.within is at most 24h"));
        }
        let mut by = self.by.clone();
        by.sort_unstable();
        by.dedup();
        Ok(Intent { by, within_seconds })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HoursText {
    days: String,
    from: String,
    to: String,
    zone: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IdentifyText {
    pub(super) by: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DemotionText {
    undone: Option<String>,
    refused: Option<String>,
    of_last: u32,
}

impl CapsText {
    pub(super) fn check(self) -> Result<Caps, CardError> {
        let spike = self.spike.as_deref().map(factor).transpose()?;
        Ok(Caps {
            records_per_day: self.records_per_day,
            records_per_agent_per_day: self.records_per_agent_per_day,
            records_per_customer_per_day: self.records_per_customer_per_day,
            records_per_run: self.records_per_run,
            fields_per_run: self.fields_per_run,
            follow_ups_per_run: self.follow_ups_per_run,
            amount_per_day: self.amount_per_day.as_deref().map(amount).transpose()?,
            amount_per_run: self.amount_per_run.as_deref().map(amount).transpose()?,
            amount_per_record: match self.amount_per_record {
                None => None,
                Some(RecordText::Amount(text)) => Some(RecordCeiling::Amount(amount(&text)?)),
                Some(RecordText::Field(text)) => Some(RecordCeiling::Field(text.field)),
            },
            spike,
        })
    }
}

fn amount(text: &str) -> Result<Value, CardError> {
    number_from_text(text).map_err(|_| invalid(format!("caps: `{text}` is not an amount")))
}

/// `5x median of 7 days`, in this one spelling.
fn factor(text: &str) -> Result<u32, CardError> {
    let number = text
        .strip_suffix("x median of 7 days")
        .and_then(|n| n.parse().ok());
    number
        .filter(|n| (2..=SPIKE_FACTOR_MAX).contains(n))
        .ok_or_else(|| invalid("caps.spike is like \"5x median of 7 days\", at least 2x"))
}

impl HoursText {
    pub(super) fn check(&self) -> Result<Hours, CardError> {
        let time = |text: &str| {
            NaiveTime::parse_from_str(text, "%H:%M")
                .map_err(|_| invalid(format!("hours: `{text}` is not a time HH:MM")))
        };
        let (from, to) = (time(&self.from)?, time(&self.to)?);
        if from >= to {
            return Err(invalid("hours: `from` is before `to`, on the same day"));
        }
        let zone: Tz = self
            .zone
            .parse()
            .map_err(|_| invalid(format!("hours: `{}` is not a time zone", self.zone)))?;
        let text = format!("{} {}-{} {}", self.days, self.from, self.to, self.zone);
        Ok(Hours {
            days: days(&self.days)?,
            from,
            to,
            zone,
            text,
        })
    }
}

const WEEK: [(&str, Weekday); 7] = [
    ("mon", Weekday::Mon),
    ("tue", Weekday::Tue),
    ("wed", Weekday::Wed),
    ("thu", Weekday::Thu),
    ("fri", Weekday::Fri),
    ("sat", Weekday::Sat),
    ("sun", Weekday::Sun),
];

/// `mon-fri`, `sat`, or a list of both such as `mon-wed,fri`.
fn days(text: &str) -> Result<Vec<Weekday>, CardError> {
    let at = |name: &str| WEEK.iter().position(|(day, _)| *day == name.trim());
    let mut days = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = at(first).zip(at(last)).filter(|(a, b)| a <= b);
        let (first, last) = range.ok_or_else(|| {
            invalid(format!(
                "hours: `{part}` is not like \"mon-fri\" or \"mon,wed\""
            ))
        })?;
        let named = WEEK.get(first..=last).unwrap_or_default();
        days.extend(named.iter().map(|(_, day)| *day));
    }
    Ok(days)
}

impl DemotionText {
    pub(super) fn check(&self) -> Result<Demotion, CardError> {
        let percent = |text: &Option<String>| {
            let Some(text) = text else { return Ok(None) };
            let number = text.strip_suffix('%').and_then(|n| n.parse().ok());
            number
                .filter(|n| *n < PERCENT_MAX)
                .map(Some)
                .ok_or_else(|| invalid("demote: a rate is like \"5%\", below 100%"))
        };
        let (undone_percent, refused_percent) = (percent(&self.undone)?, percent(&self.refused)?);
        if undone_percent.is_none() && refused_percent.is_none() {
            return Err(invalid("demote names `undone`, `refused` or both"));
        }
        if !(1..=DEMOTION_SAMPLE_MAX).contains(&self.of_last) {
            return Err(invalid(format!(
                "demote.of_last is 1 to {DEMOTION_SAMPLE_MAX}"
            )));
        }
        Ok(Demotion {
            undone_percent,
            refused_percent,
            of_last: self.of_last,
        })
    }
}
