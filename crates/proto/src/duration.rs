//! Durations as people write them: `60s`, `30m`, `24h`, `7d`.

use serde::{Deserialize as _, Deserializer, de::Error as _};

/// Whole seconds of a duration; zero is none.
///
/// # Errors
/// A sentence that shows the form.
pub fn seconds_of(text: &str) -> Result<u32, String> {
    let refuse = || format!("`{text}` is not a duration like 60s, 30m, 24h");
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(refuse)?;
    let unit: u32 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(refuse()),
    };
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = number
        .parse::<u32>()
        .ok()
        .and_then(|number| number.checked_mul(unit));
    seconds
        .filter(|seconds| digits && *seconds > 0)
        .ok_or_else(refuse)
}

/// Reads a duration of a configuration, for `deserialize_with`.
///
/// # Errors
/// As `seconds_of`.
pub fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let value = toml::Value::deserialize(deserializer)?;
    // A bare number is no duration: nobody knows of what.
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    seconds_of(&text).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        let table = [
            ("1s", Some(1)),
            ("60s", Some(60)),
            ("30m", Some(1_800)),
            ("24h", Some(86_400)),
            ("7d", Some(604_800)),
            ("0s", None),
            ("60", None),
            ("s", None),
            ("", None),
            ("+5s", None),
            ("-5s", None),
            ("1.5h", None),
            ("5 s", None),
            ("5ms", None),
            ("4294967295d", None),
            ("5é", None),
        ];
        for (text, seconds) in table {
            assert_eq!(seconds_of(text).ok(), seconds, "{text}");
        }
    }
}
