//! The brake on writes that do not last.
//!
//! What a server took, and what is to be written to the same object again a moment later, word for word, was changed
//! back: by a webhook, by a controller, or by an older server that leaves a field out. Written again at once, it would be
//! written for ever, as fast as both sides can. So the very same patch follows itself only after [`AGAIN`], whatever was
//! seen in between. Another patch is not held up, and has the one before it forgotten: what goes to and fro is followed.
//! An object that can only be replaced is replaced once for the same content: after that it is left as its server has it,
//! until that is deleted or other content is wanted.
//!
//! Neither decides what is written nor writes. What it remembers is a tenant's, ends with the stay, and is a fingerprint
//! for each patch of the last minute or so, and for each object that was replaced and is still wanted.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use vcluster_translate::Patch;
use vcluster_translate::digest::Digest;
use vcluster_translate::patch::Subresource;

use crate::apply::Failure;
use crate::hash::HashMap;
use crate::object::{Kind, Name, Object, Side};
use crate::tenant::Tenant;

/// The time after which the same patch may be written again.
pub const AGAIN: Duration = Duration::from_mins(1);

/// What a tenant's servers took of late.
#[derive(Debug, Default)]
pub struct Brake(Mutex<Taken>);

/// An object on one side.
type Place = (Side, Kind, Name);

#[derive(Debug, Default)]
struct Taken {
    /// The last patch of each part of an object.
    patches: HashMap<(Place, Option<Subresource>), Sent>,
    /// When those that are over were last taken out.
    swept: Option<Instant>,
    /// The content for which an object was last replaced, or which a new one did not get.
    replaced: HashMap<Place, Digest>,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    body: Digest,
    at: Instant,
}

impl Brake {
    /// When the patch may be written, if not now.
    fn holds(&self, side: Side, kind: Kind, name: &Name, patch: &Patch) -> Option<Instant> {
        let at = ((side, kind, name.clone()), patch.subresource);
        let sent = self.taken().patches.get(&at).copied()?;
        let again = sent.at + AGAIN;
        (Instant::now() < again && sent.body == Digest::of(&patch.body)).then_some(again)
    }

    /// Takes note of a patch that a server took.
    pub fn took(&self, side: Side, kind: Kind, name: &Name, patch: &Patch) {
        let (body, at) = (Digest::of(&patch.body), Instant::now());
        let mut taken = self.taken();
        if taken.swept.is_none_or(|swept| swept + AGAIN <= at) {
            taken.patches.retain(|_, sent| at < sent.at + AGAIN);
            taken.patches.shrink_to_fit();
            taken.swept = Some(at);
        }
        let place = (side, kind, name.clone());
        taken
            .patches
            .insert((place, patch.subresource), Sent { body, at });
    }

    /// Forgets the patches of an object: another of ours has written it.
    pub fn forget(&self, side: Side, kind: Kind, name: &Name) {
        let place = (side, kind, name.clone());
        self.taken().patches.remove(&(place, None));
    }

    /// Whether the object is not to be replaced for the sake of this content.
    fn was_replaced(&self, side: Side, kind: Kind, name: &Name, wanted: &Value) -> bool {
        let place = (side, kind, name.clone());
        let replaced = self.taken().replaced.get(&place).copied();
        replaced == Some(Digest::of(wanted))
    }

    /// Takes note that the object was replaced for the sake of this content, or made and did not get it.
    pub fn replaced(&self, side: Side, kind: Kind, name: &Name, wanted: &Value) {
        let place = (side, kind, name.clone());
        self.taken().replaced.insert(place, Digest::of(wanted));
    }

    /// The object is not wanted any more.
    pub fn release(&self, side: Side, kind: Kind, name: &Name) {
        let place = (side, kind, name.clone());
        self.taken().replaced.remove(&place);
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tenant {
    /// Whether a patch may be written now; counts those that may not.
    ///
    /// # Errors
    /// [`Failure::NotKept`]: the server took the same less than [`AGAIN`] ago.
    pub fn may_patch(
        &self,
        side: Side,
        kind: Kind,
        name: &Name,
        patch: &Patch,
    ) -> Result<(), Failure> {
        let Some(again) = self.brake.holds(side, kind, name, patch) else {
            return Ok(());
        };
        self.metrics.not_kept(side, kind);
        Err(Failure::NotKept { again })
    }

    /// Whether an object may be deleted to be made anew as it is `wanted`: not again for the same content, and not where
    /// it has just been `made`. Counts those that may not.
    pub fn may_replace(
        &self,
        side: Side,
        kind: Kind,
        name: &Name,
        wanted: &Value,
        made: bool,
    ) -> bool {
        if !made && !self.brake.was_replaced(side, kind, name, wanted) {
            return true;
        }
        self.brake.replaced(side, kind, name, wanted);
        self.metrics.not_kept(side, kind);
        false
    }

    /// Patches an object. What the server took less than [`AGAIN`] ago is not written again: it did not last.
    ///
    /// # Errors
    /// [`Failure::NotKept`] if so; or the request is not done.
    pub async fn patch_lasting(
        &self,
        side: Side,
        kind: Kind,
        name: &Name,
        patch: &Patch,
    ) -> Result<Object, Failure> {
        self.may_patch(side, kind, name, patch)?;
        let patched = self.patch(side, kind, name, patch).await?;
        self.brake.took(side, kind, name, patch);
        Ok(patched)
    }
}
