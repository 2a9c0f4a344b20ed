//! Exact decimals, read from the literal text and never through a float.

use core::fmt;

use super::Value;
use crate::limits::NUMBER_CHARS_MAX;

/// Most decimals a number may have.
pub(crate) const DIGITS_MAX: i64 = 18;

/// `mantissa * 10^-digits` with 1 to 18 digits and a mantissa that does not end in zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    mantissa: i64,
    digits: u8,
}

impl Decimal {
    /// The reduced form, if the parts are it.
    #[must_use]
    pub const fn new(exponent: i64, mantissa: i64) -> Option<Self> {
        // Exponents are -18..=-1, so the digits fit in a byte.
        let digits: u8 = match exponent {
            -1 => 1,
            -2 => 2,
            -3 => 3,
            -4 => 4,
            -5 => 5,
            -6 => 6,
            -7 => 7,
            -8 => 8,
            -9 => 9,
            -10 => 10,
            -11 => 11,
            -12 => 12,
            -13 => 13,
            -14 => 14,
            -15 => 15,
            -16 => 16,
            -17 => 17,
            -18 => 18,
            _ => return None,
        };
        if mantissa % 10 == 0 {
            return None;
        }
        Some(Self { mantissa, digits })
    }

    /// The exponent, -18 to -1.
    #[must_use]
    pub fn exponent(self) -> i64 {
        -i64::from(self.digits)
    }

    /// The digits as one integer.
    #[must_use]
    pub const fn mantissa(self) -> i64 {
        self.mantissa
    }

    /// The number in units of `10^-digits`, if it is a whole count of them within 64 bits.
    #[must_use]
    pub fn rescale(self, digits: u32) -> Option<i64> {
        let up = digits.checked_sub(u32::from(self.digits))?;
        self.mantissa.checked_mul(10_i64.checked_pow(up)?)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let digits = usize::from(self.digits);
        let text = format!("{:0>1$}", self.mantissa.unsigned_abs(), digits + 1);
        let (whole, part) = text
            .split_at_checked(text.len() - digits)
            .unwrap_or((&text, ""));
        write!(f, "{sign}{whole}.{part}")
    }
}

/// A number value in units of `10^-digits`, if it is a whole count of them within 64 bits.
#[must_use]
pub fn minor_units(value: &Value, digits: u32) -> Option<i64> {
    match value {
        Value::Int(whole) => whole.checked_mul(10_i64.checked_pow(digits)?),
        Value::Decimal(decimal) => decimal.rescale(digits),
        _ => None,
    }
}

/// Why a literal is not a number we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberError {
    /// It is not spelled as JSON spells a number.
    Spelling,
    /// It is outside 64 bits or has more than 18 decimals.
    Range,
}

/// Reads a JSON number literal exactly.
///
/// # Errors
/// When it is not a JSON number, is longer than 64 characters or cannot be held exactly.
pub fn number_from_text(text: &str) -> Result<Value, NumberError> {
    if text.len() > NUMBER_CHARS_MAX {
        return Err(NumberError::Range);
    }
    let (negative, rest) = text
        .strip_prefix('-')
        .map_or((false, text), |rest| (true, rest));
    let (number, exponent) = match rest
        .find(['e', 'E'])
        .and_then(|at| rest.split_at_checked(at))
    {
        Some((number, tail)) => (number, exponent_from(tail)?),
        None => (rest, 0),
    };
    let (whole, part) = match number.split_once('.') {
        Some((_, "")) => return Err(NumberError::Spelling),
        Some((whole, part)) => (whole, part),
        None => (number, ""),
    };
    let digits_only = whole
        .bytes()
        .chain(part.bytes())
        .all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits_only || (whole.len() > 1 && whole.starts_with('0')) {
        return Err(NumberError::Spelling);
    }
    let digits = format!("{whole}{part}");
    let significant = digits.trim_start_matches('0');
    let trimmed = significant.trim_end_matches('0');
    if trimmed.is_empty() {
        return Ok(Value::Int(0));
    }
    let length = |text: &str| i64::try_from(text.len()).map_err(|_| NumberError::Range);
    let dropped = length(significant)? - length(trimmed)?;
    // Both terms are small: the literal has at most 64 characters and `exponent` is bounded.
    let scale = exponent - length(part)? + dropped;
    assemble(negative, trimmed, scale).ok_or(NumberError::Range)
}

fn exponent_from(tail: &str) -> Result<i64, NumberError> {
    let digits = tail.get(1..).ok_or(NumberError::Spelling)?;
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(digits)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NumberError::Spelling);
    }
    // Anything this large leaves the range whatever the digits are, unless they are all zero.
    let bounded = digits
        .parse::<i64>()
        .unwrap_or(i64::from(i32::MAX))
        .min(i64::from(i32::MAX));
    Ok(if negative { -bounded } else { bounded })
}

fn assemble(negative: bool, trimmed: &str, scale: i64) -> Option<Value> {
    let signed = |digits: &str| -> Option<i64> {
        let text = if negative {
            format!("-{digits}")
        } else {
            digits.to_owned()
        };
        text.parse::<i64>().ok()
    };
    if scale >= 0 {
        let zeros = usize::try_from(scale).ok().filter(|zeros| *zeros <= 19)?;
        return signed(&format!("{trimmed}{}", "0".repeat(zeros))).map(Value::Int);
    }
    if scale < -DIGITS_MAX {
        return None;
    }
    Decimal::new(scale, signed(trimmed)?).map(Value::Decimal)
}
