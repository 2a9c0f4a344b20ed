//! The closed list of reason codes: stable, public, one sentence and one fix each.
//!
//! A code never changes its meaning (contract.md 1.5, interfaces.md 3.9). The docs page and
//! `explain CODE` are made from this list.

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
    /// `TOKEN_SCOPE_MISMATCH`: the token is for another tenant, agent, connection, action or target.
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
    /// `TOKEN_REPLAYED`: the token was spent already.
    TokenReplayed,
    /// `STORE_UNAVAILABLE`: the database cannot be reached, so nothing was done.
    StoreUnavailable,
    /// `PRECONDITION_FAILED`: the record is not in the state that was relied on.
    PreconditionFailed,
    /// `OUTCOME_UNKNOWN`: the call was sent and its outcome is not known.
    OutcomeUnknown,
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
    /// `AGENT_REQUIRED`: only an agent may do this.
    AgentRequired,
    /// `SERVICE_REQUIRED`: only a daemon of this trust domain may do this.
    ServiceRequired,
    /// `NOT_FOUND`: there is no such thing in this tenant.
    NotFound,
    /// `STORE_CORRUPT`: the database does not hold what it should, so nothing was done.
    StoreCorrupt,
    /// `SCHEMA_VERSION`: the database has another schema version than this program.
    SchemaVersion,
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
    /// `ALREADY_UNDONE`: this execution is undone already.
    AlreadyUndone,
    /// `SYSTEM_REFUSED`: the system of record refused the change.
    SystemRefused,
    /// `SYSTEM_UNAVAILABLE`: the system of record cannot be reached, and nothing was sent.
    SystemUnavailable,
    /// `SYSTEM_RATE_LIMITED`: the system of record asks to slow down, and nothing was changed.
    SystemRateLimited,
    /// `SYSTEM_FILE_INVALID`: a system file cannot be accepted.
    SystemFileInvalid,
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
    /// `INTERNAL`: an unexpected fault, and nothing was done.
    Internal,
}

