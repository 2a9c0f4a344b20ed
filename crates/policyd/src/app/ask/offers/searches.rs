//! Searches for counter-offers that run at the same time: few, and one of a tenant, so that none waits for another's many.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use writ_proto::ids::TenantId;

/// Searches that run at once.
const AT_ONCE: usize = 2;
/// How long a denial waits for a place.
const WAIT: Duration = Duration::from_millis(100);

/// The places.
#[derive(Debug)]
pub struct Searches {
    places: Arc<Semaphore>,
    tenants: Arc<Mutex<BTreeSet<TenantId>>>,
}

impl Default for Searches {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            tenants: Arc::default(),
        }
    }
}

/// A place that is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    tenant: TenantId,
    tenants: Arc<Mutex<BTreeSet<TenantId>>>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.remove(&self.tenant);
    }
}

impl Searches {
    /// A place for a tenant; none while it has one, or where none becomes free soon.
    pub(super) async fn place(&self, tenant: &TenantId) -> Option<Place> {
        let free = Arc::clone(&self.places).acquire_owned();
        let place = tokio::time::timeout(WAIT, free).await.ok()?.ok()?;
        let tenants = Arc::clone(&self.tenants);
        let mut taken = tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = taken.insert(tenant.clone());
        drop(taken);
        fresh.then(|| Place {
            tenant: tenant.clone(),
            tenants,
            _place: place,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tenant_has_one_place_and_all_together_have_few() {
        let searches = Searches::default();
        let of = |name: &str| TenantId::parse(name).unwrap();
        let first = searches.place(&of("a")).await;
        assert!(first.is_some());
        assert!(searches.place(&of("a")).await.is_none(), "one of a tenant");
        let second = searches.place(&of("b")).await;
        assert!(second.is_some());
        assert!(searches.place(&of("c")).await.is_none(), "two in all");
        drop(first);
        assert!(searches.place(&of("c")).await.is_some());
        assert!(searches.place(&of("a")).await.is_some());
    }
}
