//! One argument of a card: its type, its bounds, the field it writes.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use regex::Regex;

use super::ArgsError;
use crate::money::Money;
use crate::value::{Value, minor_units};

/// How an argument changes its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// Replaces the value.
    Set,
    /// Adds; what is there stays.
    Append,
    /// Writes only where nothing is.
    FillOnlyEmpty,
    /// Changes how a value is written and never what it says.
    Mechanical,
}

/// The first or last day that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DayBound {
    /// This day.
    Fixed(NaiveDate),
    /// So many days after (or before, if negative) the UTC day of the check.
    Today(i64),
}

impl DayBound {
    /// The day it means; the first of all days where the calendar ends.
    #[must_use]
    pub fn on(self, today: NaiveDate) -> NaiveDate {
        match self {
            Self::Fixed(day) => day,
            Self::Today(days) if days >= 0 => today
                .checked_add_days(Days::new(days.unsigned_abs()))
                .unwrap_or(NaiveDate::MIN),
            Self::Today(days) => today
                .checked_sub_days(Days::new(days.unsigned_abs()))
                .unwrap_or(NaiveDate::MIN),
        }
    }
}

impl core::fmt::Display for DayBound {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Fixed(day) => write!(f, "{day}"),
            Self::Today(0) => f.write_str("today"),
            Self::Today(days) => write!(f, "today{days:+}d"),
        }
    }
}

/// The type of an argument, with its bounds.
#[derive(Debug, Clone)]
pub enum ArgKind {
    /// One of a closed list.
    Choice {
        /// The list.
        values: Vec<String>,
    },
    /// Free text.
    Text {
        /// Most characters.
        max_chars: u32,
    },
    /// A whole number.
    Integer {
        /// Least.
        min: i64,
        /// Most.
        max: i64,
    },
    /// An exact number, compared in units of its last decimal.
    Decimal {
        /// Most decimals.
        decimals: u32,
        /// Least, in those units.
        min: i64,
        /// Most, in those units.
        max: i64,
    },
    /// An amount of one of some currencies.
    Money {
        /// ISO 4217 codes.
        currencies: Vec<String>,
        /// Least, as written.
        min: Value,
        /// Most, as written.
        max: Value,
    },
    /// `YYYY-MM-DD` within bounds.
    Date {
        /// First day.
        min: DayBound,
        /// Last day.
        max: DayBound,
    },
    /// `YYYY-MM-DDTHH:MM:SSZ`, no fraction.
    Timestamp {
        /// First day.
        min: DayBound,
        /// Last day.
        max: DayBound,
    },
    /// True or false.
    Boolean,
    /// An id of another record.
    Reference {
        /// The whole id must match.
        pattern: Regex,
    },
    /// Several of one type.
    List {
        /// The type.
        of: Box<ArgKind>,
        /// Most items.
        max_items: u32,
    },
}

/// One argument.
#[derive(Debug, Clone)]
pub struct Arg {
    /// Type and bounds.
    pub kind: ArgKind,
    /// Its name in the system of record.
    pub field: String,
    /// Whether it may be left out.
    pub optional: bool,
    /// How it changes the field.
    pub write: WriteMode,
    /// Whether a request must show by evidence where its value stands.
    pub evidence_required: bool,
    /// Object and name of the texts that may show it; any text if there is none.
    pub evidence_from: Vec<String>,
    /// What a change triggers downstream; policies see it.
    pub effects: Vec<String>,
    /// Short word to long word, lower case, for mechanical edits.
    pub abbreviations: BTreeMap<String, String>,
}

impl ArgKind {
    /// Whether a value of it can be found in a text.
    #[must_use]
    pub const fn is_cited(&self) -> bool {
        matches!(
            self,
            Self::Choice { .. }
                | Self::Text { .. }
                | Self::Reference { .. }
                | Self::Integer { .. }
                | Self::Decimal { .. }
                | Self::Money { .. }
                | Self::Date { .. }
        )
    }
}

impl Arg {
    pub(super) fn check(
        &self,
        path: &str,
        value: &Value,
        today: NaiveDate,
    ) -> Result<(), ArgsError> {
        self.kind.check(path, value, today)
    }
}

fn shown(value: &Value) -> String {
    let text: String = value.to_json().chars().take(60).collect();
    text
}

