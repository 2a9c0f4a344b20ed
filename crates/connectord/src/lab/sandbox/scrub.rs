//! Replaces values by others of the same shape, which nobody can compute without the key.
//!
//! Equal values stay equal, so duplicates and references stay what they are. Pure: no I/O.

use core::str::FromStr;

use chrono::{Datelike as _, Days, NaiveDate};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Number, Value as Json};
use sha2::Sha256;

/// Length of a key in bytes.
pub(crate) const KEY_BYTES: usize = 32;
/// A new id has twelve digits: the most that `deploy/systems/sandbox.toml` takes.
const ID_NUMBERS: u64 = 1_000_000_000_000;
/// Dates move back by one to this many days.
const DAYS_MAX: u16 = 365;
const DATE: &str = "%Y-%m-%d";
const DATE_BYTES: usize = 10;
/// `23:59:59.999999999+02:00`, the longest time that is left behind a date.
const TIME_BYTES_MAX: usize = 24;
const LETTERS: u8 = 26;
const DIGITS: u8 = 10;

/// A kind of records that can be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// People.
    Contacts,
    /// Deals.
    Deals,
    /// Orders.
    Orders,
    /// Tickets.
    Tickets,
}

impl Kind {
    /// Its name in the sandbox.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Contacts => "contacts",
            Self::Deals => "deals",
            Self::Orders => "orders",
            Self::Tickets => "tickets",
        }
    }

    /// The letter that its ids begin with.
    const fn prefix(self) -> char {
        match self {
            Self::Contacts => 'C',
            Self::Deals => 'D',
            Self::Orders => 'O',
            Self::Tickets => 'T',
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Contacts, Self::Deals, Self::Orders, Self::Tickets];
        let found = all.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| "contacts, deals, orders or tickets".to_owned())
    }
}

/// Replaces values under one key.
pub(crate) struct Scrubber {
    mac: Hmac<Sha256>,
    days: u64,
}

impl Scrubber {
    /// A scrubber of a key; none if the key cannot be used.
    pub(crate) fn new(key: &[u8; KEY_BYTES]) -> Option<Self> {
        let mac = Hmac::<Sha256>::new_from_slice(key.as_slice()).ok()?;
        let [high, low, ..] = digest(&mac, &[b"days".as_slice()]);
        let days = u16::from_be_bytes([high, low]) % DAYS_MAX;
        Some(Self {
            mac,
            days: u64::from(days).saturating_add(1),
        })
    }

    /// The new id of a record of a kind.
    pub(crate) fn id(&self, kind: Kind, old: &str) -> String {
        let parts = [b"id".as_slice(), kind.name().as_bytes(), old.as_bytes()];
        let digest = digest(&self.mac, &parts);
        let number = digest.first_chunk().copied().map_or(0, u64::from_be_bytes);
        format!("{}-{:012}", kind.prefix(), number % ID_NUMBERS)
    }

    /// A value with everything in it replaced; null, booleans, blank texts and names stay.
    ///
    /// It goes as deep as the value, which [`crate::lab::sandbox::export`] bounds.
    pub(crate) fn value(&self, value: &Json) -> Json {
        match value {
            Json::Null | Json::Bool(_) => value.clone(),
            Json::Number(number) => self.number(number),
            Json::String(text) => Json::String(self.text(text)),
            Json::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Json::Object(fields) => {
                let scrubbed = |(name, value): (&String, &Json)| (name.clone(), self.value(value));
                fields.iter().map(scrubbed).collect()
            }
        }
    }

    /// A text of the same shape. Of several addresses each is one.
    pub(crate) fn text(&self, text: &str) -> String {
        if !text.contains('@') {
            return self.one(text);
        }
        let parts = text.split_inclusive([',', ';']);
        let scrubbed = parts.map(|part| {
            let item = part.trim_end_matches([',', ';']);
            self.one(item) + part.get(item.len()..).unwrap_or_default()
        });
        scrubbed.collect()
    }

    fn one(&self, text: &str) -> String {
        let inner = text.trim();
        let Some((before, after)) = text.split_once(inner).filter(|_| !inner.is_empty()) else {
            return text.to_owned();
        };
        let special = self.date(text).or_else(|| {
            let address = self.email(inner)?;
            Some(format!("{before}{address}{after}"))
        });
        special.unwrap_or_else(|| self.shaped(text, text))
    }