/// Code, sentence and fix of one reason.
struct Entry(Reason, &'static str, &'static str, &'static str);

const ENTRIES: &[Entry] = &[
    Entry(
        Reason::Halted,
        "HALTED",
        "a halt is set for this scope",
        "wait until an operator clears the halt: connectord halt status",
    ),
    Entry(
        Reason::HaltUnknown,
        "HALT_UNKNOWN",
        "the halt state cannot be read, so nothing is written",
        "make the halt directory readable again: connectord halt status",
    ),
    Entry(
        Reason::TokenTooLarge,
        "TOKEN_TOO_LARGE",
        "the token is longer than any token this issuer signs",
        "pass the token bytes exactly as policyd returned them",
    ),
    Entry(
        Reason::TokenMalformed,
        "TOKEN_MALFORMED",
        "the bytes are not a decision token",
        "pass the token bytes exactly as policyd returned them",
    ),
    Entry(
        Reason::TokenNotCanonical,
        "TOKEN_NOT_CANONICAL",
        "the token is not in its one canonical encoding",
        "pass the token bytes exactly as policyd returned them",
    ),
    Entry(
        Reason::TokenBadAlg,
        "TOKEN_BAD_ALG",
        "the token names another signature algorithm than Ed25519",
        "ask policyd for a decision token",
    ),
    Entry(
        Reason::TokenBadTyp,
        "TOKEN_BAD_TYP",
        "the signed bytes are not a decision token but another type of message",
        "ask policyd for a decision token",
    ),
    Entry(
        Reason::TokenUnknownKey,
        "TOKEN_UNKNOWN_KEY",
        "no trusted key of the right use signed this token",
        "update the trust document: policyd keys ls",
    ),
    Entry(
        Reason::TokenBadSignature,
        "TOKEN_BAD_SIGNATURE",
        "the signature does not verify",
        "pass the token bytes exactly as policyd returned them",
    ),
    Entry(
        Reason::TokenBadVersion,
        "TOKEN_BAD_VERSION",
        "the token has a version this connectord does not know",
        "run connectord and policyd of matching versions",
    ),
    Entry(
        Reason::TokenBadClaims,
        "TOKEN_BAD_CLAIMS",
        "the claims of the token are not those of a decision token",
        "ask policyd for a decision token",
    ),
    Entry(
        Reason::TokenWrongIssuer,
        "TOKEN_WRONG_ISSUER",
        "the key that signed the token belongs to another issuer",
        "ask the policyd that this connectord trusts",
    ),
    Entry(
        Reason::TokenWrongAudience,
        "TOKEN_WRONG_AUDIENCE",
        "the token is meant for another connectord",
        "set token.audience of policyd to the audience of this connectord",
    ),
    Entry(
        Reason::TokenTtlTooLong,
        "TOKEN_TTL_TOO_LONG",
        "the token lives longer than this connectord accepts",
        "lower token.ttl of policyd",
    ),
    Entry(
        Reason::TokenNotYetValid,
        "TOKEN_NOT_YET_VALID",
        "the token is issued in the future",
        "compare the clocks: connectord doctor",
    ),
    Entry(
        Reason::TokenExpired,
        "TOKEN_EXPIRED",
        "the token has expired",
        "ask policyd to authorize the action again",
    ),
    Entry(
        Reason::TokenPopFailed,
        "TOKEN_POP_FAILED",
        "the token is bound to another client certificate",
        "present the token with the certificate that asked for it",
    ),
    Entry(
        Reason::TokenScopeMismatch,
        "TOKEN_SCOPE_MISMATCH",
        "the token is for another tenant, agent, connection, action or target",
        "ask policyd to authorize this exact request",
    ),
    Entry(
        Reason::TokenModeMismatch,
        "TOKEN_MODE_MISMATCH",
        "the token is for the other of dry run and execute",
        "ask policyd for a token of this mode",
    ),
    Entry(
        Reason::DryRunOnly,
        "DRY_RUN_ONLY",
        "this action is not live for this tenant, so only dry runs are accepted",
        "ask with mode dry run, or promote it: connectord actions promote",
    ),
    Entry(
        Reason::ArgsNotCanonical,
        "ARGS_NOT_CANONICAL",
        "the argument bytes are not canonical",
        "send the args_cbor that policyd returned: policyd canonicalize FILE",
    ),
    Entry(
        Reason::TokenArgsMismatch,
        "TOKEN_ARGS_MISMATCH",
        "the token does not match the request",
        "ask policyd to authorize this exact request",
    ),
    Entry(
        Reason::CardMismatch,
        "CARD_MISMATCH",
        "the token was issued for another version of the action card",
        "give both daemons the same card: connectord actions show",
    ),
    Entry(
        Reason::ArgsSchema,
        "ARGS_SCHEMA",
        "an argument is outside what the action card allows",
        "change the named argument to what the card allows",
    ),
    Entry(
        Reason::TokenRevoked,
        "TOKEN_REVOKED",
        "the token was issued before the halt epoch was raised, or is revoked",
        "ask policyd to authorize the action again",
    ),
    Entry(
        Reason::ApprovalRequired,
        "APPROVAL_REQUIRED",
        "a person has to decide",
        "go on with other work and read the decision later",
    ),
    Entry(
        Reason::BudgetExceeded,
        "BUDGET_EXCEEDED",
        "a cap would be exceeded",
        "wait for the next period or ask an operator to raise the cap",
    ),
    Entry(
        Reason::TokenReplayed,
        "TOKEN_REPLAYED",
        "the token was spent already",
        "ask policyd to authorize the action again",
    ),
    Entry(
        Reason::StoreUnavailable,
        "STORE_UNAVAILABLE",
        "the database cannot be reached, so nothing was done",
        "retry later; nothing happened",
    ),
    Entry(
        Reason::PreconditionFailed,
        "PRECONDITION_FAILED",
        "the record is not in the state that was relied on",
        "read the record again and ask for the action as it stands",
    ),
    Entry(
        Reason::OutcomeUnknown,
        "OUTCOME_UNKNOWN",
        "the call was sent and its outcome is not known",
        "do not retry; read the execution until it is reconciled",
    ),
    Entry(
        Reason::Forbidden,
        "FORBIDDEN",
        "a rule forbids this",
        "do not retry this request",
    ),
    Entry(
        Reason::NotPermitted,
        "NOT_PERMITTED",
        "no rule allows this",
        "ask the owner of the policy for a rule",
    ),
    Entry(
        Reason::PolicyError,
        "POLICY_ERROR",
        "a policy failed while it was evaluated, so nothing is allowed",
        "repair the policy: policyd check",
    ),
    Entry(
        Reason::InvalidArguments,
        "INVALID_ARGUMENTS",
        "the request has an argument that cannot be accepted",
        "correct the named field",
    ),
    Entry(
        Reason::ArgsBadJson,
        "ARGS_BAD_JSON",
        "the arguments are not JSON",
        "send one JSON object without comments or trailing commas",
    ),
    Entry(
        Reason::ArgsDuplicateKey,
        "ARGS_DUPLICATE_KEY",
        "a key occurs twice",
        "send each key once",
    ),
    Entry(
        Reason::ArgsNonFinite,
        "ARGS_NON_FINITE",
        "a number is not finite",
        "send finite decimal numbers",
    ),
    Entry(
        Reason::ArgsNumberRange,
        "ARGS_NUMBER_RANGE",
        "a number is outside 64 bits or has more than 18 decimals",
        "send a smaller or coarser number",
    ),
    Entry(
        Reason::ArgsBadUnicode,
        "ARGS_BAD_UNICODE",
        "a text holds a lone surrogate, U+0000 or invalid UTF-8",
        "send well-formed text",
    ),
    Entry(
        Reason::ArgsBadKey,
        "ARGS_BAD_KEY",
        "a key is empty, too long, not NFC or holds control characters",
        "use 1 to 128 bytes of NFC text",
    ),
    Entry(
        Reason::ArgsNotObject,
        "ARGS_NOT_OBJECT",
        "the arguments are not an object",
        "send an object of named arguments",
    ),
    Entry(
        Reason::ArgsTooDeep,
        "ARGS_TOO_DEEP",
        "the arguments are nested too deeply",
        "nest at most 16 levels",
    ),
    Entry(
        Reason::ArgsTooLarge,
        "ARGS_TOO_LARGE",
        "the arguments are larger than allowed",
        "send less: see the limits in docs/token.md",
    ),
    Entry(
        Reason::UnknownAction,
        "UNKNOWN_ACTION",
        "there is no card of this name in the tenant",
        "list the actions: connectord actions ls",
    ),
    Entry(
        Reason::UnknownTenant,
        "UNKNOWN_TENANT",
        "this tenant is not served here",
        "name a tenant that has a policy set",
    ),
    Entry(
        Reason::UnknownConnection,
        "UNKNOWN_CONNECTION",
        "this connection is not configured",
        "add it to connectord.toml and run connectord creds add",
    ),
    Entry(
        Reason::RequestMalformed,
        "REQUEST_MALFORMED",
        "a field of the request is missing or has the wrong form",
        "correct the named field",
    ),
    Entry(
        Reason::RequestTooLarge,
        "REQUEST_TOO_LARGE",
        "a field or the request is larger than allowed",
        "send less",
    ),
    Entry(
        Reason::RequestIdReused,
        "REQUEST_ID_REUSED",
        "this request id was used for another request",
        "use a fresh UUID for each request",
    ),
    Entry(
        Reason::Unauthenticated,
        "UNAUTHENTICATED",
        "the caller is not known",
        "connect with a client certificate of this trust domain",
    ),
    Entry(
        Reason::OperatorRequired,
        "OPERATOR_REQUIRED",
        "only an operator of the tenant may do this",
        "use an operator certificate",
    ),
    Entry(
        Reason::AgentRequired,
        "AGENT_REQUIRED",
        "only an agent may do this",
        "use an agent certificate",
    ),
    Entry(
        Reason::ServiceRequired,
        "SERVICE_REQUIRED",
        "only a daemon of this trust domain may do this",
        "use the certificate of the daemon",
    ),
    Entry(
        Reason::NotFound,
        "NOT_FOUND",
        "there is no such thing in this tenant",
        "check the name",
    ),
    Entry(
        Reason::StoreCorrupt,
        "STORE_CORRUPT",
        "the database does not hold what it should, so nothing was done",
        "stop and compare with the last checkpoint: policyd records verify",
    ),
    Entry(
        Reason::SchemaVersion,
        "SCHEMA_VERSION",
        "the database has another schema version than this program",
        "run the matching version of the program",
    ),
    Entry(
        Reason::Unavailable,
        "UNAVAILABLE",
        "the service cannot answer now, and nothing was done",
        "retry later; nothing happened",
    ),
    Entry(
        Reason::Deadline,
        "DEADLINE",
        "the answer was not ready in time, and nothing was done",
        "retry with the same request id",
    ),
    Entry(
        Reason::RateLimited,
        "RATE_LIMITED",
        "too many requests wait already",
        "retry later with the same request id",
    ),
    Entry(
        Reason::CardInvalid,
        "CARD_INVALID",
        "an action card cannot be accepted",
        "repair the named line: policyd check",
    ),
    Entry(
        Reason::CardMissing,
        "CARD_MISSING",
        "this connectord holds no card for the action",
        "copy the card into the policies folder of connectord",
    ),
    Entry(
        Reason::UndoExpired,
        "UNDO_EXPIRED",
        "the window for undo has passed",
        "make a new change instead",
    ),
    Entry(
        Reason::UndoImpossible,
        "UNDO_IMPOSSIBLE",
        "this execution cannot be undone",
        "make a new change instead",
    ),
    Entry(
        Reason::AlreadyUndone,
        "ALREADY_UNDONE",
        "this execution is undone already",
        "nothing is left to do",
    ),
    Entry(
        Reason::SystemRefused,
        "SYSTEM_REFUSED",
        "the system of record refused the change",
        "read the message of the system of record",
    ),
    Entry(
        Reason::SystemUnavailable,
        "SYSTEM_UNAVAILABLE",
        "the system of record cannot be reached, and nothing was sent",
        "retry later",
    ),
    Entry(
        Reason::SystemRateLimited,
        "SYSTEM_RATE_LIMITED",
        "the system of record asks to slow down, and nothing was changed",
        "retry later",
    ),
    Entry(
        Reason::SystemFileInvalid,
        "SYSTEM_FILE_INVALID",
        "a system file cannot be accepted",
        "repair the named line in deploy/systems",
    ),
    Entry(
        Reason::TargetNotFound,
        "TARGET_NOT_FOUND",
        "the system of record has no such record",
        "check the id of the target",
    ),
    Entry(
        Reason::CredentialMissing,
        "CREDENTIAL_MISSING",
        "there is no credential for the connection",
        "add it: connectord creds add CONNECTION",
    ),
    Entry(
        Reason::CredentialSeal,
        "CREDENTIAL_SEAL",
        "the sealed credentials cannot be opened with this key",
        "use the key file they were sealed with",
    ),
    Entry(
        Reason::KeyFileMode,
        "KEY_FILE_MODE",
        "a private key is readable by others",
        "run chmod 600 on the named file",
    ),
    Entry(
        Reason::KeyInvalid,
        "KEY_INVALID",
        "a key file does not hold the key it should",
        "make the key again: policyd keys rotate",
    ),
    Entry(
        Reason::TrustInvalid,
        "TRUST_INVALID",
        "the trust document cannot be accepted",
        "publish it again: policyd keys rotate",
    ),
    Entry(
        Reason::PortInUse,
        "PORT_IN_USE",
        "the address is taken by another process",
        "stop that process or choose another port",
    ),
    Entry(
        Reason::ConfigUnknownKey,
        "CONFIG_UNKNOWN_KEY",
        "the configuration has a key that does not exist",
        "remove or correct the named key",
    ),
    Entry(
        Reason::ConfigInvalid,
        "CONFIG_INVALID",
        "the configuration cannot be accepted",
        "correct the named key",
    ),
    Entry(
        Reason::ClientCertExpired,
        "CLIENT_CERT_EXPIRED",
        "the client certificate has expired",
        "issue a new one: policyd init --certs-only",
    ),
    Entry(
        Reason::TlsInvalid,
        "TLS_INVALID",
        "a certificate or TLS key cannot be used",
        "check the files named under tls",
    ),
    Entry(
        Reason::PeerUnreachable,
        "PEER_UNREACHABLE",
        "the server cannot be reached",
        "start it or correct --addr",
    ),
    Entry(
        Reason::PolicyReloadFailed,
        "POLICY_RELOAD_FAILED",
        "the changed policies were not accepted; the last good ones stay in force",
        "repair them: policyd check",
    ),
    Entry(
        Reason::PolicyInvalid,
        "POLICY_INVALID",
        "a policy cannot be accepted",
        "repair the named line: policyd check",
    ),
    Entry(
        Reason::PolicyEmpty,
        "POLICY_EMPTY",
        "there is no policy, so nothing could be allowed",
        "add a policy or name the right folder",
    ),
    Entry(
        Reason::PeerBinaryMissing,
        "PEER_BINARY_MISSING",
        "the sibling program is not beside this one",
        "build it: cargo build --release",
    ),
    Entry(
        Reason::ExportInvalid,
        "EXPORT_INVALID",
        "the export does not prove what it claims",
        "ask for the export again and compare the named record",
    ),
    Entry(
        Reason::Internal,
        "INTERNAL",
        "an unexpected fault, and nothing was done",
        "report it with the decision id",
    ),
];

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
    fn every_reason_has_one_code_a_sentence_and_a_fix() {
        let source = include_str!("reason.rs");
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