impl ArgKind {
    /// What is allowed, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Choice { values } => format!("one of {}", values.join(", ")),
            Self::Text { max_chars } => format!("text of 1 to {max_chars} characters"),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Decimal { decimals, .. } => {
                format!("a number within its bounds with at most {decimals} decimals")
            }
            Self::Money {
                currencies,
                min,
                max,
            } => {
                let (low, high) = (min.to_json(), max.to_json());
                let code = currencies.first().map_or("EUR", String::as_str);
                let all = currencies.join(", ");
                format!(
                    "an amount with its currency, such as {high} {code}: {low} to {high} in {all}"
                )
            }
            Self::Date { min, max } => format!("a day YYYY-MM-DD from {min} to {max}"),
            Self::Timestamp { min, max } => {
                format!("a time YYYY-MM-DDTHH:MM:SSZ from {min} to {max}")
            }
            Self::Boolean => "true or false".to_owned(),
            Self::Reference { pattern } => format!("an id that matches {}", pattern.as_str()),
            Self::List { of, max_items } => {
                format!("a list of at most {max_items}, each {}", of.describe())
            }
        }
    }

    /// The name of the type in cards.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Choice { .. } => "choice",
            Self::Text { .. } => "text",
            Self::Integer { .. } => "integer",
            Self::Decimal { .. } => "decimal",
            Self::Money { .. } => "money",
            Self::Date { .. } => "date",
            Self::Timestamp { .. } => "timestamp",
            Self::Boolean => "boolean",
            Self::Reference { .. } => "reference",
            Self::List { .. } => "list",
        }
    }

    fn check(&self, path: &str, value: &Value, today: NaiveDate) -> Result<(), ArgsError> {
        if let (Self::List { of, max_items }, Value::List(items)) = (self, value) {
            if u32::try_from(items.len()).is_ok_and(|count| count <= *max_items) {
                for (index, item) in items.iter().enumerate() {
                    of.check(&format!("{path}[{index}]"), item, today)?;
                }
                return Ok(());
            }
        } else if self.accepts(value, today) {
            return Ok(());
        }
        let kind = match (self, value) {
            (Self::Text { .. } | Self::Choice { .. }, Value::Int(_)) => "the number ",
            (Self::Money { .. }, Value::Text(_)) => "the text ",
            _ => "",
        };
        Err(ArgsError {
            field: path.to_owned(),
            found: format!("{kind}{}", shown(value)),
            allowed: self.describe(),
        })
    }

    fn accepts(&self, value: &Value, today: NaiveDate) -> bool {
        match (self, value) {
            (Self::Choice { values }, Value::Text(text)) => values.contains(text),
            (Self::Text { max_chars }, Value::Text(text)) => {
                let count = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
                let printable = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
                (1..=*max_chars).contains(&count) && text.chars().all(printable)
            }
            (Self::Integer { min, max }, Value::Int(number)) => (*min..=*max).contains(number),
            (Self::Decimal { decimals, min, max }, number) => {
                minor_units(number, *decimals).is_some_and(|units| (*min..=*max).contains(&units))
            }
            (
                Self::Money {
                    currencies,
                    min,
                    max,
                },
                amount,
            ) => money_within(amount, currencies, min, max),
            (Self::Date { min, max }, Value::Text(text)) => {
                day(text).is_some_and(|day| (min.on(today)..=max.on(today)).contains(&day))
            }
            (Self::Timestamp { min, max }, Value::Text(text)) => {
                moment(text).is_some_and(|day| (min.on(today)..=max.on(today)).contains(&day))
            }
            (Self::Boolean, Value::Bool(_)) => true,
            (Self::Reference { pattern }, Value::Text(text)) => pattern.is_match(text),
            _ => false,
        }
    }
}

fn money_within(amount: &Value, currencies: &[String], min: &Value, max: &Value) -> bool {
    let Ok(money) = Money::from_value(amount) else {
        return false;
    };
    let bound = |bound: &Value| Money::new(money.currency(), bound).ok();
    let listed = currencies.iter().any(|code| code == money.currency());
    listed
        && bound(min).is_some_and(|least| least.minor() <= money.minor())
        && bound(max).is_some_and(|most| money.minor() <= most.minor())
}

/// A day in its one spelling.
pub(super) fn day(text: &str) -> Option<NaiveDate> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    (day.format("%Y-%m-%d").to_string() == text).then_some(day)
}

fn moment(text: &str) -> Option<NaiveDate> {
    let spelling = "%Y-%m-%dT%H:%M:%SZ";
    let moment = chrono::NaiveDateTime::parse_from_str(text, spelling).ok()?;
    (moment.format(spelling).to_string() == text).then(|| moment.date())
}