    /// Sign, decimal places and exponent stay, so the number stays as large as it was.
    fn number(&self, number: &Number) -> Json {
        let text = number.to_string();
        let end = text.find(['e', 'E']).unwrap_or(text.len());
        let (digits, exponent) = text.split_at_checked(end).unwrap_or((text.as_str(), ""));
        let scrubbed = self.shaped(digits, digits) + exponent;
        let parsed = scrubbed.parse::<Number>();
        parsed.map_or(Json::Null, Json::Number)
    }

    /// An ISO date, alone or before a time, moved by as many days as every other one.
    fn date(&self, text: &str) -> Option<String> {
        let (head, rest) = text.split_at_checked(DATE_BYTES)?;
        let date = NaiveDate::parse_from_str(head, DATE).ok()?;
        // The parser also takes `+2026-1-1`, which would not come back as it was written.
        let is_exact = date.format(DATE).to_string() == head;
        let moved = date.checked_sub_days(Days::new(self.days))?;
        let fits = is_exact && is_time(rest) && moved.year() >= 0;
        fits.then(|| format!("{}{rest}", moved.format(DATE)))
    }

    /// An address that nobody can have: `.example` is reserved.
    fn email(&self, text: &str) -> Option<String> {
        let (local, domain) = text.split_once('@')?;
        let is_address = !local.is_empty()
            && !domain.is_empty()
            && !domain.contains('@')
            && !text.contains(char::is_whitespace);
        is_address.then(|| {
            // The whole address decides the local part: one name at two firms is two people.
            let (local, domain) = (self.shaped(text, local), self.shaped(domain, domain));
            format!("{local}@{domain}.example")
        })
    }

    /// A text with its letters and digits replaced as a seed decides.
    fn shaped(&self, seed: &str, text: &str) -> String {
        let mut is_first = true;
        let replaced = |(letter, byte): (char, u8)| {
            let is_leading = letter.is_numeric() && is_first;
            is_first &= !is_leading;
            replace(letter, byte, is_leading)
        };
        text.chars().zip(self.stream(seed)).map(replaced).collect()
    }

    /// As many bytes as a text has letters, whatever its length.
    fn stream(&self, seed: &str) -> impl Iterator<Item = u8> {
        let seed = digest(&self.mac, &[b"value".as_slice(), seed.as_bytes()]);
        (0_u64..).flat_map(move |block| {
            let block = block.to_be_bytes();
            let parts = [b"stream".as_slice(), seed.as_slice(), block.as_slice()];
            digest(&self.mac, &parts)
        })
    }
}

/// What may stand behind a date and stay: nothing, or a time.
fn is_time(rest: &str) -> bool {
    let Some(time) = rest.strip_prefix('T') else {
        return rest.is_empty();
    };
    // Read as a time whatever the day is; seconds and zone may be left out.
    let zoned = |time: &str| format!("2000-01-01T{time}");
    let is_read = |text: String| chrono::DateTime::parse_from_rfc3339(&text).is_ok();
    let bare = time.strip_suffix('Z').unwrap_or(time);
    time.len() <= TIME_BYTES_MAX
        && [zoned(time), zoned(bare) + "Z", zoned(bare) + ":00Z"]
            .into_iter()
            .any(is_read)
}

/// A letter for a letter, a digit for a digit. A leading zero stays one and no other becomes one,
/// or numbers would lose digits.
fn replace(letter: char, byte: u8, is_leading: bool) -> char {
    if letter.is_alphabetic() {
        let small = char::from(b'a'.saturating_add(byte % LETTERS));
        return if letter.is_uppercase() {
            small.to_ascii_uppercase()
        } else {
            small
        };
    }
    if !letter.is_numeric() || (is_leading && letter == '0') {
        letter
    } else if is_leading {
        char::from(b'1'.saturating_add(byte % (DIGITS - 1)))
    } else {
        char::from(b'0'.saturating_add(byte % DIGITS))
    }
}

fn digest(mac: &Hmac<Sha256>, parts: &[&[u8]]) -> [u8; KEY_BYTES] {
    let mut mac = mac.clone();
    for part in parts {
        // Lengths go first, so that no two lists of parts run together into the same bytes.
        mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests;
