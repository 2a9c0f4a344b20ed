//! Commands that call policyd, for agents, operators and auditors.

pub(crate) mod act_as;
pub(crate) mod authorize;
pub(crate) mod budget;
pub(crate) mod decisions;
pub(crate) mod incidents;
pub(crate) mod notices;
pub(crate) mod records;
pub(crate) mod story;
pub(crate) mod token;
pub(crate) mod usage;
