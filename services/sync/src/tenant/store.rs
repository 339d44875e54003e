//! Whether the virtual API server still keeps the store whose objects are on the host.
//!
//! A store that was lost comes back empty behind the same address and authority, one that was restored comes back as
//! it was, and in both the complete lists say that something is gone. So before anything is concluded from what is
//! missing, the store is compared with what the ConfigMap [`CONFIG_MAP`] on the host remembers of it. Where they
//! differ, nothing is done for the tenant until a person says which is right. A store that was never remembered is
//! trusted.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use vcluster_translate::Patch;
use vcluster_translate::environment::CONFIG_MAP;
use vcluster_translate::patch::Format;

use super::Tenant;
use crate::apply::Failure;
use crate::guard::{self, Guard};
use crate::object::{Kind, Name, Object, Side};

mod memory;

use memory::{Found, Mark};
pub use memory::{Loss, Memory, STORE_MARK, STORE_ROLLED_BACK, STORE_UID};

/// Every API server makes it as it starts, and lets nobody delete it.
const KUBE_SYSTEM: &str = "kube-system";
/// Pauses before a store is asked again that seems to have gone back: its answer may be older than what a watch told.
const AGAIN: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(1)];

/// The store is not what it was, and what a person can do.
#[derive(Debug, thiserror::Error)]
#[error(
    "the virtual cluster's store {loss}. Nothing is changed or deleted on the host. Put the right store back, or keep \
     this one, and then say so: kubectl -n {namespace} annotate configmap {CONFIG_MAP} {STORE_UID}- (what the store \
     lacks is removed from the host then, except claims, snapshots and custom resources, which are kept and named here)"
)]
pub struct Lost {
    /// How it differs.
    pub loss: Loss,
    namespace: String,
}

/// The store cannot be told to be the one that is remembered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// It cannot be asked.
    #[error("the virtual cluster's store cannot be recognized")]
    Unknown(#[from] Failure),
}

impl Tenant {
    /// Makes sure that the store is the one that is remembered, before anything is concluded from its lists.
    pub async fn recognize_store(&self) -> Result<(), Error> {
        let found = self.find_store().await?;
        let config_map = Name::new(self.context.host_namespace.as_str(), CONFIG_MAP);
        let kept = self
            .read(Side::Host, Kind::ConfigMap, &config_map)
            .await?
            .filter(|kept| self.made(kept.json()));
        let mut memory = kept.as_ref().map(Memory::of).unwrap_or_default();
        let judged = memory.judge(&found, 0);
        if let Err(loss) = judged
            && guard::stands(Guard::StoreIsRecognized)
        {
            return Err(self.lost(loss).into());
        }
        let is_known = memory.uid.is_some();
        self.accepts_store.store(!is_known, Ordering::Release);
        self.vouched.store(is_known, Ordering::Release);
        memory.uid.get_or_insert(found.uid);
        *self.memory() = memory;
        Ok(())
    }

