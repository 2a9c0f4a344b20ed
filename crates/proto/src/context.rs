//! Every domain-separation string, and nothing else: one look tells that no two kinds of signed
//! or hashed bytes can be taken for each other.

/// First element of the array that is hashed as a request (docs/token.md).
pub const REQUEST: &str = "writ.request.v1";
/// First element of the array that is hashed as an action card.
pub const CARD: &str = "writ.card.v1";
/// Prefix of a commitment in a record.
pub const COMMIT: &str = "writ.commit.v1";
/// First element of the array that is hashed as a policy set.
pub const POLICY_SET: &str = "writ.policyset.v1";
/// First element of the array that is signed as a trust document.
pub const KEY_SET: &str = "writ.keyset.v1";
/// First field of a record leaf.
pub const RECORD: &str = "writ.record.v1";
/// First element of the array that tells one request under a `request_id` from another.
pub const FINGERPRINT: &str = "writ.fingerprint.v1";
/// First element of the array that is hashed as the image of a record in a system of record.
pub const IMAGE: &str = "writ.image.v1";
/// Prefix of what is hashed to the id under which a decision is cancelled at most once.
pub const CANCEL: &str = "writ.cancel.v1";
/// Prefix of what is hashed to the id under which a policy set is published at most once.
pub const PUBLISHED: &str = "writ.published.v1";
/// First element of the array that is hashed to the id under which a decision is kept.
pub const REQUEST_ID: &str = "writ.requestid.v1";
/// COSE `typ` (RFC 9596) of a decision token.
pub const TYP_DECISION: &str = "application/vnd.writ.decision+cwt";
/// First element of the array that is hashed as the images before and after a write.
pub const IMAGES: &str = "writ.images.v1";
/// COSE `typ` (RFC 9596) of an undo writ.
pub const TYP_UNDO: &str = "application/vnd.writ.undo+cwt";
/// COSE context string of a single-signer message (RFC 9052 4.4).
pub const COSE_SIGNATURE1: &str = "Signature1";
