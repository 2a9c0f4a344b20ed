//! A notice: what people are told beside the log, such as a limit that fired. It is stored with the
//! record it is about and delivered later, at least once.
//!
//! A notice holds no argument, no token and no personal value: it names tenant, agent, action,
//! codes and counts. Whatever it holds is shortened and freed of control characters here.

use uuid::Uuid;
use writ_proto::ids::TenantId;
use writ_proto::value::{Map, Value, first_from_cbor};

/// Notices of one key within this time are one notice; the others are counted on it.
pub const DEDUP_WINDOW_MS: i64 = 10 * 60 * 1_000;
/// Longest title and longest value, in characters.
pub const TEXT_CHARS_MAX: usize = 300;
/// Longest name of a field, in characters.
pub const NAME_CHARS_MAX: usize = 40;
/// Most fields. Slack takes ten in one block.
pub const FIELDS_MAX: usize = 10;
/// Longest link and key, in characters.
pub const LINK_CHARS_MAX: usize = 500;

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// A cap or budget was reached.
    LimitFired,
    /// Repeated denials became an incident.
    Incident,
    /// A decision waits for a person.
    ApprovalWaiting,
    /// A halt was set.
    HaltSet,
    /// A halt was cleared.
    HaltCleared,
    /// Changed policies were not accepted.
    PolicyReloadFailed,
    /// connectord refuses a halt that policyd ordered.
    HaltRefused,
}

const KINDS: [(NoticeKind, &str); 7] = [
    (NoticeKind::LimitFired, "limit_fired"),
    (NoticeKind::Incident, "incident"),
    (NoticeKind::ApprovalWaiting, "approval_waiting"),
    (NoticeKind::HaltSet, "halt_set"),
    (NoticeKind::HaltCleared, "halt_cleared"),
    (NoticeKind::PolicyReloadFailed, "policy_reload_failed"),
    (NoticeKind::HaltRefused, "halt_refused"),
];

impl NoticeKind {
    /// The public name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = KINDS.iter().find(|(kind, _)| *kind == self);
        found.map_or("", |(_, name)| name)
    }

    fn of(name: &str) -> Option<Self> {
        let found = KINDS.iter().find(|(_, known)| *known == name);
        found.map(|(kind, _)| *kind)
    }
}

/// One notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its id; a receiver that gets it twice knows by it.
    pub id: Uuid,
    /// Tenant it is about.
    pub tenant: TenantId,
    /// What it is about.
    pub kind: NoticeKind,
    /// One sentence for people.
    pub title: String,
    /// Names and values, such as `agent` and `triage`, in the order shown.
    pub fields: Vec<(String, String)>,
    /// Where to look: an https URL or a command; may be empty.
    pub link: String,
    /// Notices of the same tenant and key are one within [`DEDUP_WINDOW_MS`].
    pub dedup_key: String,
    /// When it happened, Unix milliseconds.
    pub time_ms: i64,
}

fn plain(text: &str, most: usize) -> String {
    let shown = text.chars().take(most);
    shown
        .map(|sign| if sign.is_control() { ' ' } else { sign })
        .collect()
}

impl Notice {
    /// The same, shortened to what is stored and sent.
    #[must_use]
    pub fn bounded(&self) -> Self {
        let field = |(name, value): &(String, String)| {
            (plain(name, NAME_CHARS_MAX), plain(value, TEXT_CHARS_MAX))
        };
        Self {
            id: self.id,
            tenant: self.tenant.clone(),
            kind: self.kind,
            title: plain(&self.title, TEXT_CHARS_MAX),
            fields: self.fields.iter().take(FIELDS_MAX).map(field).collect(),
            link: plain(&self.link, LINK_CHARS_MAX),
            dedup_key: plain(&self.dedup_key, LINK_CHARS_MAX),
            time_ms: self.time_ms,
        }
    }

    /// The stored form of what has no column of its own.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let text = |text: &str| Value::Text(text.to_owned());
        let mut map = Map::new();
        map.set("kind", text(self.kind.name()));
        map.set("title", text(&self.title));
        map.set("link", text(&self.link));
        let fields = self.fields.iter();
        let pairs = fields.map(|(name, value)| Value::List(vec![text(name), text(value)]));
        map.set("fields", Value::List(pairs.collect()));
        map.encode()
    }

    /// Reads the stored form; none when it is not what was written.
    #[must_use]
    pub fn decode(
        id: Uuid,
        tenant: TenantId,
        (dedup_key, time_ms): (String, i64),
        body: &[u8],
    ) -> Option<Self> {
        let (Value::Map(map), []) = first_from_cbor(body).ok()? else {
            return None;
        };
        let text = |name| map.get(name).and_then(Value::as_text).map(str::to_owned);
        let Some(Value::List(items)) = map.get("fields") else {
            return None;
        };
        let pair = |item: &Value| match item {
            Value::List(parts) => match parts.as_slice() {
                [Value::Text(name), Value::Text(value)] => Some((name.clone(), value.clone())),
                _ => None,
            },
            _ => None,
        };
        let fields: Option<Vec<_>> = items.iter().map(pair).collect();
        Some(Self {
            id,
            tenant,
            kind: NoticeKind::of(&text("kind")?)?,
            title: text("title")?,
            fields: fields?,
            link: text("link")?,
            dedup_key,
            time_ms,
        })
    }
}