    /// Makes sure that what was not found is gone, rather than the store that held it, or the time when it did. After a
    /// failure it is to be read again.
    pub async fn confirm_store(&self) -> Result<(), Failure> {
        if self.memory().uid.is_none() {
            return Ok(());
        }
        let mut pauses = AGAIN.into_iter();
        let mut wavered = false;
        loop {
            // Before the answer: what is seen meanwhile may be newer.
            let newest = self.state().newest();
            let found = self.find_store().await?;
            let judged = self.memory().judge(&found, newest);
            let Err(loss) = judged else {
                if guard::passes(Guard::OneStateAnswers, !wavered) {
                    return Ok(());
                }
                return Err(self.waver());
            };
            wavered = true;
            // A version may be of a cache that lags behind. Another UID never is: even if the right store is back in a
            // moment, what was not found was asked of the wrong one.
            let pause = match loss {
                Loss::Replaced { .. } if guard::stands(Guard::LossIsFinal) => None,
                Loss::Replaced { .. } | Loss::RolledBack { .. } => pauses.next(),
            };
            let Some(pause) = pause else {
                self.lose_store(loss);
                return Err(later("the virtual cluster's store was lost or put back"));
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Marks where the store stands, in it and on the host, if it holds something newer than the last mark.
    pub async fn mark_store(&self) -> Result<(), Failure> {
        let before = self.memory().mark.clone();
        let marked = before.as_ref().map_or(0, Mark::version);
        if self.state().newest_translated() <= marked || !self.is_vouched() {
            return Ok(());
        }
        self.confirm_store().await?;
        let found = self.find_store().await?;
        let Some(version) = found.version else {
            return Ok(());
        };
        let mark = Mark::after(before.as_ref(), version);
        // Inside first: a note on the host of a mark that the store lacks would be evidence against it.
        let body =
            json!({"metadata": {"uid": found.uid, "annotations": {STORE_MARK: mark.to_string()}}});
        let patch = Patch {
            subresource: None,
            format: Format::Merge,
            body,
        };
        let system = Name::new("", KUBE_SYSTEM);
        self.patch(Side::Virtual, Kind::Namespace, &system, &patch)
            .await?;
        self.memory().mark = Some(mark);
        self.remember_store().await
    }

    /// Writes what is known of the store to the host, where it is not written yet.
    pub async fn remember_store(&self) -> Result<(), Failure> {
        self.doubt_environment().await;
        self.ensure_environment().await
    }

    /// Takes note of a namespace: it may say that the store is another one.
    pub(super) fn see_store(&self, name: &Name, object: &Object) {
        if *name.name != *KUBE_SYSTEM {
            return;
        }
        let known = self.memory().uid.clone();
        if let Some(known) = known.filter(|known| *known != object.uid()) {
            let found = object.uid().to_owned();
            self.lose_store(Loss::Replaced { known, found });
        }
    }

    /// Whether the store was seen to be another one, or itself at an earlier time. The tenant's stay is over then.
    pub fn has_lost_its_store(&self) -> bool {
        self.store_lost.load(Ordering::Acquire)
    }

    /// How the store was seen to be another one, or itself at an earlier time.
    pub fn store_loss(&self) -> Option<Lost> {
        let loss = self.loss.lock().unwrap_or_else(PoisonError::into_inner);
        loss.clone().map(|loss| self.lost(loss))
    }

    /// Whether this stay began with a store that was trusted without being known: a new virtual cluster's, or one
    /// that a person has accepted.
    pub fn accepts_store(&self) -> bool {
        self.accepts_store.load(Ordering::Acquire)
    }

    /// Whether the host may remember the store.
    pub fn is_vouched(&self) -> bool {
        self.vouched.load(Ordering::Acquire)
    }

    /// Says whether everything is kept that the store lacks and that must be kept.
    pub(crate) fn set_vouched(&self, vouched: bool) {
        self.vouched.store(vouched, Ordering::Release);
    }

    /// What the ConfigMap is to say of the store; nothing before it is recognized and vouched for.
    pub(super) fn store_annotations(&self) -> Option<Value> {
        let memory = self.memory();
        let is_known = memory.uid.is_some() && self.is_vouched();
        is_known.then(|| memory.annotations())
    }

    /// Whether the host remembers another store than the one that was recognized.
    pub(super) fn is_of_another_store(&self, kept: &Object) -> bool {
        let (kept, memory) = (Memory::of(kept), self.memory());
        kept.uid.is_some() && memory.uid.is_some() && kept.uid != memory.uid
    }

    /// Ends the stay: lists and watches may be of the other state, and would be deaf in this one.
    fn waver(&self) -> Failure {
        if !self.store_wavered.swap(true, Ordering::AcqRel) {
            tracing::warn!(tenant = %self.id, "an older state of the virtual cluster's store answered: all is listed anew");
        }
        self.token.cancel();
        later(
            "an older state of the virtual cluster's store answered for a moment: all is listed anew",
        )
    }

    /// Whether the stay has ended because an older state of the store answered for a moment.
    pub fn has_wavered(&self) -> bool {
        self.store_wavered.load(Ordering::Acquire)
    }

    fn lose_store(&self, loss: Loss) {
        if let Loss::RolledBack { evidence } = &loss {
            self.memory().rolled_back = Some(evidence.clone());
        }
        if !self.store_lost.swap(true, Ordering::AcqRel) {
            tracing::error!(tenant = %self.id, %loss, "the virtual cluster's store is not what it was: frozen");
            let mut place = self.loss.lock().unwrap_or_else(PoisonError::into_inner);
            *place = Some(loss);
        }
        self.notify();
    }

    fn lost(&self, loss: Loss) -> Lost {
        let namespace = self.id.namespace.clone();
        Lost { loss, namespace }
    }

    async fn find_store(&self) -> Result<Found, Failure> {
        let list = self.list_store().await?;
        memory::found(&list).ok_or_else(|| later("its namespace kube-system is not there yet"))
    }
}

fn later(message: &str) -> Failure {
    Failure::Later {
        message: message.to_owned(),
        after: None,
        reached: true,
    }
}
