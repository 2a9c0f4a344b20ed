//! Money is `{"currency": "EUR", "value": 49.00}`: an ISO 4217 code and an exact decimal. Cedar
//! and budgets see whole minor units; anything finer is refused, never rounded.

use core::fmt;

use crate::value::{Map, Value, minor_units};

/// An amount in whole minor units of an ISO 4217 currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Money {
    currency: String,
    minor: i64,
    digits: u32,
}

/// Why a value is not money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not an object of exactly `currency` and `value`.
    #[error("money is an object of exactly `currency` and `value`")]
    Shape,
    /// The code is not an ISO 4217 code in use.
    #[error("`{0}` is not an ISO 4217 currency")]
    Currency(String),
    /// More decimals than the currency has, or outside 64 bits.
    #[error("the value has more decimals than {currency} has ({digits}), or is too large")]
    Precision {
        /// The currency.
        currency: String,
        /// Its number of decimals.
        digits: u32,
    },
}

/// Number of decimals of a currency, if ISO 4217 knows it and gives it one.
#[must_use]
pub fn minor_digits(currency: &str) -> Option<u32> {
    let found = iso_currency::Currency::from_code(currency)?;
    found.exponent().map(u32::from)
}

impl Money {
    /// Reads a money argument.
    ///
    /// # Errors
    /// When shape, currency or precision are wrong.
    pub fn from_value(value: &Value) -> Result<Self, MoneyError> {
        let map = value
            .as_map()
            .filter(|map| map.len() == 2)
            .ok_or(MoneyError::Shape)?;
        let currency = map
            .get("currency")
            .and_then(Value::as_text)
            .ok_or(MoneyError::Shape)?;
        let amount = map.get("value").ok_or(MoneyError::Shape)?;
        if !matches!(amount, Value::Int(_) | Value::Decimal(_)) {
            return Err(MoneyError::Shape);
        }
        Self::new(currency, amount)
    }

    /// Makes money of a currency code and a number.
    ///
    /// # Errors
    /// When the currency or the precision are wrong.
    pub fn new(currency: &str, amount: &Value) -> Result<Self, MoneyError> {
        let digits =
            minor_digits(currency).ok_or_else(|| MoneyError::Currency(currency.to_owned()))?;
        let minor = minor_units(amount, digits).ok_or_else(|| MoneyError::Precision {
            currency: currency.to_owned(),
            digits,
        })?;
        Ok(Self {
            currency: currency.to_owned(),
            minor,
            digits,
        })
    }

    /// The ISO 4217 code.
    #[must_use]
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// The amount in minor units.
    #[must_use]
    pub const fn minor(&self) -> i64 {
        self.minor
    }

    /// The value part as an argument map.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        map.set("currency", Value::Text(self.currency.clone()));
        let number = self.amount_text();
        let value = crate::value::number_from_text(&number).unwrap_or(Value::Null);
        map.set("value", value);
        Value::Map(map)
    }

    /// The amount with exactly the decimals of the currency.
    #[must_use]
    pub fn amount_text(&self) -> String {
        let width = usize::try_from(self.digits).unwrap_or(0);
        let sign = if self.minor < 0 { "-" } else { "" };
        let digits = format!(
            "{:0>1$}",
            self.minor.unsigned_abs(),
            width.saturating_add(1)
        );
        match digits.split_at_checked(digits.len().saturating_sub(width)) {
            Some((whole, part)) if width > 0 => format!("{sign}{whole}.{part}"),
            _ => format!("{sign}{digits}"),
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount_text(), self.currency)
    }
}

#[cfg(test)]
mod tests;
