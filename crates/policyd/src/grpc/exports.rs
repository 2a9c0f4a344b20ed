//! Exports that run: few for a tenant, because each keeps a page of the log in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use writ_proto::Reason;
use writ_proto::ids::TenantId;

use crate::error::AppError;

/// Exports of one tenant at the same time: each keeps a page of the log in memory.
const EXPORTS_MAX: usize = 4;
/// Longest time that an export waits for its reader.
pub(super) const READ_MAX: Duration = Duration::from_secs(60);

/// Exports that run, by tenant.
#[derive(Debug, Clone, Default)]
pub struct Exports(Arc<Mutex<BTreeMap<TenantId, usize>>>);

/// The place of one export, until it ends.
pub(super) struct ExportPlace(Exports, TenantId);

impl Exports {
    pub(super) fn take(&self, tenant: &TenantId) -> Result<ExportPlace, AppError> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = running.entry(tenant.clone()).or_default();
        if *own >= EXPORTS_MAX {
            let message = format!("{EXPORTS_MAX} exports of this tenant run already; wait for one");
            return Err(AppError::new(Reason::RateLimited, message));
        }
        *own = own.saturating_add(1);
        Ok(ExportPlace(self.clone(), tenant.clone()))
    }
}

impl Drop for ExportPlace {
    fn drop(&mut self) {
        let mut running = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = running.get_mut(&self.1) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                running.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_few_exports_and_another_has_its_own() {
        let exports = Exports::default();
        let tenant = |name: &str| TenantId::parse(name).unwrap();
        let running: Vec<_> = (0..EXPORTS_MAX)
            .map(|_| exports.take(&tenant("acme")).unwrap())
            .collect();
        let full = exports.take(&tenant("acme")).err().unwrap();
        assert_eq!(full.reason, Reason::RateLimited);
        assert!(exports.take(&tenant("globex")).is_ok());
        drop(running);
        assert!(exports.take(&tenant("acme")).is_ok());
    }
}
