//! Values that are kept beside the log, each under a salt of its own; the leaf holds commitments.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use writ_proto::context;
use writ_proto::value::{Value, first_from_cbor};

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

/// The values one after the other, each as a list of name, salt and value.
#[must_use]
pub fn encode_disclosed(items: &[Disclosure]) -> Vec<u8> {
    let item = |item: &Disclosure| {
        let name = Value::Text(item.name.to_owned());
        let parts = vec![name, Value::Bytes(item.salt.to_vec()), item.value.clone()];
        Value::List(parts).encode()
    };
    items.iter().flat_map(item).collect()
}

/// Reads what `encode_disclosed` writes; none where it is something else.
#[must_use]
pub fn read_disclosed(mut bytes: &[u8]) -> Option<Vec<Opened>> {
    let mut opened = Vec::new();
    while !bytes.is_empty() {
        let (item, rest) = first_from_cbor(bytes).ok()?;
        let Value::List(parts) = item else {
            return None;
        };
        let [Value::Text(name), Value::Bytes(salt), value] = parts.as_slice() else {
            return None;
        };
        opened.push(Opened {
            name: name.clone(),
            salt: salt.as_slice().try_into().ok()?,
            value: value.clone(),
        });
        bytes = rest;
    }
    Some(opened)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_were_kept() {
        let items = [("a", 1), ("b", 2)].map(|(name, number)| Disclosure {
            name,
            salt: [number; 32],
            value: Value::Int(number.into()),
        });
        let bytes = encode_disclosed(&items);
        let opened = read_disclosed(&bytes).unwrap();
        assert_eq!(opened.len(), 2);
        for (item, opened) in items.iter().zip(&opened) {
            assert_eq!(item.commitment(), opened.commitment());
        }
        assert_eq!(read_disclosed(&[]), Some(Vec::new()));
        assert_eq!(read_disclosed(&bytes[..bytes.len() - 1]), None);
    }
}
