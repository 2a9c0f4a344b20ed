//! The request hash (docs/token.md): what binds a token to exact arguments; and the digest of
//! images, which binds an undo writ to exact values.

pub mod difference;

use sha2::{Digest as _, Sha256};

use crate::context;
use crate::value::{Map, write_array, write_null, write_text};

/// Everything the request hash covers. Agent and mode are claims of their own.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'a> {
    /// Tenant of the record.
    pub tenant: &'a str,
    /// Connection id.
    pub connection: &'a str,
    /// Name of the action card.
    pub action: &'a str,
    /// Object type and id; none for a create.
    pub target: Option<(&'a str, &'a str)>,
    /// Canonical CBOR of the arguments, spliced in as one item.
    pub args_cbor: &'a [u8],
    /// Version tag or image digest the agent relied on.
    pub precondition: Option<&'a str>,
}

/// SHA-256 of bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// `SHA-256(CBOR(["writ.request.v1", tenant, connection, action, target, args, precondition]))`.
///
/// The caller has proven `args_cbor` canonical; otherwise the hash is of no use.
#[must_use]
pub fn request_hash(parts: &RequestParts<'_>) -> [u8; 32] {
    let mut out = Vec::with_capacity(parts.args_cbor.len().saturating_add(256));
    write_array(&mut out, 7);
    for text in [
        context::REQUEST,
        parts.tenant,
        parts.connection,
        parts.action,
    ] {
        write_text(&mut out, text);
    }
    match parts.target {
        Some((kind, id)) => {
            write_array(&mut out, 2);
            write_text(&mut out, kind);
            write_text(&mut out, id);
        }
        None => write_null(&mut out),
    }
    out.extend_from_slice(parts.args_cbor);
    match parts.precondition {
        Some(tag) => write_text(&mut out, tag),
        None => write_null(&mut out),
    }
    sha256(&out)
}

/// `SHA-256(CBOR(["writ.images.v1", before, after]))`: the declared fields of a record before and
/// after a write, as maps by field name. A field that was not there is not in its map.
#[must_use]
pub fn images_digest(before: &Map, after: &Map) -> [u8; 32] {
    let mut out = Vec::with_capacity(256);
    write_array(&mut out, 3);
    write_text(&mut out, context::IMAGES);
    out.extend_from_slice(&before.encode());
    out.extend_from_slice(&after.encode());
    sha256(&out)
}
