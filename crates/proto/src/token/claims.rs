//! The claims of a decision token: a closed set in one canonical form. `encode.rs` writes it, the
//! decoder here accepts exactly that.

use uuid::Uuid;

use super::TokenError;
use crate::ids::{DecisionId, RunId, TokenId};
use crate::limits::{IDENT_BYTES_MAX, NAME_BYTES_MAX, TOKEN_DEPTH_MAX};
use crate::reason::Reason;
use crate::value::{Decimal, Flaw, Head, Reader, Value};

/// The private-use claim that holds the decision, and the member of `cnf` for x5t#S256.
pub(super) const PRIVATE: i64 = -65_537;
pub(super) const VERSION: u64 = 1;

/// Whether the token may change the system of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Plan and record, never write.
    DryRun,
    /// Write once.
    Execute,
}

impl Mode {
    /// The name in policies, records and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DryRun => "dry_run",
            Self::Execute => "execute",
        }
    }
}

/// Claim 13: who approved, and what they saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApprovalClaim {
    /// Id of the approval.
    pub id: [u8; 16],
    /// How many people approved, 1 to 16.
    pub approvers: u8,
    /// Digest of the request they saw.
    pub request_hash: [u8; 32],
}

/// Claim 14: ceilings of this one decision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LimitsClaim {
    /// Most records affected, 1 to 1,000,000.
    pub records_max: Option<u32>,
    /// Most money moved: ISO 4217 code and exact number.
    pub money_max: Option<(String, Value)>,
}

/// Everything a decision token says. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Issuer URI.
    pub iss: String,
    /// Principal on whose authority the agent acts.
    pub sub: String,
    /// Exactly one connectord instance or pool.
    pub aud: String,
    /// Expiry.
    pub exp: u32,
    /// Issue.
    pub iat: u32,
    /// Token id, spent once.
    pub cti: TokenId,
    /// SHA-256 of the client certificate (DER) the token is bound to.
    pub cnf: Option<[u8; 32]>,
    /// Tenant.
    pub tenant: String,
    /// Acting workload.
    pub agent: String,
    /// Connection id.
    pub connection: String,
    /// Name of the action card.
    pub action: String,
    /// Object type and id; none for a create.
    pub target: Option<(String, String)>,
    /// Request hash (docs/token.md).
    pub request_hash: [u8; 32],
    /// Dry run or execute.
    pub mode: Mode,
    /// Decision record.
    pub decision_id: DecisionId,
    /// Version of that record.
    pub record_version: u32,
    /// Digest of the policy set in force.
    pub policy_digest: [u8; 32],
    /// Halt epoch at issue.
    pub epoch: u64,
    /// Approval, where people decided.
    pub approval: Option<ApprovalClaim>,
    /// Ceilings of this decision.
    pub limits: Option<LimitsClaim>,
    /// W3C trace id.
    pub trace_id: Option<[u8; 16]>,
    /// Digest of the action card.
    pub card_digest: [u8; 32],
    /// Run that the decision was asked for in; none if the request named none.
    pub run: Option<String>,
}

impl Claims {
    /// Checks 10 and 11: canonical first, then the closed set with types and ranges.
    pub(super) fn decode(payload: &[u8]) -> Result<Self, TokenError> {
        prove_canonical(payload)
            .map_err(|flaw| TokenError::new(Reason::TokenNotCanonical, flaw))?;
        let mut reader = Reader::new(payload);
        claims(&mut reader).map_err(|flaw| match flaw {
            BAD_VERSION => TokenError::new(Reason::TokenBadVersion, "the version is not 1"),
            flaw => TokenError::new(Reason::TokenBadClaims, flaw),
        })
    }
}

const BAD_VERSION: Flaw = "version";

fn prove_canonical(payload: &[u8]) -> Result<(), Flaw> {
    let mut reader = Reader::new(payload);
    canonical_item(&mut reader, payload, 0)?;
    if reader.is_done() {
        Ok(())
    } else {
        Err("trailing bytes")
    }
}

fn canonical_item(reader: &mut Reader<'_>, bytes: &[u8], depth: usize) -> Result<(), Flaw> {
    if depth > TOKEN_DEPTH_MAX {
        return Err("nesting that is too deep");
    }
    let deeper = depth.saturating_add(1);
    match reader.head()? {
        Head::Uint(_) | Head::Nint(_) | Head::False | Head::True | Head::Null => Ok(()),
        Head::Bytes(n) => reader.take(n).map(|_| ()),
        Head::Text(n) => reader.text(n).map(|_| ()),
        Head::Array(n) => {
            for _ in 0..n {
                canonical_item(reader, bytes, deeper)?;
            }
            Ok(())
        }
        Head::Map(n) => {
            let mut last: Option<&[u8]> = None;
            for _ in 0..n {
                let from = reader.at();
                canonical_item(reader, bytes, deeper)?;
                let key = bytes.get(from..reader.at()).ok_or("a key beyond the end")?;
                if last.is_some_and(|last| last >= key) {
                    return Err("keys out of order or twice");
                }
                last = Some(key);
                canonical_item(reader, bytes, deeper)?;
            }
            Ok(())
        }
        Head::Tag(4) => canonical_decimal(reader),
        Head::Tag(_) => Err("a tag that is not allowed"),
    }
}

