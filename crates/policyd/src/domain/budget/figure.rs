//! Figures of a budget: whole numbers in the smallest unit, read and written as decimals. No
//! floats.

use writ_proto::money::minor_digits;
use writ_proto::value::{minor_units, value_from_json};

/// Decimals of USD that language models are billed in: micro-dollars.
const USD_DIGITS: u32 = 6;

/// What a figure counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unit {
    /// Calls, records.
    Count,
    /// Tokens of a language model.
    Tokens,
    /// Millionths of a US dollar, billed for a language model.
    MicroUsd,
    /// Minor units of a currency by ISO 4217.
    Minor {
        /// The code.
        currency: String,
        /// Its number of decimals.
        digits: u32,
    },
}

impl Unit {
    /// Money in a currency.
    ///
    /// # Errors
    /// When ISO 4217 does not know the code.
    pub fn money(currency: &str) -> Result<Self, String> {
        let digits = minor_digits(currency)
            .ok_or_else(|| format!("`{currency}` is not an ISO 4217 currency"))?;
        let currency = currency.to_owned();
        Ok(Self::Minor { currency, digits })
    }

    /// Its name: `calls` have none, money has that of its currency.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Count => "",
            Self::Tokens => "tokens",
            Self::MicroUsd => "USD",
            Self::Minor { currency, .. } => currency,
        }
    }

    const fn digits(&self) -> u32 {
        match self {
            Self::Count | Self::Tokens => 0,
            Self::MicroUsd => USD_DIGITS,
            Self::Minor { digits, .. } => *digits,
        }
    }

    /// Reads a decimal; nothing is rounded, and nothing is negative.
    ///
    /// # Errors
    /// A sentence.
    pub fn read(&self, text: &str) -> Result<i64, String> {
        let value = value_from_json(text).ok();
        let units = value.and_then(|value| minor_units(&value, self.digits()));
        units.filter(|units| *units >= 0).ok_or_else(|| {
            let digits = self.digits();
            format!("`{text}` is not a number from 0 on with at most {digits} decimals")
        })
    }

    /// Writes a figure with exactly the decimals of its unit.
    #[must_use]
    pub fn shown(&self, figure: i64) -> String {
        let width = usize::try_from(self.digits()).unwrap_or(0);
        let sign = if figure < 0 { "-" } else { "" };
        let digits = format!("{:0>1$}", figure.unsigned_abs(), width.saturating_add(1));
        match digits.split_at_checked(digits.len().saturating_sub(width)) {
            Some((whole, part)) if width > 0 => format!("{sign}{whole}.{part}"),
            _ => format!("{sign}{digits}"),
        }
    }
}
