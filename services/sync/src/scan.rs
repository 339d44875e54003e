//! The safety net: each tenant compared with its host namespace as a whole, now and then.
//!
//! In steady state it finds nothing. What it finds goes through the queue's last lane, so that it costs nobody
//! anything, and is decided like everything else: nothing is deleted because a scan did not see it.

use std::sync::Arc;

use tokio::time::{Instant, MissedTickBehavior};
use vcluster_chassis::chance;
use vcluster_translate::kind::Outside;
use vcluster_translate::owner;

use crate::apply::Failure;
use crate::engine::Engine;
use crate::hash::HashSet;
use crate::metrics::Found;
use crate::object::page::Listed;
use crate::object::{Kind, Name, Object, Side};
use crate::queue::Lane;
use crate::state::ListId;
use crate::tenant::Tenant;

/// Why the host's side is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Nothing is known yet.
    First,
    /// To compare with what is known, which stays good meanwhile.
    Check,
}

/// Scans a tenant now and then, until its stay ends.
pub async fn keep(engine: Arc<Engine>, tenant: Arc<Tenant>) {
    let every = engine.config.scan_interval;
    // Those that were taken up together are not scanned together.
    let first = Instant::now() + every.mul_f64(chance::draw());
    let mut moments = tokio::time::interval_at(first, every);
    moments.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let token = &tenant.token;
    while token.run_until_cancelled(moments.tick()).await.is_some() {
        // Closed never: the semaphore lives as long as the engine.
        let _permit = engine.scans.acquire().await.ok();
        self::tenant(&engine, &tenant).await;
    }
}

/// Compares a tenant with its host namespace, and has every key looked at that is not settled.
pub async fn tenant(engine: &Engine, tenant: &Tenant) {
    if !tenant.is_active() {
        return;
    }
    let on_host = |kind: &Kind| kind.is_translated() || kind.is_shown();
    for kind in tenant.context.kinds().filter(on_host) {
        if let Err(error) = list_host(engine, tenant, kind, Purpose::Check).await {
            tracing::warn!(tenant = %tenant.id, %kind, %error, "scan of this kind is broken off");
            if matches!(error, Failure::Later { reached: false, .. }) {
                // The others would wait for the same deadline.
                return;
            }
        }
    }
    if let Err(error) = seek_hidden(engine, tenant).await {
        tracing::warn!(tenant = %tenant.id, %error, "objects without labels are looked for later");
    }
    if let Err(error) = tenant.renew_variables().await {
        tracing::warn!(tenant = %tenant.id, %error, "environment cannot be checked");
    }
    tenant.add_all(Lane::Scan);
}

/// Has every host object of ours looked at that nothing is known of, once per stay: whose labels were taken off while
/// nobody looked is in no list by labels, and is nobody's any more if its virtual object is gone.
async fn seek_hidden(engine: &Engine, tenant: &Tenant) -> Result<(), Failure> {
    if tenant.has_sought_hidden() {
        return Ok(());
    }
    let mut sought = Ok(());
    for kind in tenant.context.kinds().filter(|kind| kind.is_translated()) {
        match seek_hidden_of(engine, tenant, kind).await {
            // It is not served.
            Ok(()) | Err(Failure::Gone) => {}
            Err(failure @ Failure::Later { reached: false, .. }) => return Err(failure),
            Err(failure) => sought = Err(failure),
        }
    }
    if sought.is_ok() {
        tenant.set_sought_hidden();
    }
    sought
}

async fn seek_hidden_of(engine: &Engine, tenant: &Tenant, kind: Kind) -> Result<(), Failure> {
    let mut next = None;
    loop {
        let page = tenant.list_unlabelled_page(kind, next.as_deref()).await;
        let (page, following) = page?;
        for object in page {
            let object = object.into_object();
            let is_token = kind == Kind::Secret && tenant.see_tokens(&object, engine.clock.now());
            if is_token && let Some(pod) = pod_of(tenant, &object) {
                tenant.tokens.renew_now(&pod);
            }
            if is_token || tenant.take_hidden(kind, &object) {
                engine.metrics.found(Found::Orphan);
            }
        }
        next = following;
        if next.is_none() {
            return Ok(());
        }
    }
}

