//! The use cases. One execution is one detached task that owns its claim: a caller that hangs up
//! changes nothing.

pub mod admit;
pub mod error;
pub mod execute;
pub mod halt_orders;
pub mod halts;
pub mod outcome;
pub mod read;
pub mod reconcile;
pub mod rollout;
pub mod undo;
mod undo_writ;
pub mod work;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use error::AppError;

use crate::cards::CardTable;
use crate::halt::{HaltState, HaltStore};
use crate::store::Journal;
use crate::system::System;
use crate::trust::Trust;

/// Everything the use cases share.
#[derive(Debug)]
pub struct App {
    /// connectord's own cards.
    pub cards: CardTable,
    /// Drivers by connection.
    pub systems: BTreeMap<String, Arc<System>>,
    /// Spent tokens, executions, outbox.
    pub journal: Journal,
    /// Halts.
    pub halts: HaltStore,
    /// Their state as it was last seen; none while it is not known.
    pub halt_changes: tokio::sync::watch::Sender<Option<HaltState>>,
    /// Name of this process in their roster.
    pub instance: String,
    /// Operators, as `tenant/name`, who may halt and resume every tenant.
    pub global_operators: Vec<String>,
    /// What is going on, for those who halt it.
    pub work: work::Work,
    /// Trusted keys.
    pub trust: Trust,
    /// What this connectord accepts.
    pub rules: Rules,
}

/// What this connectord accepts.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Its own audience, compared byte for byte.
    pub audience: String,
    /// Allowed clock difference in seconds.
    pub leeway_seconds: u32,
    /// Longest life of a token in seconds.
    pub ttl_seconds_max: u32,
}

/// Shared handle.
pub type SharedApp = Arc<App>;
