//! Who wants something done that needs no writ, and why.

/// An order of an operator, or of an agent about what is its own.
#[derive(Debug, Clone)]
pub struct Order {
    /// Tenant of who asks.
    pub tenant: String,
    /// The operator, or `agent:` and the agent.
    pub by: String,
    /// The agent that asks, if it is one.
    pub agent: Option<String>,
    /// Why.
    pub reason: String,
    /// Plan only.
    pub dry_run: bool,
    /// An operator takes it upon himself where policyd signed nothing.
    pub unsigned: bool,
    /// The caller's id of this call, hyphenated; empty where it gave none.
    pub request: String,
}
