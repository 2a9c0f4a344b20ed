//! Values that are kept beside the log, each under a salt of its own; the leaf holds commitments.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use writ_proto::context;
use writ_proto::digest::sha256;
use writ_proto::value::{Map, Value, first_from_cbor};

/// A value that is kept beside the log, with the salt of its commitment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disclosure {
    /// Name of the value, such as `target_id`.
    pub name: &'static str,
    /// 32 random bytes.
    pub salt: [u8; 32],
    /// The value.
    pub value: Value,
}

impl Disclosure {
    /// `HMAC-SHA256(salt, "writ.commit.v1" 00 name 00 canonical-CBOR(value))`.
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        commitment(self.name, &self.salt, &self.value)
    }
}

fn commitment(name: &str, salt: &[u8; 32], value: &Value) -> [u8; 32] {
    let mut message = Vec::with_capacity(128);
    message.extend_from_slice(context::COMMIT.as_bytes());
    message.push(0);
    message.extend_from_slice(name.as_bytes());
    message.push(0);
    message.extend_from_slice(&value.encode());
    match Hmac::<Sha256>::new_from_slice(salt) {
        Ok(mac) => mac.chain_update(&message).finalize().into_bytes().into(),
        // INVARIANT: HMAC takes keys of every length, so this arm is never reached.
        Err(_) => [0; 32],
    }
}

/// A value that was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Its name.
    pub name: String,
    /// The salt of its commitment.
    pub salt: [u8; 32],
    /// The value.
    pub value: Value,
}

impl Opened {
    /// What the leaf must say of it.
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        commitment(&self.name, &self.salt, &self.value)
    }
}

/// The values one after the other, each as three items: name, salt, value. They are not wrapped into
/// anything, so that whatever may be a value can be read again as one.
#[must_use]
pub fn encode_disclosed(items: &[Disclosure]) -> Vec<u8> {
    let item = |item: &Disclosure| {
        let mut bytes = Value::Text(item.name.to_owned()).encode();
        bytes.extend(Value::Bytes(item.salt.to_vec()).encode());
        bytes.extend(item.value.encode());
        bytes
    };
    items.iter().flat_map(item).collect()
}

/// Reads what `encode_disclosed` writes; none where it is something else.
#[must_use]
pub fn read_disclosed(mut bytes: &[u8]) -> Option<Vec<Opened>> {
    let mut opened = Vec::new();
    while !bytes.is_empty() {
        let (name, rest) = first_from_cbor(bytes).ok()?;
        let (salt, rest) = first_from_cbor(rest).ok()?;
        let (value, rest) = first_from_cbor(rest).ok()?;
        let (Value::Text(name), Value::Bytes(salt)) = (name, salt) else {
            return None;
        };
        opened.push(Opened {
            name,
            salt: salt.as_slice().try_into().ok()?,
            value,
        });
        bytes = rest;
    }
    Some(opened)
}

/// What is kept of a value that could not be read again.
const UNREAD_BYTES_MAX: usize = 4_096;

/// A value as it is kept. One that is more than a value may be, or holds what none may hold, is kept as
/// bytes, cut where they are many, with its length and digest: a record is never lost for it.
#[must_use]
pub fn readable(value: Value) -> Value {
    let bytes = value.encode();
    if first_from_cbor(&bytes).is_ok_and(|(_, rest)| rest.is_empty()) {
        return value;
    }
    unread(&bytes)
}

/// The marked form of bytes that are no value.
#[must_use]
pub fn unread(bytes: &[u8]) -> Value {
    let kept = bytes.iter().copied().take(UNREAD_BYTES_MAX).collect();
    let mut map = Map::new();
    map.set("unread", Value::Bytes(kept));
    map.set(
        "length",
        Value::Int(i64::try_from(bytes.len()).unwrap_or(i64::MAX)),
    );
    map.set("sha256", Value::Bytes(sha256(bytes).to_vec()));
    Value::Map(map)
}

#[cfg(test)]
mod tests;
