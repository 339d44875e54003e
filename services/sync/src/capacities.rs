//! Keeps CSIStorageCapacities inside, where the host's administrator shares how much room its storage has left.
//!
//! The host's are watched once for all tenants, and only where they are shared; without that sync has no right to read
//! them, and takes away what an earlier setting showed. Each tenant is looked at every half minute, because what it is
//! shown follows from its classes and nodes too, and drivers tell of their room no oftener. Nothing of them is written to the host.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Api;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use vcluster_resources::sync_policy::Selector;
use vcluster_translate::mapping::Step;
use vcluster_translate::own_class::{self, Class};
use vcluster_translate::{class, policy, storage_capacity};

use crate::apply::Failure;
use crate::engine::Engine;
use crate::hash::HashMap;
use crate::managed;
use crate::metrics::Watched;
use crate::object::{Kind, Name, Object, Side, resource};
use crate::tenant::Tenant;
use crate::watch::{Change, Selection, follow};

const KIND: Kind = Kind::CSIStorageCapacity;
/// How often a tenant is looked at.
const PAUSE: Duration = Duration::from_secs(30);
/// After so many looks what is inside is listed again, whatever was written last.
const LOOKS: u32 = 20;
/// Objects per page of a list.
const PAGE: usize = 200;
/// Everything.
const ALL: Selection = Selection {
    labels: None,
    fields: None,
};

/// What is known of the host's.
#[derive(Debug, Default)]
pub struct Capacities(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By namespace and name on the host.
    all: BTreeMap<Name, Capacity>,
    /// Whether these are all.
    listed: bool,
}

#[derive(Debug, Clone)]
struct Capacity {
    host: Arc<Value>,
    topology: Option<Selector>,
}

impl Capacities {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything: a new term begins.
    pub fn forget(&self) {
        *self.known() = Known::default();
    }

    fn set(&self, object: Object) {
        let name = object.name();
        let host = object.of_kind(KIND).shared();
        let topology = storage_capacity::topology(&host);
        self.known().all.insert(name, Capacity { host, topology });
    }

    /// All of them; nothing while they are not all known.
    fn all(&self) -> Option<Vec<Capacity>> {
        let known = self.known();
        known.listed.then(|| known.all.values().cloned().collect())
    }
}

/// Follows the host's until the token is cancelled.
pub async fn watch(engine: Arc<Engine>, token: CancellationToken) {
    let api = Api::all_with(engine.host.own.watch.clone(), &resource(KIND));
    let mut listed: BTreeSet<Name> = BTreeSet::new();
    let sink = move |change| match change {
        Change::Begin => {
            engine.capacities.known().listed = false;
            listed.clear();
        }
        Change::Listed(object) => {
            listed.insert(object.name());
            engine.capacities.set(object);
        }
        Change::End => {
            let mut known = engine.capacities.known();
            known.all.retain(|name, _| listed.contains(name));
            known.listed = true;
        }
        Change::Applied(object) => engine.capacities.set(object),
        Change::Deleted(object) => {
            engine.capacities.known().all.remove(&object.name());
        }
        // That a server does not serve a kind says nothing of its objects.
        Change::Unserved => {}
        Change::Failed(error) => {
            tracing::warn!(kind = %KIND, %error, "host objects cannot be followed");
            engine.metrics.watch_failed(Watched::Host(KIND));
        }
    };
    follow(api, ALL, token, sink).await;
}

/// One that a tenant is shown, and the name that its class has inside.
type Shown = (Arc<Value>, String);

