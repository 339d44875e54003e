//! How many connections each tenant has open. Entries exist only while a connection does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vcluster_resources::TenantUri;

/// Counts connections by tenant; those of which it is not known whose they are count together. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Open {
    most: usize,
    counts: Arc<Mutex<HashMap<Option<TenantUri>, usize>>>,
}

/// An open connection; dropped when it closes.
#[derive(Debug)]
pub(super) struct Entered {
    open: Open,
    tenant: Option<TenantUri>,
}

impl Open {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            counts: Arc::default(),
        }
    }

    /// Lets a connection in, unless its tenant has its fill.
    pub(super) fn enter(&self, tenant: Option<TenantUri>) -> Option<Entered> {
        let mut counts = self.counts();
        let count = counts.entry(tenant.clone()).or_insert(0);
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Entered {
            open: self.clone(),
            tenant,
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Option<TenantUri>, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut counts = self.open.counts();
        if let Some(count) = counts.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_at_the_limit_keeps_nobody_else_out() {
        let open = Open::new(1);
        let tenant = |name: &str| format!("vcluster://{name}/demo/1").parse().ok();
        let first = open.enter(tenant("a"));
        assert!(first.is_some());
        assert!(open.enter(tenant("a")).is_none());
        let _other = open.enter(tenant("b")).unwrap();
        let _nobody = open.enter(None).unwrap();
        assert!(open.enter(None).is_none());
        drop(first);
        assert!(open.enter(tenant("a")).is_some());
    }
}
