//! The last denials of one agent and action, and when they are too many.

use writ_proto::value::{Map, Value, first_from_cbor};

/// Codes that an incident shows, the newest.
const CODES_MAX: usize = 8;

/// The last denials that one rule counted for one agent and action.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Time in Unix milliseconds and code, in order of time; at most as many as the rule names.
    denials: Vec<(i64, String)>,
    tripped_ms: Option<i64>,
}

impl Tally {
    /// Counts one denial; true when this one makes it an incident.
    pub fn count(&mut self, (at_ms, code): (i64, &str), wanted: usize, window_ms: i64) -> bool {
        let later = self.denials.partition_point(|(time, _)| *time <= at_ms);
        self.denials.insert(later, (at_ms, code.to_owned()));
        let surplus = self.denials.len().saturating_sub(wanted.max(1));
        self.denials.drain(..surplus);
        let (Some((first, _)), Some((last, _))) = (self.denials.first(), self.denials.last())
        else {
            return false;
        };
        let (first, last) = (*first, *last);
        let together = self.denials.len() >= wanted && last.saturating_sub(first) < window_ms;
        let rested = self
            .tripped_ms
            .is_none_or(|tripped| last.saturating_sub(tripped) >= window_ms);
        let trips = together && rested;
        if trips {
            self.tripped_ms = Some(last);
        }
        trips
    }

    /// The newest codes, each once, newest first.
    #[must_use]
    pub fn codes(&self) -> Vec<String> {
        let mut codes: Vec<String> = Vec::new();
        for (_, code) in self.denials.iter().rev() {
            if !codes.contains(code) && codes.len() < CODES_MAX {
                codes.push(code.clone());
            }
        }
        codes
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let pair = |(time, code): &(i64, String)| {
            Value::List(vec![Value::Int(*time), Value::Text(code.clone())])
        };
        let mut map = Map::new();
        map.set(
            "denials",
            Value::List(self.denials.iter().map(pair).collect()),
        );
        map.set("tripped", self.tripped_ms.map_or(Value::Null, Value::Int));
        map.encode()
    }

    /// Reads the stored form; none when it is not what was written.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (Value::Map(map), []) = first_from_cbor(bytes).ok()? else {
            return None;
        };
        let pair = |item: &Value| match item {
            Value::List(parts) => match parts.as_slice() {
                [Value::Int(time), Value::Text(code)] => Some((*time, code.clone())),
                _ => None,
            },
            _ => None,
        };
        let Some(Value::List(items)) = map.get("denials") else {
            return None;
        };
        let denials: Option<Vec<_>> = items.iter().map(pair).collect();
        let tripped_ms = match map.get("tripped") {
            Some(Value::Null) => None,
            Some(Value::Int(time)) => Some(*time),
            _ => return None,
        };
        Some(Self {
            denials: denials?,
            tripped_ms,
        })
    }
}