/// How the delivery of a notice stands. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Some sink has not taken it yet.
    Waiting,
    /// Every sink that is configured has taken it.
    Delivered,
    /// Given up; kept and shown.
    Dead,
}

const DELIVERIES: [(Delivery, i64, &str); 3] = [
    (Delivery::Waiting, 0, "waiting"),
    (Delivery::Delivered, 1, "delivered"),
    (Delivery::Dead, 2, "dead"),
];

impl Delivery {
    /// The stored number.
    #[must_use]
    pub fn number(self) -> i64 {
        let found = DELIVERIES.iter().find(|(state, ..)| *state == self);
        found.map_or(0, |(_, number, _)| *number)
    }

    /// The public name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = DELIVERIES.iter().find(|(state, ..)| *state == self);
        found.map_or("", |(.., name)| name)
    }

    /// The state of a stored number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        let found = DELIVERIES.iter().find(|(_, known, _)| *known == number);
        found.map(|(state, ..)| *state)
    }
}

/// How long to wait after a number of tries, in milliseconds: doubled each time up to a longest
/// wait, of which the upper half is random, so that many notices do not come back together.
#[must_use]
pub fn backoff_ms(tries: u32, first_ms: i64, longest_ms: i64, random: u16) -> i64 {
    let doublings = tries.saturating_sub(1).min(30);
    let whole = first_ms
        .saturating_mul(1_i64.checked_shl(doublings).unwrap_or(1))
        .clamp(1, longest_ms.max(1));
    let half = whole.div_euclid(2);
    let spread = half
        .saturating_mul(i64::from(random))
        .div_euclid(i64::from(u16::MAX));
    whole.saturating_sub(half).saturating_add(spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(title: &str) -> Notice {
        Notice {
            id: Uuid::from_u128(1),
            tenant: TenantId::parse("acme").unwrap(),
            kind: NoticeKind::Incident,
            title: title.to_owned(),
            fields: vec![("agent".into(), "triage".into())],
            link: String::new(),
            dedup_key: "k".into(),
            time_ms: 5,
        }
    }

    #[test]
    fn a_notice_is_found_as_it_was_stored_and_nothing_else_is_one() {
        let found = notice("x");
        let bytes = found.encode();
        let read =
            |bytes: &[u8]| Notice::decode(found.id, found.tenant.clone(), ("k".into(), 5), bytes);
        assert_eq!(read(&bytes), Some(found.clone()));
        for at in 0..bytes.len() {
            assert_eq!(read(&bytes[..at]), None, "cut at {at}");
        }
        for (kind, name) in KINDS {
            assert_eq!((kind.name(), NoticeKind::of(name)), (name, Some(kind)));
        }
        for (state, number, name) in DELIVERIES {
            assert_eq!((state.number(), state.name()), (number, name));
            assert_eq!(Delivery::from_number(number), Some(state));
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_control_characters_go() {
        let mut long = notice(&"\u{7}x\n".repeat(500));
        long.fields = vec![("n".repeat(99), "v".repeat(999)); 50];
        let short = long.bounded();
        assert_eq!(short.title.chars().count(), TEXT_CHARS_MAX);
        assert!(!short.title.contains(char::is_control));
        assert_eq!(short.fields.len(), FIELDS_MAX);
        assert_eq!(short.fields[0].0.len(), NAME_CHARS_MAX);
        assert_eq!(short.fields[0].1.len(), TEXT_CHARS_MAX);
    }

    #[test]
    fn waits_double_up_to_the_longest_and_half_of_each_is_random() {
        let table = [
            (0, 1_000),
            (1, 1_000),
            (2, 2_000),
            (5, 16_000),
            (20, 60_000),
        ];
        for (tries, whole) in table {
            assert_eq!(backoff_ms(tries, 1_000, 60_000, u16::MAX), whole);
            assert_eq!(backoff_ms(tries, 1_000, 60_000, 0), whole / 2);
        }
        assert!(backoff_ms(u32::MAX, i64::MAX, i64::MAX, u16::MAX) > 0);
    }
}
