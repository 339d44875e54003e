//! How many requests of each tenant are under way. Entries exist only while a request does, and nothing that is looked
//! up anew about a tenant makes a second one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vcluster_resources::TenantUri;

/// Rights to requests, so many for each tenant.
#[derive(Debug)]
pub(crate) struct Slots {
    most: usize,
    by_tenant: Mutex<HashMap<TenantUri, Arc<Semaphore>>>,
}

impl Slots {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            by_tenant: Mutex::default(),
        }
    }

    /// A right to a request, unless the tenant has its fill.
    pub(crate) fn enter(&self, tenant: &TenantUri) -> Option<OwnedSemaphorePermit> {
        self.of(tenant).try_acquire_owned().ok()
    }

    /// All rights of the tenant.
    pub(crate) fn of(&self, tenant: &TenantUri) -> Arc<Semaphore> {
        let mut all = self
            .by_tenant
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Whoever has a right holds a second handle.
        all.retain(|_, slots| Arc::strong_count(slots) > 1);
        let slots = all
            .entry(tenant.clone())
            .or_insert_with(|| Arc::new(Semaphore::new(self.most)));
        Arc::clone(slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenant_has_its_own_and_gets_them_back() {
        let slots = Slots::new(2);
        let one: TenantUri = "vcluster://team-a/demo/1".parse().unwrap();
        let other: TenantUri = "vcluster://team-b/demo/2".parse().unwrap();
        let held: Vec<_> = (0..2).map(|_| slots.enter(&one).unwrap()).collect();
        assert!(slots.enter(&one).is_none());
        assert!(slots.enter(&other).is_some());
        drop(held);
        assert!(slots.enter(&one).is_some());
        assert_eq!(slots.by_tenant.lock().unwrap().len(), 1);
    }
}
