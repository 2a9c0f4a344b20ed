//! The closed list of reason codes: stable, public, one sentence and one fix each.
//!
//! A code never changes its meaning. The docs page and
//! `explain CODE` are made from this list.

mod table;

use table::{ENTRIES, Entry};

/// Why something was refused or could not be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// `HALTED`: a halt is set for this scope.
    Halted,
    /// `HALT_UNKNOWN`: the halt state cannot be read, so nothing is written.
    HaltUnknown,
    /// `TOKEN_TOO_LARGE`: the token is longer than any token this issuer signs.
    TokenTooLarge,
    /// `TOKEN_MALFORMED`: the bytes are not a decision token.
    TokenMalformed,
    /// `TOKEN_NOT_CANONICAL`: the token is not in its one canonical encoding.
    TokenNotCanonical,
    /// `TOKEN_BAD_ALG`: the token names another signature algorithm than Ed25519.
    TokenBadAlg,
    /// `TOKEN_BAD_TYP`: the signed bytes are not a decision token but another type of message.
    TokenBadTyp,
    /// `TOKEN_UNKNOWN_KEY`: no trusted key of the right use signed this token.
    TokenUnknownKey,
    /// `TOKEN_BAD_SIGNATURE`: the signature does not verify.
    TokenBadSignature,
    /// `TOKEN_BAD_VERSION`: the token has a version this connectord does not know.
    TokenBadVersion,
    /// `TOKEN_BAD_CLAIMS`: the claims of the token are not those of a decision token.
    TokenBadClaims,
    /// `TOKEN_WRONG_ISSUER`: the key that signed the token belongs to another issuer.
    TokenWrongIssuer,
    /// `TOKEN_WRONG_AUDIENCE`: the token is meant for another connectord.
    TokenWrongAudience,
    /// `TOKEN_TTL_TOO_LONG`: the token lives longer than this connectord accepts.
    TokenTtlTooLong,
    /// `TOKEN_NOT_YET_VALID`: the token is issued in the future.
    TokenNotYetValid,
    /// `TOKEN_EXPIRED`: the token has expired.
    TokenExpired,
    /// `TOKEN_POP_FAILED`: the token is bound to another client certificate.
    TokenPopFailed,
    /// `TOKEN_SCOPE_MISMATCH`: the token is for another tenant, agent, connection, action, target or run.
    TokenScopeMismatch,
    /// `TOKEN_MODE_MISMATCH`: the token is for the other of dry run and execute.
    TokenModeMismatch,
    /// `DRY_RUN_ONLY`: this action is not live for this tenant, so only dry runs are accepted.
    DryRunOnly,
    /// `ARGS_NOT_CANONICAL`: the argument bytes are not canonical.
    ArgsNotCanonical,
    /// `TOKEN_ARGS_MISMATCH`: the token does not match the request.
    TokenArgsMismatch,
    /// `CARD_MISMATCH`: the token was issued for another version of the action card.
    CardMismatch,
    /// `ARGS_SCHEMA`: an argument is outside what the action card allows.
    ArgsSchema,
    /// `TOKEN_REVOKED`: the token was issued before the halt epoch was raised, or is revoked.
    TokenRevoked,
    /// `APPROVAL_REQUIRED`: a person has to decide.
    ApprovalRequired,
    /// `BUDGET_EXCEEDED`: a cap would be exceeded.
    BudgetExceeded,
    /// `USAGE_UNKNOWN`: usage was not reported in time, so the budget counts as spent.
    UsageUnknown,
    /// `CUSTOMER_UNKNOWN`: a budget counts this action by customer, and that of the target is unknown.
    CustomerUnknown,
    /// `AMOUNT_REQUIRED`: a budget counts the amount of this action, and the request has none that counts.
    AmountRequired,
    /// `RAISE_REFUSED`: a budget cannot be raised so far or for so long.
    RaiseRefused,
    /// `REPORTER_REQUIRED`: only a reporter of usage, or the agent itself, may do this.
    ReporterRequired,
    /// `TOKEN_REPLAYED`: the token was spent already.
    TokenReplayed,
    /// `STORE_UNAVAILABLE`: the database cannot be reached, so nothing was done.
    StoreUnavailable,
    /// `DISK_RESERVE`: the disk has less room than the reserve, so agents are refused.
    DiskReserve,
    /// `PRECONDITION_FAILED`: the record is not in the state that was relied on.
    PreconditionFailed,
    /// `OUTCOME_UNKNOWN`: the call was sent and its outcome is not known.
    OutcomeUnknown,
    /// `OUTSIDE_HOURS`: the action is asked for outside the hours of its card.
    OutsideHours,
    /// `RUN_REQUIRED`: a card or a budget counts by run and the request named no run.
    RunRequired,
    /// `TARGET_AMBIGUOUS`: the signals do not single out exactly one record.
    TargetAmbiguous,
    /// `TARGET_MISMATCH`: the signals single out another record than the target.
    TargetMismatch,
    /// `STATE_NOT_ALLOWED`: the record is not in a state in which the card allows this.
    StateNotAllowed,
    /// `FIELD_NOT_EMPTY`: the field holds a value and the card only fills empty ones.
    FieldNotEmpty,
    /// `APPEND_IMPOSSIBLE`: nothing can be added to what the field holds.
    AppendImpossible,
    /// `NOT_MECHANICAL`: the new text says something else than the old one.
    NotMechanical,
    /// `SURPRISES_MARKED`: rows of the would-have log are marked as surprises.
    SurprisesMarked,
    /// `APPROVAL_QUEUE_FULL`: too many decisions of the agent wait for a person.
    ApprovalQueueFull,
    /// `APPROVAL_EXPIRED`: nobody decided in time.
    ApprovalExpired,
    /// `NOTHING_SEEN`: no dry run of the action was seen since it was last moved.
    NothingSeen,
    /// `CARD_CHANGED`: the card or the system file is not the one that was in view.
    CardChanged,
    /// `DUPLICATE_INTENT`: the same intent was decided a moment ago, under another request id.
    DuplicateIntent,
    /// `PILOT_FIRST`: the card wants a pilot before the action goes live.
    PilotFirst,
    /// `PILOT_LIMIT`: more at once than the pilot of the action takes.
    PilotLimit,
    /// `FORBIDDEN`: a rule forbids this.
    Forbidden,
    /// `NOT_PERMITTED`: no rule allows this.
    NotPermitted,
    /// `POLICY_ERROR`: a policy failed while it was evaluated, so nothing is allowed.
    PolicyError,
    /// `INVALID_ARGUMENTS`: the request has an argument that cannot be accepted.
    InvalidArguments,
    /// `ARGS_BAD_JSON`: the arguments are not JSON.
    ArgsBadJson,
    /// `ARGS_DUPLICATE_KEY`: a key occurs twice.
    ArgsDuplicateKey,
    /// `ARGS_NON_FINITE`: a number is not finite.
    ArgsNonFinite,
    /// `ARGS_NUMBER_RANGE`: a number is outside 64 bits or has more than 18 decimals.
    ArgsNumberRange,
    /// `ARGS_BAD_UNICODE`: a text holds a lone surrogate, U+0000 or invalid UTF-8.
    ArgsBadUnicode,
    /// `ARGS_BAD_KEY`: a key is empty, too long, not NFC or holds control characters.
    ArgsBadKey,
    /// `ARGS_NOT_OBJECT`: the arguments are not an object.
    ArgsNotObject,
    /// `ARGS_TOO_DEEP`: the arguments are nested too deeply.
    ArgsTooDeep,
    /// `ARGS_TOO_LARGE`: the arguments are larger than allowed.
    ArgsTooLarge,
    /// `UNKNOWN_ACTION`: there is no card of this name in the tenant.
    UnknownAction,
    /// `UNKNOWN_TENANT`: this tenant is not served here.
    UnknownTenant,
    /// `UNKNOWN_CONNECTION`: this connection is not configured.
    UnknownConnection,
    /// `REQUEST_MALFORMED`: a field of the request is missing or has the wrong form.
    RequestMalformed,
    /// `REQUEST_TOO_LARGE`: a field or the request is larger than allowed.
    RequestTooLarge,
    /// `REQUEST_ID_REUSED`: this request id was used for another request.
    RequestIdReused,
    /// `UNAUTHENTICATED`: the caller is not known.
    Unauthenticated,
    /// `OPERATOR_REQUIRED`: only an operator of the tenant may do this.
    OperatorRequired,
    /// `GLOBAL_OPERATOR_REQUIRED`: the scope covers more than the operator's own tenant.
    GlobalOperatorRequired,
    /// `AGENT_REQUIRED`: only an agent may do this.
    AgentRequired,
    /// `SERVICE_REQUIRED`: only a daemon of this trust domain may do this.
    ServiceRequired,
    /// `NOT_FOUND`: there is no such thing in this tenant.
    NotFound,
    /// `DECISION_FINAL`: the decision does not wait for anybody, so there is nothing to cancel.
    DecisionFinal,
    /// `STORE_CORRUPT`: the database does not hold what it should, so nothing was done.
    StoreCorrupt,
    /// `SCHEMA_VERSION`: the database has another schema version than this program.
    SchemaVersion,
    /// `JOURNAL_IN_USE`: another connectord runs on this journal.
    JournalInUse,
    /// `STORE_IN_USE`: another policyd runs on this database.
    StoreInUse,
    /// `STORE_RESTORED`: the database is older than what this process remembers of it.
    StoreRestored,
    /// `UNAVAILABLE`: the service cannot answer now, and nothing was done.
    Unavailable,
    /// `DEADLINE`: the answer was not ready in time, and nothing was done.
    Deadline,
    /// `RATE_LIMITED`: too many requests wait already.
    RateLimited,
    /// `CARD_INVALID`: an action card cannot be accepted.
    CardInvalid,
    /// `CARD_MISSING`: this connectord holds no card for the action.
    CardMissing,
    /// `UNDO_EXPIRED`: the window for undo has passed.
    UndoExpired,
    /// `UNDO_IMPOSSIBLE`: this execution cannot be undone.
    UndoImpossible,
    /// `UNDO_NOT_SIGNED`: no valid undo writ of this execution is here.
    UndoNotSigned,
    /// `UNDO_MISMATCH`: the undo writ is of another write than the journal shows.
    UndoMismatch,
    /// `ALREADY_CLOSED`: this incident is closed already.
    AlreadyClosed,
    /// `ALREADY_UNDONE`: this execution is undone already.
    AlreadyUndone,
    /// `ALREADY_EXISTS`: a record that carries these signals is there already.
    AlreadyExists,
    /// `VERB_MISMATCH`: a reading was presented as a write, or a write as a reading.
    VerbMismatch,
    /// `SYSTEM_REFUSED`: the system of record refused the change.
    SystemRefused,
    /// `SYSTEM_UNAVAILABLE`: the system of record cannot be reached, and nothing was sent.
    SystemUnavailable,
    /// `SYSTEM_RATE_LIMITED`: the system of record asks to slow down, and nothing was changed.
    SystemRateLimited,
    /// `SYSTEM_DENIED`: the credential of the connection may not do this, and nothing was changed.
    SystemDenied,
    /// `CREDENTIAL_TOO_WIDE`: the credential of the connection may do more than the system file needs.
    CredentialTooWide,
    /// `NOT_TAKEN`: the system answered as if it had written, and the record shows that it did not.
    NotTaken,
    /// `FIELD_UNREADABLE`: a field of the record is missing in the answer, or holds what its codec has no meaning for.
    FieldUnreadable,
    /// `SYSTEM_FILE_INVALID`: a system file cannot be accepted.
    SystemFileInvalid,
    /// `FACTS_UNAVAILABLE`: a rule needs to know what the system of record says of the target, and that could not be read.
    FactsUnavailable,
    /// `NOT_GROUNDED`: the card wants evidence for an argument, and its value was not found there.
    NotGrounded,
    /// `TARGET_NOT_FOUND`: the system of record has no such record.
    TargetNotFound,
    /// `CREDENTIAL_MISSING`: there is no credential for the connection.
    CredentialMissing,
    /// `CREDENTIAL_SEAL`: the sealed credentials cannot be opened with this key.
    CredentialSeal,
    /// `KEY_FILE_MODE`: a private key is readable by others.
    KeyFileMode,
    /// `KEY_INVALID`: a key file does not hold the key it should.
    KeyInvalid,
    /// `TRUST_INVALID`: the trust document cannot be accepted.
    TrustInvalid,
    /// `PORT_IN_USE`: the address is taken by another process.
    PortInUse,
    /// `CONFIG_UNKNOWN_KEY`: the configuration has a key that does not exist.
    ConfigUnknownKey,
    /// `CONFIG_INVALID`: the configuration cannot be accepted.
    ConfigInvalid,
    /// `CLIENT_CERT_EXPIRED`: the client certificate has expired.
    ClientCertExpired,
    /// `TLS_INVALID`: a certificate or TLS key cannot be used.
    TlsInvalid,
    /// `PEER_UNREACHABLE`: the server cannot be reached.
    PeerUnreachable,
    /// `POLICY_RELOAD_FAILED`: the changed policies were not accepted; the last good ones stay in force.
    PolicyReloadFailed,
    /// `POLICY_INVALID`: a policy cannot be accepted.
    PolicyInvalid,
    /// `POLICY_EMPTY`: there is no policy, so nothing could be allowed.
    PolicyEmpty,
    /// `PEER_BINARY_MISSING`: the sibling program is not beside this one.
    PeerBinaryMissing,
    /// `EXPORT_INVALID`: the export does not prove what it claims.
    ExportInvalid,
    /// `HALT_DEVICE_REQUIRED`: this device is not set up for halting.
    HaltDeviceRequired,
    /// `HALT_LINK_INVALID`: this link does not set up a device, or did so already.
    HaltLinkInvalid,
    /// `OUT_OF_REACH`: this belongs to more than may be changed with this name or device.
    OutOfReach,
    /// `CROSS_SITE`: the form or the name of the host is not ours.
    CrossSite,
    /// `FORM_STALE`: the form is old, or what it was about has changed.
    FormStale,
    /// `REASON_REQUIRED`: a reason is required.
    ReasonRequired,
    /// `SIGN_IN_FAILED`: operator and password do not fit.
    SignInFailed,
    /// `SIGN_IN_LIMITED`: there were too many sign-ins that failed.
    SignInLimited,
    /// `INTERNAL`: an unexpected fault, and nothing was done.
    Internal,
}