fn canonical_decimal(reader: &mut Reader<'_>) -> Result<(), Flaw> {
    decimal_body(reader).map(|_| ())
}

fn decimal_body(reader: &mut Reader<'_>) -> Result<Decimal, Flaw> {
    if reader.head()? != Head::Array(2) {
        return Err("a decimal that is not a pair");
    }
    let (exponent, mantissa) = (reader.int()?, reader.int()?);
    Decimal::new(exponent, mantissa).ok_or("a decimal that is not reduced")
}

fn label(reader: &mut Reader<'_>, wanted: i64, name: Flaw) -> Result<(), Flaw> {
    if reader.int() == Ok(wanted) {
        Ok(())
    } else {
        Err(name)
    }
}

fn text(reader: &mut Reader<'_>, most: usize, name: Flaw) -> Result<String, Flaw> {
    let Ok(Head::Text(length)) = reader.head() else {
        return Err(name);
    };
    let text = reader.text(length)?;
    if text.is_empty() || text.len() > most {
        Err(name)
    } else {
        Ok(text.to_owned())
    }
}

fn bytes<const N: usize>(reader: &mut Reader<'_>, name: Flaw) -> Result<[u8; N], Flaw> {
    let Ok(Head::Bytes(length)) = reader.head() else {
        return Err(name);
    };
    reader.take(length)?.try_into().map_err(|_| name)
}

fn uint(reader: &mut Reader<'_>, name: Flaw) -> Result<u64, Flaw> {
    let Ok(Head::Uint(number)) = reader.head() else {
        return Err(name);
    };
    Ok(number)
}

fn seconds(reader: &mut Reader<'_>, name: Flaw) -> Result<u32, Flaw> {
    u32::try_from(uint(reader, name)?).map_err(|_| name)
}

/// The canonical order of the labels is fixed, so one pass in that order accepts exactly the
/// closed set: a missing, unknown or repeated label is met where another one must stand.
fn claims(reader: &mut Reader<'_>) -> Result<Claims, Flaw> {
    let Ok(Head::Map(count @ (7 | 8))) = reader.head() else {
        return Err("not a map of seven or eight claims");
    };
    label(reader, 1, "iss")?;
    let iss = text(reader, NAME_BYTES_MAX, "iss")?;
    label(reader, 2, "sub")?;
    let sub = text(reader, NAME_BYTES_MAX, "sub")?;
    label(reader, 3, "aud")?;
    let aud = text(reader, NAME_BYTES_MAX, "aud")?;
    label(reader, 4, "exp")?;
    let exp = seconds(reader, "exp")?;
    label(reader, 6, "iat")?;
    let iat = seconds(reader, "iat")?;
    if exp <= iat {
        return Err("exp is not after iat");
    }
    label(reader, 7, "cti")?;
    let cti = TokenId::new(Uuid::from_bytes(bytes(reader, "cti")?));
    let cnf = if count == 8 {
        Some(confirmation(reader)?)
    } else {
        None
    };
    label(reader, PRIVATE, "an unknown claim")?;
    let mut claims = decision(reader)?;
    (claims.iss, claims.sub, claims.aud) = (iss, sub, aud);
    (claims.exp, claims.iat, claims.cti, claims.cnf) = (exp, iat, cti, cnf);
    if reader.is_done() {
        Ok(claims)
    } else {
        Err("an unknown member of the decision")
    }
}

fn confirmation(reader: &mut Reader<'_>) -> Result<[u8; 32], Flaw> {
    label(reader, 8, "an unknown claim")?;
    if reader.head() != Ok(Head::Map(1)) {
        return Err("cnf");
    }
    label(reader, PRIVATE, "cnf")?;
    bytes(reader, "cnf")
}

