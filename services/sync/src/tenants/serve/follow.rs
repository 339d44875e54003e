//! A virtual cluster that is served: what is kept up to date until its object calls for something else.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};
use vcluster_resources::VirtualCluster;

use super::{OLDER, Supervisor};
use crate::apply::Failure;
use crate::custom::{self, Resolved};
use crate::engine::Engine;
use crate::queue::Lane;
use crate::tenant::{About, Tenant};
use crate::tenants::credentials::Credentials;
use crate::tenants::host_access;
use crate::tenants::stage::{Endpoint, Stage, stage};
use crate::tenants::status::{Reporter, observe, observe_custom};

/// How often rules and rights are looked at without a reason.
const LOOK: Duration = Duration::from_secs(30);

/// What a tenant was taken up for. When its object calls for something else, it is taken up anew.
pub(super) struct Calls {
    pub(super) endpoint: Endpoint,
    pub(super) resolved: Resolved,
}

impl Supervisor {
    /// Keeps the condition and the credential up to date until the object calls for something else.
    pub(super) async fn follow(
        &mut self,
        tenant: &Arc<Tenant>,
        reporter: &mut Reporter,
        calls: &Calls,
        credentials: &mut Credentials,
    ) {
        let mut shown = false;
        let mut reach = tenant.link.subscribe();
        let mut look = every(LOOK);
        let mut renew = every(self.engine.config.scan_interval);
        // The next stay tells why it cannot begin.
        while !tenant.has_lost_its_store() {
            shown = shown || show_when_ready(&self.engine, tenant);
            vouch(tenant).await;
            let generation = self.generation();
            let said = [
                Some(observe(tenant)),
                observe_custom(tenant, &calls.resolved),
            ];
            let said: Vec<_> = said.into_iter().flatten().collect();
            reporter.report_all(&said, generation).await;
            tokio::select! {
                biased;
                // A task of the stay panicked.
                () = tenant.token.cancelled() => return,
                changed = self.cluster.changed() => {
                    if changed.is_err() || !self.still_serves(calls, tenant) {
                        return;
                    }
                }
                () = tenant.changed() => {}
                _ = reach.changed() => {}
                _ = look.tick() => {
                    if self.custom_changed(calls, tenant).await {
                        return;
                    }
                    // Its keys may be at rest, and then nobody else asks.
                    if tenant.missing_right().is_some() {
                        tenant.ask_host().await;
                    }
                }
                _ = renew.tick() => {
                    if let Err(error) = credentials.refresh().await {
                        tracing::warn!(tenant = %self.id, %error, "credential cannot be read again");
                    }
                    if self.access_changed(tenant).await {
                        return;
                    }
                    mark(tenant).await;
                }
            }
        }
        self.remember_loss(tenant, reporter).await;
    }

    /// Has the host remember that the store went back, however it looks by the next stay: the stay ends then, or when
    /// the object is being deleted.
    async fn remember_loss(&mut self, tenant: &Tenant, reporter: &mut Reporter) {
        loop {
            let generation = self.generation();
            reporter.report(&[observe(tenant)], generation).await;
            let Err(failure) = tenant.remember_store().await else {
                return;
            };
            // Then nothing is done for it anyway, or the host knows another store already.
            if matches!(failure, Failure::Refused { .. }) || self.is_ending() {
                return;
            }
            tracing::warn!(tenant = %self.id, %failure, "the host is told later of the lost store");
            tokio::time::sleep(OLDER).await;
        }
    }

    fn is_ending(&self) -> bool {
        let cluster = self.cluster.borrow();
        let is_live = |cluster: &Arc<VirtualCluster>| cluster.metadata.deletion_timestamp.is_none();
        !cluster.as_ref().is_some_and(is_live)
    }

    /// Whether the rules for custom resources come to something else than when the tenant was taken up: the host has
    /// a definition now, or another one.
    async fn custom_changed(&self, calls: &Calls, tenant: &Tenant) -> bool {
        let cluster = self.cluster.borrow().clone();
        let has_rules = !tenant.context.policy.custom_resources.is_empty();
        let Some(cluster) = cluster.filter(|_| has_rules) else {
            return false;
        };
        let resolved = custom::resolve(&self.engine, &cluster).await;
        resolved.is_certain() && resolved != calls.resolved
    }

    /// Whether the host's administrator has granted or withdrawn access to the nodes: every refusal must be
    /// thought over, so the tenant is taken up anew.
    async fn access_changed(&self, tenant: &Tenant) -> bool {
        let own = self.engine.host.own.request.clone();
        match host_access::read(own, &self.id.namespace).await {
            Ok(access) => access != tenant.context.host_access,
            Err(error) => {
                tracing::warn!(tenant = %self.id, %error, "host namespace cannot be read");
                false
            }
        }
    }

    fn generation(&self) -> Option<i64> {
        self.cluster.borrow().as_ref()?.metadata.generation
    }

    /// Whether the object calls for what is done. With another policy every decision must be thought over, so the
    /// tenant is taken up anew.
    fn still_serves(&mut self, calls: &Calls, tenant: &Tenant) -> bool {
        let cluster = self.cluster.borrow_and_update();
        cluster.as_ref().is_some_and(|cluster| {
            stage(cluster, true) == Stage::Serve(calls.endpoint.clone())
                && cluster.spec.sync == tenant.context.policy
        })
    }
}

/// Moments as far apart, the first of them so far from now.
fn every(period: Duration) -> Interval {
    let mut moments = tokio::time::interval_at(Instant::now() + period, period);
    moments.set_missed_tick_behavior(MissedTickBehavior::Delay);
    moments
}

/// Vouches for a store that was trusted without being known, once its objects are worked for.
async fn vouch(tenant: &Tenant) {
    if !tenant.is_active() || tenant.is_vouched() {
        return;
    }
    let vouched = tenant.vouch_for_store().await;
    if let Err(failure) = &vouched {
        tracing::warn!(tenant = %tenant.id, %failure, "the store is remembered later");
    }
    let conflict = match &vouched {
        Err(Failure::Refused { code: 409, message }) => Some(message.as_str()),
        Ok(()) | Err(_) => None,
    };
    tenant.note(About::Conflict, conflict);
}

/// Marks where the store stands, once its objects are worked for.
async fn mark(tenant: &Tenant) {
    if tenant.is_active()
        && let Err(failure) = tenant.mark_store().await
    {
        tracing::warn!(tenant = %tenant.id, %failure, "the store is marked later");
    }
}

/// Has a tenant look at the host's own objects, once it is worked for; before that it takes no keys.
fn show_when_ready(engine: &Engine, tenant: &Tenant) -> bool {
    let ready = tenant.is_ready();
    if ready {
        engine.show_all(tenant, Lane::List);
    }
    ready
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::Kind;
    use crate::tenant::lists;
    use crate::testing::World;

    #[tokio::test]
    async fn a_tenant_that_is_listed_late_is_shown_the_host_s_classes_then() {
        let world = World::unlisted();
        let (engine, tenant) = (&world.engine, &world.tenant);
        let class = json!({"metadata": {"name": "fast"}});
        engine.set_mirrored(Kind::StorageClass, "fast", Some(class), Lane::Live);
        assert!(!show_when_ready(engine, tenant));
        assert_eq!(engine.work.depth(tenant.ticket).queued, 0);
        for (side, kind) in lists() {
            let list = tenant.state().begin_list(side, kind);
            tenant.end_list(side, kind, list);
        }
        assert!(show_when_ready(engine, tenant));
        assert_eq!(engine.work.depth(tenant.ticket).queued, 1);
    }
}
