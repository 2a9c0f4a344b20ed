//! The gate: from a verified token and an exact call to a permit, or to a refusal with a code.
//!
//! Checks 15 to 18 of docs/token.md, in their order. Only this file can build a [`Permit`].

use chrono::{DateTime, Utc};
use subtle::ConstantTimeEq as _;
use writ_proto::Reason;
use writ_proto::card::{Card, Rollout};
use writ_proto::digest::{RequestParts, request_hash};
use writ_proto::scope::Scope;
use writ_proto::token::{Claims, Mode, TokenError, VerifiedToken};
use writ_proto::value::{Map, args_from_cbor};

/// What the caller wants executed, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Tenant that the call names.
    pub tenant: String,
    /// The authenticated agent's own tenant. Only a token for another one could make them differ,
    /// and there is none.
    pub caller_tenant: String,
    /// The authenticated agent.
    pub agent: String,
    /// Connection id.
    pub connection: String,
    /// Name of the action card.
    pub action: String,
    /// Object type and id.
    pub target: Option<(String, String)>,
    /// Canonical arguments.
    pub args_cbor: Vec<u8>,
    /// Version or digest that the agent relied on.
    pub precondition: Option<String>,
    /// Dry run or execute.
    pub mode: Mode,
    /// The caller's id of this call.
    pub request_id: uuid::Uuid,
    /// Groups executions.
    pub run_id: String,
}

impl Call {
    /// The hash of the request over the very bytes that would be executed, canonical or not.
    #[must_use]
    pub fn request_hash(&self) -> [u8; 32] {
        let target = self.target.as_ref();
        request_hash(&RequestParts {
            tenant: &self.tenant,
            connection: &self.connection,
            action: &self.action,
            target: target.map(|(kind, id)| (kind.as_str(), id.as_str())),
            args_cbor: &self.args_cbor,
            precondition: self.precondition.as_deref(),
        })
    }
}

/// Why a call is refused: a value, not a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The first check that failed.
    pub reason: Reason,
    /// What the caller may know.
    pub detail: String,
}

impl Refusal {
    /// A refusal with a sentence of its own.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }

    /// A refusal with the sentence of its code.
    #[must_use]
    pub fn of(reason: Reason) -> Self {
        Self::new(reason, reason.sentence())
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        Self::new(error.reason, error.detail)
    }
}

/// What connectord knows when a call arrives.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Digest of connectord's own card.
    pub card_digest: &'a [u8; 32],
    /// How far the action goes for this tenant.
    pub rollout: Rollout,
    /// What halts say about this call; none for a reading, which they do not stop.
    pub standing: Option<Standing<'a>>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// What halts say about a call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standing<'a> {
    /// The current halt epoch.
    pub epoch: u64,
    /// The scope that halts this call.
    pub halted: Option<&'a Scope>,
    /// The scope whose halt came after this token was issued, whether or not it is over.
    pub revoked: Option<&'a Scope>,
}

/// Leave to do exactly one thing. Its fields are private, and only [`admit`] makes one:
///
/// ```
/// use connectord::domain::gate::Permit;
/// use writ_proto::value::Map;
/// fn read(permit: &Permit) -> &Map {
///     permit.args()
/// }
/// ```
/// ```compile_fail,E0451
/// use connectord::domain::gate::Permit;
/// use writ_proto::token::Claims;
/// use writ_proto::value::Map;
/// fn forge(claims: Claims, args: Map) -> Permit {
///     Permit { claims, args, request_hash: [0; 32] }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Permit {
    claims: Claims,
    args: Map,
    request_hash: [u8; 32],
}

impl Permit {
    /// The signed claims.
    #[must_use]
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The arguments, decoded from the bytes that were hashed.
    #[must_use]
    pub const fn args(&self) -> &Map {
        &self.args
    }

    /// Hash of the request that is executed.
    #[must_use]
    pub const fn request_hash(&self) -> &[u8; 32] {
        &self.request_hash
    }
}

/// Check 15: the token is for this tenant, agent, connection, action, target and run.
///
/// # Errors
/// `TOKEN_SCOPE_MISMATCH`, which names the first that differs.
pub fn check_scope(claims: &Claims, call: &Call) -> Result<(), Refusal> {
    let pairs = [
        ("tenant", &claims.tenant, &call.tenant),
        ("agent", &claims.agent, &call.agent),
        ("connection", &claims.connection, &call.connection),
        ("action", &claims.action, &call.action),
    ];
    let differs = |detail: String| Err(Refusal::new(Reason::TokenScopeMismatch, detail));
    for (name, signed, got) in pairs {
        if signed != got {
            // Whose writ it is, only its own agent is told.
            return match name {
                "tenant" | "agent" => differs(format!("another {name}")),
                _ => differs(format!("{name}: signed {signed}, got {got}")),
            };
        }
    }
    if claims.target != call.target {
        let shown = |target: &Option<(String, String)>| {
            let written = target.as_ref().map(|(kind, id)| format!("{kind}/{id}"));
            written.unwrap_or_else(|| "none".to_owned())
        };
        let (signed, got) = (shown(&claims.target), shown(&call.target));
        return differs(format!("target: signed {signed}, got {got}"));
    }
    // Halts and ceilings of a run would mean nothing if the agent could rename it afterwards.
    let signed = claims.run.as_deref().unwrap_or_default();
    if signed != call.run_id {
        let shown = |run: &str| {
            if run.is_empty() {
                "none".to_owned()
            } else {
                run.to_owned()
            }
        };
        let (signed, got) = (shown(signed), shown(&call.run_id));
        return differs(format!("run: signed {signed}, got {got}"));
    }
    Ok(())
}

