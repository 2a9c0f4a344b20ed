//! Identifiers as types: an id that was not parsed cannot be passed on.

use core::fmt;

use uuid::Uuid;

/// Why a text or UUID is not the identifier it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no valid {kind}: {rule}")]
pub struct IdError {
    kind: &'static str,
    found: String,
    rule: &'static str,
}

impl IdError {
    pub(crate) fn new(kind: &'static str, found: &str, rule: &'static str) -> Self {
        let found = found
            .chars()
            .take(80)
            .flat_map(char::escape_default)
            .collect();
        Self { kind, found, rule }
    }
}

fn within(text: &str, most: usize, allowed: fn(char) -> bool) -> bool {
    !text.is_empty() && text.len() <= most && text.chars().all(allowed)
}

/// A tenant: `[a-z0-9][a-z0-9_-]{0,63}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(String);

impl TenantId {
    /// Parses a tenant id.
    ///
    /// # Errors
    /// When the text is not of the form above.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let lead = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if lead && within(text, 64, rest) {
            return Ok(Self(text.to_owned()));
        }
        Err(IdError::new(
            "tenant id",
            text,
            "1 to 64 of a-z 0-9 _ -, not starting with _ or -",
        ))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An acting workload: 1 to 128 of `[A-Za-z0-9._:/@-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(String);

impl AgentId {
    /// Parses an agent id.
    ///
    /// # Errors
    /// When the text is not of the form above.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if within(text, 128, |c| {
            c.is_ascii_alphanumeric() || "._:/@-".contains(c)
        }) {
            return Ok(Self(text.to_owned()));
        }
        Err(IdError::new(
            "agent id",
            text,
            "1 to 128 of A-Z a-z 0-9 . _ : / @ -",
        ))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A configured instance of a system of record, such as `crm/main`: 1 to 128 of `[a-z0-9_./-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(String);

impl ConnectionId {
    /// Parses a connection id.
    ///
    /// # Errors
    /// When the text is not of the form above.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_./-".contains(c);
        if within(text, 128, allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(IdError::new(
            "connection id",
            text,
            "1 to 128 of a-z 0-9 _ . / -",
        ))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Name of an action card: `[a-z0-9_]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionName(String);

impl ActionName {
    /// Parses an action name.
    ///
    /// # Errors
    /// When the text is not of the form above.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if within(text, 64, |c| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
        }) {
            return Ok(Self(text.to_owned()));
        }
        Err(IdError::new("action name", text, "1 to 64 of a-z 0-9 _"))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A run that groups executions: 1 to 64 of `[A-Za-z0-9_.-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(String);

impl RunId {
    /// Parses a run id.
    ///
    /// # Errors
    /// When the text is not of the form above.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if within(text, 64, |c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
            return Ok(Self(text.to_owned()));
        }
        Err(IdError::new("run id", text, "1 to 64 of A-Z a-z 0-9 _ . -"))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn parse_uuid(kind: &'static str, text: &str) -> Result<Uuid, IdError> {
    let found = Uuid::try_parse(text)
        .ok()
        .filter(|uuid| uuid.hyphenated().to_string() == text);
    found
        .filter(|uuid| !uuid.is_nil())
        .ok_or_else(|| IdError::new(kind, text, "a lower-case hyphenated UUID that is not nil"))
}

/// The id of a decision record (UUIDv7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecisionId(Uuid);

/// The id of a token, claim `cti` (UUIDv7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(Uuid);

/// The id of an execution (UUIDv7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutionId(Uuid);

/// The id a caller gives to its own call, so that a retry is told from a second wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(Uuid);

impl DecisionId {
    /// Wraps a UUID.
    #[must_use]
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }
    /// Parses the hyphenated form.
    ///
    /// # Errors
    /// When the text is not a lower-case hyphenated UUID or is nil.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        parse_uuid("decision id", text).map(Self)
    }
    /// The UUID.
    #[must_use]
    pub const fn uuid(&self) -> Uuid {
        self.0
    }
    /// The sixteen bytes.
    #[must_use]
    pub const fn bytes(&self) -> [u8; 16] {
        self.0.into_bytes()
    }
}

impl TokenId {
    /// Wraps a UUID.
    #[must_use]
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }
    /// Parses the hyphenated form.
    ///
    /// # Errors
    /// When the text is not a lower-case hyphenated UUID or is nil.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        parse_uuid("token id", text).map(Self)
    }
    /// The UUID.
    #[must_use]
    pub const fn uuid(&self) -> Uuid {
        self.0
    }
    /// The sixteen bytes.
    #[must_use]
    pub const fn bytes(&self) -> [u8; 16] {
        self.0.into_bytes()
    }
}

impl ExecutionId {
    /// Wraps a UUID.
    #[must_use]
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }
    /// Parses the hyphenated form.
    ///
    /// # Errors
    /// When the text is not a lower-case hyphenated UUID or is nil.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        parse_uuid("execution id", text).map(Self)
    }
    /// The UUID.
    #[must_use]
    pub const fn uuid(&self) -> Uuid {
        self.0
    }
    /// The sixteen bytes.
    #[must_use]
    pub const fn bytes(&self) -> [u8; 16] {
        self.0.into_bytes()
    }
}

impl RequestId {
    /// Wraps a UUID.
    #[must_use]
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }
    /// Parses the hyphenated form.
    ///
    /// # Errors
    /// When the text is not a lower-case hyphenated UUID or is nil.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        parse_uuid("request id", text).map(Self)
    }
    /// The UUID.
    #[must_use]
    pub const fn uuid(&self) -> Uuid {
        self.0
    }
    /// The sixteen bytes.
    #[must_use]
    pub const fn bytes(&self) -> [u8; 16] {
        self.0.into_bytes()
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Display for ActionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
