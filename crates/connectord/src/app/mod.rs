//! The use cases. One execution is one detached task that owns its claim: a caller that hangs up
//! changes nothing.

pub mod alike;
pub mod catalog;
pub mod facts;
pub mod ground;
pub mod halts;
pub mod long;
pub mod order;
pub mod outcome;
pub mod read;
pub mod rollout;
pub mod standing;
pub mod undo;
pub mod veil;
pub mod work;
pub mod write;

use std::sync::Arc;

use arc_swap::ArcSwap;
use writ_proto::card::Card;
use writ_proto::host::store::disk::Reserve;

use crate::error::AppError;

use catalog::Catalog;
pub use write::settle::Settling;

use crate::domain::gate::Refusal;
use crate::halt::{HaltState, HaltStore};
use crate::marks::MarkFile;
use crate::store::Journal;
use crate::system::System;
use crate::trust::Trust;

/// Everything the use cases share.
#[derive(Debug)]
pub struct App {
    /// connectord's own cards and connections, as their files say now.
    pub catalog: ArcSwap<Catalog>,
    /// Spent tokens, executions, outbox.
    pub journal: Journal,
    /// Halts.
    pub halts: HaltStore,
    /// Their state as it was last seen; none while it is not known.
    pub halt_changes: tokio::sync::watch::Sender<Option<Arc<HaltState>>>,
    /// Name of this process in their roster.
    pub instance: String,
    /// Operators, as `tenant/name`, who may halt and resume every tenant.
    pub global_operators: Vec<String>,
    /// What is going on, for those who halt it.
    pub work: work::Work,
    /// Connections whose doubts are being settled.
    pub settling: Settling,
    /// Refusals that are alike.
    pub alike: alike::Refusals,
    /// What must stay free on the disk of the journal.
    pub reserve: Arc<Reserve>,
    /// What is remembered outside the stores.
    pub marks: Arc<MarkFile>,
    /// Trusted keys.
    pub trust: Trust,
    /// What this connectord accepts.
    pub rules: Rules,
    /// What takes long: lists, and undos of many.
    pub long: long::Long,
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

impl App {
    /// connectord's own card of an action.
    ///
    /// # Errors
    /// `CARD_MISSING`.
    pub fn card(&self, tenant: &str, action: &str) -> Result<Arc<Card>, Refusal> {
        Ok(Arc::clone(&self.catalog.load().held(tenant, action)?.card))
    }

    /// The driver of a connection of a tenant.
    ///
    /// # Errors
    /// `UNKNOWN_CONNECTION` or `SYSTEM_FILE_INVALID`.
    pub fn system(&self, tenant: &str, connection: &str) -> Result<Arc<System>, Refusal> {
        self.catalog.load().system(tenant, connection)
    }
}

#[cfg(test)]
pub(crate) mod tests;
