//! Whether the virtual API server still keeps the store whose objects are on the host.
//!
//! A store that was lost comes back empty behind the same address and authority, and its complete lists say that
//! everything is gone. It is known by the UID of its namespace `kube-system`, which the ConfigMap [`CONFIG_MAP`]
//! on the host remembers as an annotation. Where that differs, nothing is done for the tenant until a person
//! says which is right. A store that was never remembered is trusted.

use std::sync::atomic::Ordering;

use vcluster_translate::environment::CONFIG_MAP;

use super::Tenant;
use crate::apply::Failure;
use crate::object::{Kind, Name, Object, Side};

/// Annotation of the ConfigMap: UID of the store's `kube-system`.
pub const STORE_UID: &str = "vcluster.dev/store-uid";
/// Every API server makes it as it starts, and lets nobody delete it.
const KUBE_SYSTEM: &str = "kube-system";

/// The store cannot be told to be the one that is remembered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is another one.
    #[error(
        "the virtual cluster's store was emptied or replaced: the UID of its namespace {KUBE_SYSTEM} was {known} and \
         is {found}. Nothing is changed or deleted on the host. Restore the store that was lost; or, to go on with \
         this one and have everything removed from the host that is not in it, remove the annotation {STORE_UID} \
         from the ConfigMap {config_map}"
    )]
    Another {
        /// What is remembered.
        known: String,
        /// What is there.
        found: String,
        /// Where it is remembered.
        config_map: Name,
    },
    /// It cannot be asked.
    #[error("the virtual cluster's store cannot be recognized")]
    Unknown(#[from] Failure),
}

impl Tenant {
    /// Makes sure that the store is the one that is remembered, before anything is concluded from its lists.
    pub async fn recognize_store(&self) -> Result<(), Error> {
        let found = self.store_uid().await?;
        let config_map = Name::new(self.context.host_namespace.as_str(), CONFIG_MAP);
        let kept = self
            .read(Side::Host, Kind::ConfigMap, &config_map)
            .await?
            .filter(|kept| self.made(kept.json()));
        if let Some(known) = kept.as_ref().and_then(|kept| kept.annotation(STORE_UID))
            && known != found
        {
            return Err(Error::Another {
                known: known.to_owned(),
                found,
                config_map,
            });
        }
        self.store.get_or_init(|| found);
        Ok(())
    }

    /// Makes sure that what was not found is gone, rather than the store that held it.
    pub async fn confirm_store(&self) -> Result<(), Failure> {
        let Some(known) = self.store.get() else {
            return Ok(());
        };
        if self.store_uid().await? == *known {
            return Ok(());
        }
        self.freeze_for_store();
        Err(later("the virtual cluster's store was replaced"))
    }

    /// Makes sure that the store has not gone back to its own past, as one does that is restored from an older copy: its
    /// versions count on from there. What is known is not what is there then, and watches would go on at versions
    /// that come a second time. The tenant's stay is over, and the next one begins with lists.
    pub async fn confirm_history(&self) {
        let newest = self.state().newest();
        match self.store_version().await {
            Ok(Some(version)) if version < newest => {
                tracing::warn!(tenant = %self.id, version, newest, "the virtual cluster's store went back in time");
                self.store_lost.store(true, Ordering::Release);
                self.notify();
            }
            Ok(Some(_) | None) => {}
            Err(failure) => {
                tracing::debug!(tenant = %self.id, %failure, "version of the store cannot be read");
            }
        }
    }

    /// Takes note of a namespace: it may say that the store is another one.
    pub(super) fn see_store(&self, name: &Name, object: &Object) {
        let is_another = |known: &String| *known != object.uid();
        if *name.name == *KUBE_SYSTEM && self.store.get().is_some_and(is_another) {
            self.freeze_for_store();
        }
    }

    /// Whether the store was seen to be another one, or itself at an earlier time. The tenant's stay is over then.
    pub fn has_lost_its_store(&self) -> bool {
        self.store_lost.load(Ordering::Acquire)
    }

    fn freeze_for_store(&self) {
        if !self.store_lost.swap(true, Ordering::AcqRel) {
            tracing::error!(tenant = %self.id, "the virtual cluster's store was replaced: frozen");
        }
        self.notify();
    }

    async fn store_uid(&self) -> Result<String, Failure> {
        let name = Name::new("", KUBE_SYSTEM);
        let found = self.read(Side::Virtual, Kind::Namespace, &name).await?;
        let uid = found.map(|found| found.uid().to_owned());
        uid.filter(|uid| !uid.is_empty())
            .ok_or_else(|| later("its namespace kube-system is not there yet"))
    }
}

fn later(message: &str) -> Failure {
    Failure::Later {
        message: message.to_owned(),
        after: None,
        reached: true,
    }
}
