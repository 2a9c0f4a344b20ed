//! COSE_Sign1 (RFC 9052) for exactly one profile: tag 18, Ed25519 (`alg` -19), `kid`, `typ`,
//! nothing unprotected. What differs from the profile is refused before any key is touched.

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

use crate::context;
use crate::digest::sha256;
use crate::limits::TOKEN_BYTES_MAX;
use crate::reason::Reason;
use crate::token::TokenError;
use crate::value::{Head, Reader, write_array, write_bytes, write_int, write_map_head, write_text};

/// COSE algorithm number of Ed25519 (RFC 9864).
const ALG_ED25519: i64 = -19;
const LABEL_ALG: i64 = 1;
const LABEL_KID: i64 = 4;
const LABEL_TYP: i64 = 16;

/// First sixteen bytes of the RFC 9679 SHA-256 thumbprint of an Ed25519 key.
#[must_use]
pub fn kid_of(key: &VerifyingKey) -> [u8; 16] {
    let mut out = Vec::with_capacity(48);
    // COSE_Key {1: 1 (OKP), -1: 6 (Ed25519), -2: x}, required members only.
    write_map_head(&mut out, 3);
    write_int(&mut out, 1);
    write_int(&mut out, 1);
    write_int(&mut out, -1);
    write_int(&mut out, 6);
    write_int(&mut out, -2);
    write_bytes(&mut out, key.as_bytes());
    let mut kid = [0; 16];
    for (to, from) in kid.iter_mut().zip(sha256(&out)) {
        *to = from;
    }
    kid
}

/// The protected header of this profile.
#[must_use]
pub fn protected(kid: &[u8; 16], typ: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    write_map_head(&mut out, 3);
    write_int(&mut out, LABEL_ALG);
    write_int(&mut out, ALG_ED25519);
    write_int(&mut out, LABEL_KID);
    write_bytes(&mut out, kid);
    write_int(&mut out, LABEL_TYP);
    write_text(&mut out, typ);
    out
}

fn sig_structure(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let room = protected
        .len()
        .saturating_add(payload.len())
        .saturating_add(24);
    let mut out = Vec::with_capacity(room);
    write_array(&mut out, 4);
    write_text(&mut out, context::COSE_SIGNATURE1);
    write_bytes(&mut out, protected);
    write_bytes(&mut out, &[]);
    write_bytes(&mut out, payload);
    out
}

/// Signs a payload. Ed25519 is deterministic: the same payload and key give the same bytes.
#[must_use]
pub fn sign1(typ: &str, payload: &[u8], key: &SigningKey) -> Vec<u8> {
    let protected = protected(&kid_of(&key.verifying_key()), typ);
    let signature = key.sign(&sig_structure(&protected, payload));
    let mut out = Vec::with_capacity(payload.len().saturating_add(160));
    out.push(0xd2);
    write_array(&mut out, 4);
    write_bytes(&mut out, &protected);
    write_map_head(&mut out, 0);
    write_bytes(&mut out, payload);
    write_bytes(&mut out, &signature.to_bytes());
    out
}

/// A message of the right shape whose signature nobody has looked at.
#[derive(Debug)]
pub(crate) struct Sign1<'a> {
    protected: &'a [u8],
    pub(crate) kid: [u8; 16],
    pub(crate) payload: &'a [u8],
    signature: [u8; 64],
}

fn malformed(detail: &'static str) -> TokenError {
    TokenError::new(Reason::TokenMalformed, detail)
}

