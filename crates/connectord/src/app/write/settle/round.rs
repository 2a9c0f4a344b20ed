//! Which connections are being settled: one round of each at a time, however long a system hangs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Tenant and connection.
pub(crate) type Key = (String, String);

/// The connections whose doubts are being settled.
#[derive(Debug, Clone, Default)]
pub struct Settling(Arc<Mutex<BTreeSet<Key>>>);

/// A round of one connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Round(Settling, Key);

impl Drop for Round {
    fn drop(&mut self) {
        let mut busy = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        busy.remove(&self.1);
    }
}

impl Settling {
    /// Begins a round; none while another one of this connection goes on.
    pub(crate) fn begin(&self, key: Key) -> Option<Round> {
        let mut busy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        busy.insert(key.clone()).then(|| Round(self.clone(), key))
    }
}
