//! What holds data on the host and is missing from a store that a person has accepted: it is kept, and told of.
//!
//! Nobody deleted it: the store never knew of it, or forgot. So in the stay in which a store is trusted without being
//! known, a claim, a snapshot or a custom resource is deleted on the host only if its virtual object was seen and then gone. The
//! others get an annotation that keeps them from then on, until the virtual object is there again, or the host's
//! administrator deletes them or hands them over. Everything else can be made again and is removed as always.

use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};

use serde_json::{Value, json};
use vcluster_resources::label::{KEPT, KEPT_VALUE, VIRTUAL_UID};
use vcluster_translate::owner;
use vcluster_translate::patch::Format;
use vcluster_translate::plan::{Cause, Delete};
use vcluster_translate::refusal::Reason;
use vcluster_translate::{Patch, Refusal};

use super::report::Trouble;
use super::{Next, Step};
use crate::apply::Failure;
use crate::engine::Engine;
use crate::guard::{self, Guard};
use crate::object::{Key, Kind, Object, Side};
use crate::tenant::Tenant;

/// Whether what an object of that kind holds on the host cannot be made again from the virtual one.
fn holds_data(kind: Kind) -> bool {
    matches!(kind, Kind::PersistentVolumeClaim | Kind::VolumeSnapshot)
        || (kind.custom().is_some() && kind.is_translated())
}

fn is_marked(host: &Value) -> bool {
    let mark = host.pointer("/metadata/annotations");
    mark.and_then(|all| all.get(KEPT)).is_some()
}

/// UID of the virtual object for which a host object was made.
fn made_for(host: &Value) -> Option<&str> {
    host.pointer("/metadata/annotations")?
        .get(VIRTUAL_UID)?
        .as_str()
}

/// A step about an object that is kept; nothing if it is like every other.
pub(super) async fn step(
    engine: &Engine,
    tenant: &Tenant,
    key: &Key,
) -> Result<Option<Step>, Failure> {
    if !tenant.kept().contains(key) {
        return Ok(None);
    }
    let host = tenant.see(Side::Host, key).await?;
    let Some(host) = host.filter(|host| is_marked(host)) else {
        tenant.kept().remove(key);
        tenant.notify();
        return Ok(None);
    };
    let Some(object) = tenant.see(Side::Virtual, key).await? else {
        tenant.come_to_rest(key);
        return Ok(Some(Step::Done(Next::Settled)));
    };
    if object.pointer("/metadata/uid").and_then(Value::as_str) == made_for(&host) {
        // It is there again, or was given what is on the host.
        let patch = annotate(&host, &Value::Null);
        return tenant.change(Side::Host, key, &patch).await.map(Some);
    }
    let name = host.pointer("/metadata/name").and_then(Value::as_str);
    let refusal = Refusal {
        reason: Reason::NameTaken,
        field: "metadata.name".to_owned(),
        message: format!(
            "the data of an earlier object of that name is kept on the host, in {} {:?}: use another name, or ask the \
             host's administrator to delete it or to hand it over to this one",
            key.kind.as_str(),
            name.unwrap_or_default(),
        ),
    };
    let trouble = Trouble::passing(refusal);
    Ok(Some(tenant.park(engine, key, Some(&object), trouble).await))
}

fn annotate(host: &Value, value: &Value) -> Patch {
    Patch {
        subresource: None,
        format: Format::Merge,
        body: json!({"metadata": {"uid": host["metadata"]["uid"], "annotations": {KEPT: value}}}),
    }
}

impl Tenant {
    /// Makes sure that a virtual object whose place another one of its name has taken is gone: another store, of which its
    /// other lists have not told yet, may hold such a one too. Where its end was told, nobody is asked.
    pub(super) async fn confirm_end(&self, key: &Key, delete: &Delete) -> Result<(), Failure> {
        let is_followed = self.state().entry(key).virtual_.seen.is_some();
        if delete.cause != Cause::Orphan || !is_followed || !guard::stands(Guard::StoreIsConfirmed)
        {
            return Ok(());
        }
        let host = self.see(Side::Host, key).await?;
        let uid = host.as_deref().and_then(made_for);
        if uid.is_some_and(|uid| self.state().has_ended(uid)) {
            return Ok(());
        }
        self.confirm_store().await
    }

    /// Keeps what is to be deleted on the host, if it holds data and nobody has deleted it inside; true if so.
    pub(super) async fn keep_instead(&self, key: &Key, delete: &Delete) -> Result<bool, Failure> {
        let may_hold = self.accepts_store() && holds_data(key.kind);
        if !may_hold || delete.cause != Cause::Orphan || !guard::stands(Guard::DataIsKept) {
            return Ok(false);
        }
        let host = self.see(Side::Host, key).await?;
        let Some(host) = host.filter(|host| owner::of_ours(host, &self.context).is_some()) else {
            return Ok(false);
        };
        if made_for(&host).is_some_and(|uid| self.state().has_ended(uid)) {
            return Ok(false);
        }
        tracing::warn!(tenant = %self.id, %key, "kept on the host: the accepted store lacks it");
        self.patched(Side::Host, key, &annotate(&host, &Value::from(KEPT_VALUE)))
            .await?;
        Ok(true)
    }

    /// Keeps everything that holds data and that the store lacks, and only then has the host remember the store: were
    /// this broken off, the next stay would begin with it again.
    pub async fn vouch_for_store(&self) -> Result<(), Failure> {
        let keys: Vec<_> = {
            let state = self.state();
            let on_host = |key: &&Key| holds_data(key.kind) && state.entry(key).host.seen.is_some();
            state.all_keys().filter(on_host).cloned().collect()
        };
        for key in keys {
            let Some(host) = self.see(Side::Host, &key).await? else {
                continue;
            };
            let object = self.see(Side::Virtual, &key).await?;
            let uid = object
                .as_ref()
                .and_then(|object| object.pointer("/metadata/uid"));
            if is_marked(&host) || uid.and_then(Value::as_str) == made_for(&host) {
                continue;
            }
            let uid = host["metadata"]["uid"].as_str().unwrap_or_default();
            let delete = Delete {
                uid: uid.to_owned(),
                grace_seconds: None,
                cause: Cause::Orphan,
            };
            self.keep_instead(&key, &delete).await?;
        }
        self.set_vouched(true);
        let remembered = self.remember_store().await;
        self.set_vouched(remembered.is_ok());
        remembered
    }

    /// Takes note of whether a host object of ours is kept.
    pub(crate) fn note_kept(&self, key: &Key, host: &Object) {
        if !holds_data(key.kind) {
            return;
        }
        let is_news = if is_marked(host.json()) {
            self.kept().insert(key.clone())
        } else {
            self.kept().remove(key)
        };
        if is_news {
            self.notify();
        }
    }

    /// What is kept, in words; nothing if nothing is.
    pub fn kept_said(&self) -> Option<String> {
        const NAMED: usize = 10;
        let kept = self.kept();
        let names: Vec<_> = kept.iter().take(NAMED).map(Key::to_string).collect();
        let more = match kept.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (!names.is_empty()).then(|| format!("{}{more}", names.join(", ")))
    }

    fn kept(&self) -> MutexGuard<'_, BTreeSet<Key>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
