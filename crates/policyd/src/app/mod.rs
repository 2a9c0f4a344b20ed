//! The use cases: the only layer that sees clock, ids, keys and store together.

pub mod ask;
pub mod containment;
pub mod evidence;
pub mod policies;
pub mod reports;
pub mod spending;

use crate::error::AppError;
pub use ask::admission::Admission;
use ask::known::Systems;
use containment::alike::Denials;
use containment::{denials, halting};
use evidence::signer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use writ_proto::Reason;
use writ_proto::host::store::disk::Reserve;
use writ_proto::scope::Scope;

use crate::domain::allowance::Allowance;
use crate::domain::decide::facts::HaltView;
use crate::marks::MarkFile;
use crate::store::{Ledger, Writer};

/// Everything the use cases share.
#[derive(Debug)]
pub struct App {
    /// Policies in force, by tenant.
    pub policies: ArcSwap<policies::PolicyTable>,
    /// Halts as last heard from connectord.
    pub halts: ArcSwap<HaltView>,
    /// When that was asked, Unix milliseconds.
    pub halts_asked_ms: AtomicI64,
    /// Wakes whoever sets the halts that limits ordered.
    pub trips: Notify,
    /// Agents that incidents stop until connectord has.
    pub stopped: ArcSwap<denials::Stopped>,
    /// Held by whoever reads them.
    pub refreshing: tokio::sync::Mutex<()>,
    /// Wakes whoever asks connectord for halts.
    pub escalate: Notify,
    /// Denials that are counted together.
    pub alike: Denials,
    /// Whether the trust document that lies there believes what is signed.
    pub believed: AtomicBool,
    /// Whether how far the logs are could be written down outside the database.
    pub marked: AtomicBool,
    /// Who decides how much at once.
    pub admission: Admission,
    /// Counter-offers given by this process.
    pub offers: Mutex<Allowance>,
    /// Searches for counter-offers that may run now.
    pub searches: ask::offers::Searches,
    /// What systems of record say of targets.
    pub systems: Systems,
    /// Asks for halts.
    pub halting: halting::HaltClient,
    /// What must stay free on the disk.
    pub reserve: Arc<Reserve>,
    /// Reads.
    pub ledger: Ledger,
    /// Writes.
    pub writer: Writer,
    /// Signs.
    pub signer: ArcSwap<signer::Signer>,
    /// What tokens and records say about us.
    pub identity: Identity,
    /// How far the logs have come, as it is remembered outside the database.
    pub marks: MarkFile,
    /// What is decided and signed by: each value of the configuration with its digest.
    pub deciding: BTreeMap<String, String>,
}

/// Names of this policyd in tokens and records.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Issuer URI.
    pub issuer: String,
    /// The one connectord, or pool.
    pub audience: String,
    /// Prefix of log origins.
    pub log: String,
    /// This process in records.
    pub writer: String,
    /// Life of a token in seconds.
    pub ttl_seconds: u32,
}

impl Identity {
    /// The origin of a tenant's log.
    #[must_use]
    pub fn origin(&self, tenant: &str) -> String {
        format!("{}/log/{tenant}", self.log)
    }
}

/// So long may connectord say nothing before it is unknown which halts are set.
const HALTS_UNKNOWN_MS: i64 = 10_000;

/// Whether it is known which halts are set, by when connectord last said so and when it could first be asked, in Unix
/// milliseconds.
#[must_use]
pub fn are_halts_known(asked_ms: i64, began_ms: i64, now_ms: i64) -> bool {
    let since_ms = if asked_ms > 0 { asked_ms } else { began_ms };
    // A clock that was set back says nothing of how long ago it was.
    (0..HALTS_UNKNOWN_MS).contains(&now_ms.saturating_sub(since_ms))
}

/// Shared handle.
pub type SharedApp = Arc<App>;

impl App {
    /// Whether connectord has said after a moment (Unix milliseconds) that a scope is halted.
    #[must_use]
    pub fn halted_since(&self, scope: &Scope, at_ms: i64) -> bool {
        self.halts_asked_ms.load(Ordering::Relaxed) > at_ms
            && self.halts.load().scopes.contains(scope)
    }

    /// Whether an agent may have something written.
    ///
    /// # Errors
    /// `DISK_RESERVE` where the disk has less room than the reserve.
    pub(crate) fn room(&self) -> Result<(), AppError> {
        if self.reserve.is_short() {
            return Err(AppError::of(Reason::DiskReserve));
        }
        Ok(())
    }

    /// The halts that a decision looks at: what connectord said, and what is on its way there.
    #[must_use]
    pub fn halt_view(&self) -> HaltView {
        // Before what was heard: at the same moment or earlier, never later.
        let heard_ms = self.halts_asked_ms.load(Ordering::Acquire);
        let mut view = self.halts.load().as_ref().clone();
        view.heard_ms = Some(heard_ms);
        view.scopes.extend(self.halting.waiting());
        view
    }
}

#[cfg(test)]
pub(crate) mod tests;