/// Check 16: the mode is the signed one, and a write needs an action that is live.
fn check_mode(claims: &Claims, call: &Call, rollout: Rollout) -> Result<(), Refusal> {
    if claims.mode != call.mode {
        let (signed, got) = (claims.mode.name(), call.mode.name());
        let detail = format!("mode: signed {signed}, got {got}");
        return Err(Refusal::new(Reason::TokenModeMismatch, detail));
    }
    let enough = match call.mode {
        Mode::Execute => rollout.writes(),
        Mode::DryRun => rollout != Rollout::Suggest,
    };
    if enough {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::DryRunOnly,
        not_live(&call.action, rollout),
    ))
}

/// What a call is told whose action is not so far.
#[must_use]
pub fn not_live(action: &str, rollout: Rollout) -> String {
    format!(
        "{action} is at {}; an operator moves it on: connectord actions promote {action} --reason WHY --cert CERT",
        rollout.name()
    )
}

/// Check 17 up to the card's own schema.
fn check_args(
    claims: &Claims,
    call: &Call,
    card_digest: &[u8; 32],
) -> Result<(Map, [u8; 32]), Refusal> {
    let args = args_from_cbor(&call.args_cbor)
        .map_err(|error| Refusal::new(Reason::ArgsNotCanonical, error.to_string()))?;
    let hash = call.request_hash();
    if !bool::from(hash.ct_eq(&claims.request_hash)) {
        return Err(Refusal::of(Reason::TokenArgsMismatch));
    }
    if claims.card_digest != *card_digest {
        return Err(Refusal::of(Reason::CardMismatch));
    }
    Ok((args, hash))
}

/// The last part of check 17: connectord's own card, whatever policyd said.
fn check_card(card: &Card, call: &Call, args: &Map, now: DateTime<Utc>) -> Result<(), Refusal> {
    if card.connection.as_str() != call.connection {
        let detail = format!(
            "connection: `{}` is on {}, got {}",
            call.action, card.connection, call.connection
        );
        return Err(Refusal::new(Reason::ArgsSchema, detail));
    }
    card.check_target(call.target.as_ref())
        .map_err(|detail| Refusal::new(Reason::ArgsSchema, detail))?;
    card.check(args, now.date_naive())
        .map_err(|error| Refusal::new(Reason::ArgsSchema, error.to_string()))?;
    if card.version_required && call.precondition.is_none() {
        return Err(Refusal::new(
            Reason::ArgsSchema,
            "the card requires a version",
        ));
    }
    match &card.hours {
        Some(hours) if !hours.contain(now) => {
            Err(Refusal::new(Reason::OutsideHours, format!("open {hours}")))
        }
        _ => Ok(()),
    }
}

/// A scope as an agent hears of it: which customer is halted is not for it to learn.
#[must_use]
pub fn told(scope: &Scope) -> String {
    let text = scope.to_string();
    match text.split_once("customer:") {
        Some((before, _)) => format!("{before}customer:*"),
        None => text,
    }
}

/// Check 18: halts, and the epoch the token was issued in.
///
/// # Errors
/// `HALTED` with the scope, or `TOKEN_REVOKED`.
pub fn check_standing(claims: &Claims, standing: &Standing<'_>) -> Result<(), Refusal> {
    if let Some(scope) = standing.halted {
        return Err(Refusal::new(Reason::Halted, told(scope)));
    }
    if let Some(scope) = standing.revoked {
        let detail = format!("issued before the halt of {}", told(scope));
        return Err(Refusal::new(Reason::TokenRevoked, detail));
    }
    if claims.epoch != standing.epoch {
        let detail = format!(
            "a halt of everything, or an arming of the halt store, came after it was issued (epoch {}, now {})",
            claims.epoch, standing.epoch
        );
        return Err(Refusal::new(Reason::TokenRevoked, detail));
    }
    Ok(())
}

/// Checks 15 to 18. The card's schema is the last part of check 17 and needs the whole card;
/// conformance vectors have only its digest and pass none.
///
/// # Errors
/// The first check that fails.
pub fn admit(
    token: &VerifiedToken,
    call: &Call,
    seen: &Seen<'_>,
    card: Option<&Card>,
) -> Result<Permit, Refusal> {
    let claims = token.claims();
    check_scope(claims, call)?;
    check_mode(claims, call, seen.rollout)?;
    let (args, request_hash) = check_args(claims, call, seen.card_digest)?;
    if let Some(card) = card {
        check_card(card, call, &args, seen.now)?;
    }
    match &seen.standing {
        Some(standing) => check_standing(claims, standing)?,
        None if card.is_some_and(|card| card.verb.reads()) => {}
        None => return Err(Refusal::of(Reason::HaltUnknown)),
    }
    Ok(Permit {
        claims: claims.clone(),
        args,
        request_hash,
    })
}

#[cfg(test)]
pub(crate) mod tests;