impl Reason {
    fn entry(self) -> &'static Entry {
        // INVARIANT: ENTRIES lists every variant; the test below walks them all.
        const LAST: &Entry = &Entry(
            Reason::Internal,
            "INTERNAL",
            "an unexpected fault",
            "report it",
        );
        ENTRIES.iter().find(|entry| entry.0 == self).unwrap_or(LAST)
    }

    /// The stable code, UPPER_SNAKE, at most 63 characters.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.entry().1
    }

    /// What happened, in one clause without a final period.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        self.entry().2
    }

    /// Whether the fix says no more than that the message names what to correct.
    #[must_use]
    pub const fn fix_is_in_message(self) -> bool {
        matches!(
            self,
            Self::InvalidArguments
                | Self::RequestMalformed
                | Self::CardInvalid
                | Self::PolicyInvalid
                | Self::SystemFileInvalid
                | Self::ConfigUnknownKey
                | Self::ConfigInvalid
                | Self::KeyFileMode
        )
    }

    /// Whether the page of the code says more than a message with its fix, which is the message's own or that of the code.
    #[must_use]
    pub fn page_says_more(self, message: &str, has_own_fix: bool) -> bool {
        let general = matches!(self, Self::RequestMalformed | Self::ConfigInvalid);
        !general && (has_own_fix || !message.starts_with(self.sentence()))
    }

    /// The code that was most likely meant.
    #[must_use]
    pub fn near(code: &str) -> Option<Self> {
        let code = code.trim().to_uppercase().replace('-', "_");
        let distance = |reason: &Self| strsim::osa_distance(&code, reason.code());
        Self::all()
            .min_by_key(distance)
            .filter(|near| distance(near) <= 3)
    }

    /// What the reader can do about it.
    #[must_use]
    pub fn fix(self) -> &'static str {
        self.entry().3
    }

    /// The reason of a code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        ENTRIES
            .iter()
            .find(|entry| entry.1 == code)
            .map(|entry| entry.0)
    }

    /// Every reason, in the order of the docs page.
    pub fn all() -> impl Iterator<Item = Self> {
        ENTRIES.iter().map(|entry| entry.0)
    }
}

