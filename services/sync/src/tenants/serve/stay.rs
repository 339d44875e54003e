//! A tenant in the engine.

use std::sync::Arc;

use crate::engine::Engine;
use crate::tenant::Tenant;

/// A tenant's stay in the engine; when it ends, however it ends, nothing finds the tenant any more.
pub(super) struct Stay {
    engine: Arc<Engine>,
    pub(super) tenant: Arc<Tenant>,
}

impl Stay {
    /// Takes it in.
    pub(super) fn begin(engine: &Arc<Engine>, tenant: Arc<Tenant>) -> Self {
        engine.enter(&tenant);
        tracing::info!(tenant = %tenant.id, "tenant is taken up");
        Self {
            engine: Arc::clone(engine),
            tenant,
        }
    }

    /// Ends it and waits until no worker has anything of it in hand.
    pub(super) async fn end(self) {
        let tenant = Arc::clone(&self.tenant);
        drop(self);
        tenant.at_rest().await;
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.tenant.token.cancel();
        self.engine.leave(&self.tenant);
        tracing::info!(tenant = %self.tenant.id, "tenant is let go");
    }
}