/// Keeps those of a tenant until its token is cancelled, or, where none is shared, until none is left.
pub async fn keep(engine: Arc<Engine>, tenant: Arc<Tenant>) {
    let token = tenant.token.clone();
    let is_shared = engine.config.storage_capacities;
    let kept = async {
        let (mut last, mut looks) = (None, 0);
        let mut said = Ok(());
        loop {
            if tenant.is_active()
                && let Some(shown) = shown(&engine, &tenant, is_shared)
            {
                let now = digest(&shown);
                if last != Some(now) || looks >= LOOKS {
                    let done = bring(&tenant, &shown).await;
                    (last, looks) = (done.is_ok().then_some(now), 0);
                    if let Err(why) = &done
                        && said != done
                    {
                        tracing::warn!(tenant = %tenant.id, why, "capacities of storage are shown later");
                    }
                    said = done;
                }
                looks += 1;
            }
            if !is_shared && last.is_some() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    token.run_until_cancelled(kept).await;
}

/// What a tenant is shown; nothing while that is not known.
fn shown(engine: &Engine, tenant: &Tenant, is_shared: bool) -> Option<Vec<Shown>> {
    if !is_shared {
        return Some(Vec::new());
    }
    if !engine.is_listed(Kind::StorageClass) || !engine.is_listed(Kind::Node) {
        return None;
    }
    let all = engine.capacities.all()?;
    let nodes = policy::narrows_nodes(&tenant.context).then(|| nodes(engine, tenant));
    let reached = |topology: &Selector| match &nodes {
        Some(nodes) => nodes
            .iter()
            .any(|node| storage_capacity::is_about(topology, node)),
        None => true,
    };
    let mut classes: HashMap<String, Option<String>> = HashMap::default();
    let found = all.into_iter().filter_map(|capacity| {
        let of = storage_capacity::class(&capacity.host)?;
        let inside = classes
            .entry(of.to_owned())
            .or_insert_with(|| class_inside(engine, tenant, of));
        let inside = inside.clone()?;
        let topology = capacity.topology.as_ref()?;
        reached(topology).then_some((capacity.host, inside))
    });
    Some(found.collect())
}

/// The host's nodes that a tenant is shown.
fn nodes(engine: &Engine, tenant: &Tenant) -> Vec<Arc<Value>> {
    let names = engine.mirrored_names(Kind::Node);
    let found = names.iter().filter_map(|name| engine.node(name));
    let is_shown = |node: &Arc<Value>| {
        let name = node["metadata"]["name"].as_str().unwrap_or_default();
        let used = tenant.state().nodes.is_used(name);
        policy::shows_node(node, used, &tenant.context)
    };
    found.filter(is_shown).collect()
}

/// What a class of the host is called inside; nothing if the tenant is not shown it.
fn class_inside(engine: &Engine, tenant: &Tenant, name: &str) -> Option<String> {
    let of = Class::Storage;
    if own_class::is_host_name(of.kind(), name) {
        let host = engine.mirrored(of.kind(), name);
        let own = own_class::named_inside(of, name, host.as_deref(), &tenant.context);
        return own.map(str::to_owned);
    }
    match engine.class_standing(tenant, of.kind(), name) {
        class::Standing::Shown => Some(name.to_owned()),
        class::Standing::Hidden | class::Standing::Absent => None,
    }
}

/// Tells whether something is to be done without making what is wanted: of an object its version says enough.
fn digest(shown: &[Shown]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (host, class) in shown {
        let metadata = &host["metadata"];
        (
            metadata["uid"].as_str(),
            metadata["resourceVersion"].as_str(),
            class,
        )
            .hash(&mut hasher);
    }
    hasher.finish()
}

/// Brings what is inside up to what is shown.
///
/// # Errors
/// What keeps the first that cannot be brought; the others are brought all the same.
async fn bring(tenant: &Tenant, shown: &[Shown]) -> Result<(), String> {
    let wanted = shown.iter().filter_map(|(host, class)| {
        let object = storage_capacity::inside(host, class, &tenant.context)?;
        Some((storage_capacity::name(host)?, object))
    });
    let mut wanted: BTreeMap<String, Value> = wanted.collect();
    let mut anew = BTreeMap::new();
    let mut done = Ok(());
    let mut next = None;
    loop {
        let namespace = storage_capacity::NAMESPACE;
        let (page, following) =
            managed::page(tenant, KIND, namespace, PAGE, next.as_deref()).await?;
        for found in page {
            let name = found.name().name;
            let wanted = wanted.remove_entry(&*name);
            let object = wanted.as_ref().map(|(_, object)| object);
            let step = storage_capacity::step(object, Some(found.json()), &tenant.context);
            if let (Step::Delete(_), Some((name, object))) = (&step, wanted) {
                anew.insert(name, object);
            }
            done = done.and(write(tenant, &name, step).await);
        }
        next = following;
        if next.is_none() {
            break;
        }
    }
    for (name, object) in wanted.into_iter().chain(anew) {
        let step = storage_capacity::step(Some(&object), None, &tenant.context);
        done = done.and(write(tenant, &name, step).await);
    }
    done
}

async fn write(tenant: &Tenant, name: &str, step: Step) -> Result<(), String> {
    let name = Name::new(storage_capacity::NAMESPACE, name);
    let done = match step {
        Step::Nothing => Ok(()),
        Step::Create(object) => tenant.create(Side::Virtual, KIND, &object).await.map(drop),
        Step::Patch(patch) => tenant
            .patch(Side::Virtual, KIND, &name, &patch)
            .await
            .map(drop),
        Step::Delete(delete) => tenant
            .delete(Side::Virtual, KIND, &name, &delete)
            .await
            .map(drop),
    };
    match done {
        // The tenant has one of that name, which stays; the next list shows whether it goes.
        Ok(()) | Err(Failure::Exists | Failure::Gone) => Ok(()),
        Err(failure) => Err(format!("{}: {failure}", name.name)),
    }
}

#[cfg(test)]
mod tests;