fn decision(reader: &mut Reader<'_>) -> Result<Claims, Flaw> {
    let Ok(Head::Map(count @ 13..=17)) = reader.head() else {
        return Err("decision");
    };
    label(reader, 1, "version")?;
    if uint(reader, BAD_VERSION)? != VERSION {
        return Err(BAD_VERSION);
    }
    label(reader, 2, "tenant")?;
    let tenant = text(reader, IDENT_BYTES_MAX, "tenant")?;
    label(reader, 3, "agent")?;
    let agent = text(reader, IDENT_BYTES_MAX, "agent")?;
    label(reader, 4, "connection")?;
    let connection = text(reader, IDENT_BYTES_MAX, "connection")?;
    label(reader, 5, "action")?;
    let action = text(reader, IDENT_BYTES_MAX, "action")?;
    label(reader, 6, "target")?;
    let target = target(reader)?;
    label(reader, 7, "request hash")?;
    let request_hash = bytes(reader, "request hash")?;
    label(reader, 8, "mode")?;
    let mode = match uint(reader, "mode")? {
        0 => Mode::DryRun,
        1 => Mode::Execute,
        _ => return Err("mode"),
    };
    label(reader, 9, "decision id")?;
    let decision_id = DecisionId::new(Uuid::from_bytes(bytes(reader, "decision id")?));
    label(reader, 10, "record version")?;
    let record_version = seconds(reader, "record version")?;
    if record_version == 0 {
        return Err("record version");
    }
    label(reader, 11, "policy digest")?;
    let policy_digest = bytes(reader, "policy digest")?;
    label(reader, 12, "epoch")?;
    let epoch = uint(reader, "epoch")?;
    let (approval, limits, trace_id, left) = optional(reader, count)?;
    let card_digest = bytes(reader, "card digest")?;
    let run = match left {
        0 => None,
        1 => Some(run(reader)?),
        _ => return Err("an unknown member of the decision"),
    };
    let (iss, sub, aud) = (String::new(), String::new(), String::new());
    let cti = TokenId::new(Uuid::nil());
    Ok(Claims {
        iss,
        sub,
        aud,
        exp: 0,
        iat: 0,
        cti,
        cnf: None,
        tenant,
        agent,
        connection,
        action,
        target,
        request_hash,
        mode,
        decision_id,
        record_version,
        policy_digest,
        epoch,
        approval,
        limits,
        trace_id,
        card_digest,
        run,
    })
}

/// Member 17, the last.
fn run(reader: &mut Reader<'_>) -> Result<String, Flaw> {
    label(reader, 17, "an unknown member of the decision")?;
    let run = text(reader, IDENT_BYTES_MAX, "run")?;
    RunId::parse(&run).map(|_| run).map_err(|_| "run")
}

fn target(reader: &mut Reader<'_>) -> Result<Option<(String, String)>, Flaw> {
    match reader.head() {
        Ok(Head::Null) => Ok(None),
        Ok(Head::Array(2)) => {
            let kind = text(reader, IDENT_BYTES_MAX, "target")?;
            Ok(Some((kind, text(reader, IDENT_BYTES_MAX, "target")?)))
        }
        _ => Err("target"),
    }
}

type Optional = (
    Option<ApprovalClaim>,
    Option<LimitsClaim>,
    Option<[u8; 16]>,
    u64,
);

/// Members 13 to 15 up to and including the label of 16, and how many come after it.
fn optional(reader: &mut Reader<'_>, count: u64) -> Result<Optional, Flaw> {
    let (mut approval, mut limits, mut trace) = (None, None, None);
    for read in 13..=count {
        match reader.int() {
            Ok(13) => approval = Some(approval_claim(reader)?),
            Ok(14) => limits = Some(limits_claim(reader)?),
            Ok(15) => trace = Some(bytes(reader, "trace id")?),
            // Keys are sorted, so only 17 can come after 16.
            Ok(16) => return Ok((approval, limits, trace, count.saturating_sub(read))),
            _ => return Err("an unknown member of the decision"),
        }
    }
    Err("card digest")
}

fn approval_claim(reader: &mut Reader<'_>) -> Result<ApprovalClaim, Flaw> {
    if reader.head() != Ok(Head::Array(3)) {
        return Err("approval");
    }
    let id = bytes(reader, "approval")?;
    let approvers = u8::try_from(uint(reader, "approval")?).map_err(|_| "approval")?;
    if !(1..=16).contains(&approvers) {
        return Err("approval");
    }
    Ok(ApprovalClaim {
        id,
        approvers,
        request_hash: bytes(reader, "approval")?,
    })
}

fn limits_claim(reader: &mut Reader<'_>) -> Result<LimitsClaim, Flaw> {
    let Ok(Head::Map(count @ 0..=2)) = reader.head() else {
        return Err("limits");
    };
    let mut limits = LimitsClaim::default();
    for _ in 0..count {
        match reader.int() {
            Ok(1) => {
                let records = seconds(reader, "limits")?;
                if !(1..=1_000_000).contains(&records) {
                    return Err("limits");
                }
                limits.records_max = Some(records);
            }
            Ok(2) => {
                if reader.head() != Ok(Head::Array(2)) {
                    return Err("limits");
                }
                let currency = text(reader, 3, "limits")?;
                if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
                    return Err("limits");
                }
                limits.money_max = Some((currency, number(reader)?));
            }
            _ => return Err("limits"),
        }
    }
    Ok(limits)
}

fn number(reader: &mut Reader<'_>) -> Result<Value, Flaw> {
    let whole = |n: u64| i64::try_from(n).map_err(|_| "limits");
    match reader.head() {
        Ok(Head::Uint(n)) => whole(n).map(Value::Int),
        Ok(Head::Nint(n)) => whole(n).map(|n| Value::Int(!n)),
        Ok(Head::Tag(4)) => decimal_body(reader).map(Value::Decimal),
        _ => Err("limits"),
    }
}