impl<'a> Sign1<'a> {
    /// Checks 2 to 7 of docs/token.md and the form of `kid` (first half of check 8), in order.
    pub(crate) fn parse(bytes: &'a [u8], typ: &str) -> Result<Self, TokenError> {
        if bytes.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::new(
                Reason::TokenTooLarge,
                "longer than 2048 bytes",
            ));
        }
        let mut message = Self::outer(bytes).map_err(malformed)?;
        message.kid = Self::header(message.protected, typ)?;
        Ok(message)
    }

    fn outer(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let mut reader = Reader::new(bytes);
        if reader.take(2)? != [0xd2, 0x84] {
            return Err("not a tagged COSE_Sign1");
        }
        let Head::Bytes(length) = reader.head()? else {
            return Err("the protected header is not a byte string");
        };
        let protected = reader.take(length)?;
        if reader.head()? != Head::Map(0) {
            return Err("the unprotected header is not empty");
        }
        let Head::Bytes(length) = reader.head()? else {
            return Err("the payload is not a byte string");
        };
        let payload = reader.take(length)?;
        if reader.head()? != Head::Bytes(64) {
            return Err("the signature is not 64 bytes");
        }
        let signature = reader
            .take(64)?
            .try_into()
            .map_err(|_| "the signature is not 64 bytes")?;
        let kid = [0; 16];
        let message = Self {
            protected,
            kid,
            payload,
            signature,
        };
        if reader.is_done() {
            Ok(message)
        } else {
            Err("trailing bytes")
        }
    }

    fn header(protected: &[u8], typ: &str) -> Result<[u8; 16], TokenError> {
        let canonical = |flaw| TokenError::new(Reason::TokenNotCanonical, flaw);
        let entries = header_entries(protected).map_err(canonical)?;
        let find = |label: i64| {
            entries
                .iter()
                .find(|(found, _)| *found == label)
                .map(|e| &e.1)
        };
        let known = [LABEL_ALG, LABEL_KID, LABEL_TYP];
        if entries.iter().any(|(label, _)| !known.contains(label)) {
            return Err(malformed("a header label that is not allowed"));
        }
        if find(LABEL_ALG) != Some(&Item::Int(ALG_ED25519)) {
            return Err(TokenError::new(
                Reason::TokenBadAlg,
                "alg is not -19 (Ed25519)",
            ));
        }
        if find(LABEL_TYP) != Some(&Item::Text(typ)) {
            return Err(TokenError::new(
                Reason::TokenBadTyp,
                "typ is not that of this message",
            ));
        }
        match find(LABEL_KID) {
            Some(Item::Bytes(kid)) => (*kid)
                .try_into()
                .map_err(|_| malformed("kid is not 16 bytes")),
            _ => Err(malformed("kid is not a byte string")),
        }
    }

    /// Check 9: `verify_strict`, which alone refuses small-order keys and malleable signatures.
    pub(crate) fn verify(&self, key: &VerifyingKey) -> Result<(), TokenError> {
        let signature = ed25519_dalek::Signature::from_bytes(&self.signature);
        key.verify_strict(&sig_structure(self.protected, self.payload), &signature)
            .map_err(|_| TokenError::new(Reason::TokenBadSignature, "verify_strict refused it"))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Item<'a> {
    Int(i64),
    Bytes(&'a [u8]),
    Text(&'a str),
    Other,
}

/// Reads a header map and proves it canonical: sorted, minimal, no duplicates, nothing after it.
fn header_entries(bytes: &[u8]) -> Result<Vec<(i64, Item<'_>)>, &'static str> {
    let mut reader = Reader::new(bytes);
    let Head::Map(count) = reader.head()? else {
        return Err("the header is not a map");
    };
    if count > 8 {
        return Err("too many header labels");
    }
    let mut entries = Vec::with_capacity(3);
    let mut last: Option<&[u8]> = None;
    for _ in 0..count {
        let from = reader.at();
        let label = reader.int()?;
        let encoded = bytes
            .get(from..reader.at())
            .ok_or("a label beyond the end")?;
        if last.is_some_and(|last| last >= encoded) {
            return Err("header labels out of order or twice");
        }
        last = Some(encoded);
        let item = match reader.head()? {
            Head::Uint(n) => Item::Int(i64::try_from(n).map_err(|_| "an integer over 64 bits")?),
            Head::Nint(n) => Item::Int(!i64::try_from(n).map_err(|_| "an integer over 64 bits")?),
            Head::Bytes(n) => Item::Bytes(reader.take(n)?),
            Head::Text(n) => Item::Text(reader.text(n)?),
            other => {
                skip(&mut reader, other, 1)?;
                Item::Other
            }
        };
        entries.push((label, item));
    }
    if reader.is_done() {
        Ok(entries)
    } else {
        Err("bytes after the header")
    }
}

/// Passes over the body of a value that only has to be well-formed and minimal.
fn skip(reader: &mut Reader<'_>, head: Head, depth: usize) -> Result<(), &'static str> {
    if depth > crate::limits::TOKEN_DEPTH_MAX {
        return Err("nesting that is too deep");
    }
    let inner = match head {
        Head::Bytes(n) | Head::Text(n) => return reader.take(n).map(|_| ()),
        Head::Array(n) => n,
        Head::Map(n) => n.checked_mul(2).ok_or("too many items")?,
        Head::Tag(_) => 1,
        Head::Uint(_) | Head::Nint(_) | Head::False | Head::True | Head::Null => 0,
    };
    for _ in 0..inner {
        let next = reader.head()?;
        skip(reader, next, depth.saturating_add(1))?;
    }
    Ok(())
}