impl core::fmt::Display for Reason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_a_code_is_named_where_it_says_more() {
        let halted = Reason::Halted;
        assert!(!halted.page_says_more(halted.sentence(), false));
        assert!(halted.page_says_more(halted.sentence(), true));
        assert!(halted.page_says_more("something else", false));
        for general in [Reason::RequestMalformed, Reason::ConfigInvalid] {
            assert!(!general.page_says_more("something else", true));
        }
    }

    #[test]
    fn every_reason_has_one_code_a_sentence_and_a_fix() {
        let source = include_str!("mod.rs");
        let listed = source
            .lines()
            .filter(|line| line.starts_with("    /// `"))
            .count();
        assert_eq!(listed, ENTRIES.len(), "every variant has an entry");
        for (index, Entry(reason, code, sentence, fix)) in ENTRIES.iter().enumerate() {
            assert!(!code.is_empty() && code.len() <= 63, "{code}");
            assert!(
                code.chars().all(|c| c.is_ascii_uppercase() || c == '_'),
                "{code}"
            );
            assert!(!sentence.is_empty() && !sentence.ends_with('.'), "{code}");
            assert!(!fix.is_empty() && !fix.ends_with('.'), "{code}");
            assert_eq!(Reason::from_code(code), Some(*reason));
            assert_eq!(reason.code(), *code);
            let later = ENTRIES.iter().skip(index + 1);
            assert!(
                later
                    .clone()
                    .all(|other| other.1 != *code && other.0 != *reason),
                "{code}"
            );
        }
    }
}