/// Lists a kind in the host namespace and takes note of what is there.
pub async fn list_host(
    engine: &Engine,
    tenant: &Tenant,
    kind: Kind,
    purpose: Purpose,
) -> Result<(), Failure> {
    let list = match purpose {
        Purpose::First => Some(tenant.state().begin_list(Side::Host, kind)),
        Purpose::Check => tenant.state().begin_check(Side::Host, kind),
    };
    let Some(list) = list else {
        return Ok(());
    };
    let listed = pages(engine, tenant, kind, purpose, list).await;
    if listed.is_err() {
        tenant.state().abandon_list(Side::Host, kind, list);
    }
    listed
}

async fn pages(
    engine: &Engine,
    tenant: &Tenant,
    kind: Kind,
    purpose: Purpose,
    list: ListId,
) -> Result<(), Failure> {
    let mut tokens: HashSet<Name> = HashSet::default();
    let mut next = None;
    loop {
        let is_known = |object: &Object| tenant.state().listed_again(kind, object).is_some();
        let (page, following) = match tenant.list_page(kind, next.as_deref(), &is_known).await {
            Err(Failure::Gone) => {
                tenant.unserved(Side::Host, kind);
                return Ok(());
            }
            page => page?,
        };
        for listed in page {
            let object = match listed {
                Listed::Known(object) => {
                    tenant.see_again(kind, &object);
                    continue;
                }
                Listed::New(object) => object,
            };
            if kind == Kind::ConfigMap && purpose == Purpose::Check {
                // That says nothing of the others.
                if let Err(error) = tenant.drop_links(&object).await {
                    tracing::warn!(tenant = %tenant.id, %error, "variables of a namespace that is gone stay");
                }
            }
            if kind == Kind::Secret && tenant.see_tokens(&object, engine.clock.now()) {
                tokens.extend(pod_of(tenant, &object));
                continue;
            }
            if kind.is_shown() {
                tenant.see_shown(kind, &object, Lane::List);
                continue;
            }
            compare(engine, tenant, kind, &object, purpose);
            tenant.see_host(kind, &object, Lane::List);
        }
        next = following;
        if next.is_none() {
            break;
        }
    }
    if kind == Kind::Secret {
        tenant.tokens.keep(&tokens);
    }
    let missing = tenant.end_list(Side::Host, kind, list);
    if purpose == Purpose::Check && !is_watched(kind) {
        for _ in 0..missing {
            engine.metrics.found(Found::Missing);
        }
    }
    Ok(())
}

fn pod_of(tenant: &Tenant, secret: &Object) -> Option<Name> {
    let owner = owner::of_ours(secret.json(), &tenant.context)?;
    Some(Name::new(&owner.namespace, &owner.name))
}

/// Whether the host's changes of it are told, so that a check may merely be earlier.
fn is_watched(kind: Kind) -> bool {
    match kind.description().outside {
        Outside::Translated | Outside::Everything { .. } | Outside::Shown => true,
        Outside::Scanned | Outside::Nothing => false,
    }
}

/// Counts what a check finds that nobody told of.
fn compare(engine: &Engine, tenant: &Tenant, kind: Kind, object: &Object, purpose: Purpose) {
    if purpose == Purpose::First || is_watched(kind) {
        return;
    }
    let Some(owner) = owner::of_ours(object.json(), &tenant.context) else {
        return;
    };
    let key = crate::object::Key::new(kind, &owner.namespace, &owner.name);
    let seen = tenant.state().entry(&key).host.seen;
    match seen {
        None => engine.metrics.found(Found::Orphan),
        Some(seen) if seen.version != object.version() => engine.metrics.found(Found::Drift),
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, status};

    #[tokio::test(start_paused = true)]
    async fn a_kind_whose_list_breaks_off_keeps_neither_the_others_nor_the_next_scan() {
        let world = World::new().await;
        for code in [403, 410] {
            world.host.script(move |call| {
                let broken = call.method == "GET" && call.path.ends_with("/services");
                broken.then(|| status(code, "No"))
            });
            tenant(&world.engine, &world.tenant).await;
            let calls = world.calls();
            for plural in ["services", "secrets", "ingresses"] {
                let listed = calls.iter().filter(|call| call.ends_with(plural)).count();
                assert_eq!(listed, 2, "with labels and without: {plural}: {calls:?}");
            }
        }
        assert!(world.tenant.state().is_served(Side::Host, Kind::Service));
        world.host.script(|_call| Some(status(404, "NotFound")));
        tenant(&world.engine, &world.tenant).await;
        assert!(!world.tenant.state().is_served(Side::Host, Kind::Service));
    }
}
