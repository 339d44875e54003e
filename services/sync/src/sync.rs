//! Work on one key: see both sides, ask the plan, do one step, and again until there is nothing to do.
//!
//! The decisions are [`vcluster_translate::plan`]'s. Here they are carried out, and what the answers say
//! goes into the tenant's state. A request that finds another world than was seen (409, 404) makes both sides
//! doubted: they are read before the next step.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use vcluster_translate::Patch;
use vcluster_translate::kind::{Bespoke, Translation};
use vcluster_translate::plan::{Knowledge, Waiting};

use crate::apply::Failure;
use crate::engine::Engine;
use crate::guard::{self, Guard};
use crate::hold::Hold;
use crate::metrics::Found;
use crate::object::{Key, Kind, Name, Object, Side};
use crate::queue::Lane;
use crate::state::Problem;
use crate::tenant::Tenant;

mod events;
mod from_host;
mod kept;
mod made_by_host;
mod nodes;
mod persistent_volume_claims;
mod persistent_volumes;
pub(crate) mod pods;
mod report;
mod shown;
#[cfg(test)]
mod tests;
mod to_host;
mod tokens;

pub use report::Refusals;
pub use tokens::Tokens;

/// Steps in one go; more are the next go's, so that one object does not keep a worker.
const STEPS: usize = 8;
/// When to go on with what has more steps.
const SOON: Duration = Duration::from_millis(100);
/// When to look again at what waits for lists.
const LISTS: Duration = Duration::from_secs(2);
/// When to look again at what waits for others, who mostly tell by an event.
const OTHERS: Duration = Duration::from_secs(30);

/// The most of a refusal that is logged and kept.
const LOGGED: usize = 1024;

/// What becomes of a key.
#[derive(Debug)]
pub enum Next {
    /// Nothing is left to do.
    Settled,
    /// Nothing is left to do until then.
    Until(Instant),
    /// It failed; again later.
    Retry {
        /// Not before this, if the server said so.
        after: Option<Duration>,
        /// Why.
        message: String,
    },
}

/// What became of one step.
enum Step {
    /// Something was done: look again.
    Again,
    /// Nothing to do: it is as it should be.
    Done(Next),
    /// Nothing to do for now, and why it is not as it should be.
    Held(Hold, Next),
}

/// Works on a key until nothing is left to do. Tells also how many steps changed something.
pub async fn key(engine: &Engine, tenant: &Tenant, key: &Key) -> (Next, usize) {
    let done = steps(engine, tenant, key).await;
    tenant.look_at_nodes();
    done
}

async fn steps(engine: &Engine, tenant: &Tenant, key: &Key) -> (Next, usize) {
    let mut doubt = None;
    for done in 0..STEPS {
        if tenant.token.is_cancelled() {
            // Another replica may be about to serve it.
            return (Next::Settled, done);
        }
        let step = match kept::step(engine, tenant, key).await {
            Ok(Some(step)) => Ok(step),
            Ok(None) => by_kind(engine, tenant, key).await,
            Err(failure) => Err(failure),
        };
        match step {
            Ok(Step::Again) => {}
            Ok(Step::Done(next)) => {
                tenant.holds.set(key, None);
                return (next, done);
            }
            Ok(Step::Held(hold, next)) => {
                tenant.holds.set(key, Some(hold));
                return (next, done);
            }
            Err(failure @ (Failure::Gone | Failure::Changed | Failure::Exists)) => {
                if guard::stands(Guard::SurpriseIsDoubted) {
                    tenant.doubt(key);
                }
                doubt = Some(failure);
            }
            Err(failure @ Failure::Later { after, .. }) => {
                tenant.holds.set(key, Some(Hold::failure(&failure)));
                let message = failure.to_string();
                return (Next::Retry { after, message }, done);
            }
            Err(failure @ (Failure::Refused { .. } | Failure::Ours(_))) => {
                tenant.holds.set(key, Some(Hold::failure(&failure)));
                let message = tenant.stuck(key, &failure);
                let after = Some(OTHERS);
                return (Next::Retry { after, message }, done);
            }
            Err(failure @ Failure::NotKept { again }) => {
                tenant.holds.set(key, Some(Hold::failure(&failure)));
                tenant.stuck(key, &failure);
                return (Next::Until(again), done);
            }
        }
    }
    let (hold, next) = match doubt {
        // Reading again did not help: not at once, and later each time.
        Some(failure) => (
            Hold::failure(&failure),
            Next::Retry {
                after: None,
                message: failure.to_string(),
            },
        ),
        None => (
            Hold::waits("MoreSteps", "it is being worked on: more steps are left"),
            Next::Until(Instant::now() + SOON),
        ),
    };
    tenant.holds.set(key, Some(hold));
    (next, STEPS)
}

/// One step by the rules of the object's kind.
async fn by_kind(engine: &Engine, tenant: &Tenant, key: &Key) -> Result<Step, Failure> {
    match &key.kind.description().translation {
        Translation::ToHost(rules) => to_host::step(engine, tenant, key, rules).await,
        Translation::FromHost(rules) => from_host::step(engine, tenant, key, rules).await,
        Translation::Bespoke(rules) => bespoke(engine, tenant, key, *rules).await,
        Translation::ReadOnly => read_only(tenant, key).await,
    }
}

/// One step about an object whose kind has rules of its own.
async fn bespoke(
    engine: &Engine,
    tenant: &Tenant,
    key: &Key,
    rules: Bespoke,
) -> Result<Step, Failure> {
    match rules {
        Bespoke::Pod => pods::step(engine, tenant, key).await,
        Bespoke::Node => nodes::step(engine, tenant, key).await,
        Bespoke::Event => events::step(engine, tenant, key).await,
        Bespoke::PersistentVolumeClaim => persistent_volume_claims::step(engine, tenant, key).await,
        Bespoke::PersistentVolume => persistent_volumes::step(engine, tenant, key).await,
        Bespoke::Shown => shown::step(engine, tenant, key).await,
    }
}

/// One step about an object that is only looked at: where it is not certain to be there, it is read.
async fn read_only(tenant: &Tenant, key: &Key) -> Result<Step, Failure> {
    if tenant.state().entry(key).virtual_.doubted {
        tenant.look(Side::Virtual, key).await?;
    }
    Ok(Step::Done(Next::Settled))
}

/// It waits as the plan says.
fn waits(waiting: &Waiting) -> Step {
    Step::Held(Hold::waiting(waiting), until(waiting))
}

/// When to look again at what waits.
fn until(waiting: &Waiting) -> Next {
    let pause = match waiting {
        Waiting::Lists => LISTS,
        // Both are told by an event of the pod itself.
        Waiting::Gates(_) | Waiting::Claims(_) => return Next::Settled,
        Waiting::Predecessor | Waiting::Termination | Waiting::Volume => OTHERS,
    };
    Next::Until(Instant::now() + pause)
}

fn knowledge(is_complete: bool) -> Knowledge {
    if is_complete {
        Knowledge::Complete
    } else {
        Knowledge::Partial
    }
}

impl Tenant {
    /// The object of that key on one side, as last seen, read where that is not known.
    async fn see(&self, side: Side, key: &Key) -> Result<Option<Arc<Value>>, Failure> {
        let (seen, doubted, body) = {
            let state = self.state();
            let slot = state.entry(key).slot(side).clone();
            (
                slot.seen.is_some(),
                slot.doubted,
                state.bodies.get(side, key),
            )
        };
        match (seen, doubted, body) {
            (false, false, _) => Ok(None),
            (true, false, Some(body)) => Ok(Some(body)),
            (_, true, _) | (true, _, None) => self.look(side, key).await,
        }
    }

    /// What is confidential is not kept in memory longer than it is worked on.
    fn drop_confidential(&self, key: &Key) {
        if key.kind.description().confidential {
            let mut state = self.state();
            state.bodies.drop(Side::Virtual, key);
            state.bodies.drop(Side::Host, key);
        }
    }

    /// Reads the object and takes note of what is there.
    async fn look(&self, side: Side, key: &Key) -> Result<Option<Arc<Value>>, Failure> {
        let name = self.name_on(side, key);
        let known = self.state().uid(side, key);
        let Some(object) = self.read(side, key.kind, &name).await? else {
            if side == Side::Virtual && guard::stands(Guard::StoreIsConfirmed) {
                self.confirm_store().await?;
            }
            if !self.state().missed(side, key, known.as_deref()) {
                return Err(Failure::Changed);
            }
            self.wake_moved();
            self.release_if_gone(key);
            return Ok(None);
        };
        if !self.take_note(side, key, &object) {
            // A stranger has our name. The plan is told of it, the state is not.
            self.state().displaced(side, key, &object);
        }
        Ok(Some(object.shared()))
    }

    /// Looks for a host object that nobody told of: a watch and a list by labels do not show one whose labels
    /// somebody took off. Costs nothing where it is known to be gone.
    async fn find_hidden(&self, key: &Key) -> Result<Option<Arc<Value>>, Failure> {
        let host = self.state().entry(key).host;
        if host.absence.is_some() {
            return Ok(None);
        }
        let found = self.look(Side::Host, key).await?;
        // A stranger of that name is not what was made for this key.
        let is_ours = self.state().entry(key).host.seen.is_some();
        Ok(found.filter(|_| is_ours))
    }

    /// Takes note of what a request answered; false if the object is not of this key.
    fn take_note(&self, side: Side, key: &Key, object: &Object) -> bool {
        if side == Side::Host && !self.is_ours(key, object) {
            return false;
        }
        if side == Side::Host {
            self.note_kept(key, object);
        }
        let mut state = self.state();
        if state.undoubt(side, key) {
            self.metrics.found(Found::False);
        }
        if state.observe(side, key, object) || state.is_current(side, key, object) {
            state.bodies.put(side, key, object.shared());
        }
        drop(state);
        self.wake_moved();
        true
    }

    fn is_ours(&self, key: &Key, object: &Object) -> bool {
        if key.kind.is_shown() {
            // It is the host's, and read in the tenant's host namespace only.
            return true;
        }
        vcluster_translate::owner::of_ours(object.json(), &self.context).is_some_and(|owner| {
            owner.kind == key.kind.as_str()
                && *owner.namespace == *key.name.namespace
                && *owner.name == *key.name.name
        })
    }

    /// Nothing is left to do about the key; who waited for that is looked at again.
    fn come_to_rest(&self, key: &Key) {
        let had_problem = self.state().set_problem(key, None);
        self.settle(key);
        if had_problem {
            self.wake_users(key);
        }
    }

    /// Has the objects looked at that use this one.
    fn wake_users(&self, key: &Key) {
        let users: Vec<_> = self.state().references.users(key).cloned().collect();
        for user in users {
            self.add(user, Lane::Live);
        }
    }

    /// Has both sides read before anything else is done about the key.
    pub(crate) fn doubt(&self, key: &Key) {
        let mut state = self.state();
        state.doubt(Side::Virtual, key);
        if !key.kind.is_mirrored() {
            state.doubt(Side::Host, key);
        }
    }

    /// What the object is called on one side.
    pub(crate) fn name_on(&self, side: Side, key: &Key) -> Name {
        if side == Side::Virtual || key.kind.is_mirrored() {
            return key.name.clone();
        }
        let Name { namespace, name } = &key.name;
        if key.kind.is_shown() {
            return Name::new(self.context.host_namespace.as_str(), name);
        }
        let host = vcluster_translate::name::of_kind(key.kind, namespace, name, &self.context);
        Name::new(self.context.host_namespace.as_str(), &host)
    }

    /// Whether everything of a kind is known on both sides; and, unless it is known that something uses the object in
    /// question, everything that may.
    fn knows(&self, kind: Kind, is_used: bool) -> Knowledge {
        let state = self.state();
        let listed = |kind: Kind| {
            [Side::Virtual, Side::Host]
                .into_iter()
                .all(|side| state.is_listed(side, kind) && state.is_served(side, kind))
        };
        let users = is_used || to_host::users_of(kind, &self.context).all(listed);
        let is_listed = guard::passes(Guard::CompleteLists, listed(kind) && users);
        knowledge(is_listed && guard::passes(Guard::Frozen, self.link.is_up()))
    }

    /// Whether everything of a kind is known inside and on the host, whose own it is.
    fn knows_mirrored(&self, engine: &Engine, kind: Kind) -> Knowledge {
        let state = self.state();
        let inside = state.is_listed(Side::Virtual, kind) && state.is_served(Side::Virtual, kind);
        let is_listed = inside && engine.is_listed(kind);
        knowledge(guard::passes(Guard::CompleteLists, is_listed))
    }

    /// As [`Self::patched`], as a step.
    async fn change(&self, side: Side, key: &Key, patch: &Patch) -> Result<Step, Failure> {
        self.patched(side, key, patch).await.map(|_| Step::Again)
    }

    /// Patches the object of a key on one side and takes note of the answer. What does not last is not written again
    /// before its time.
    async fn patched(&self, side: Side, key: &Key, patch: &Patch) -> Result<Object, Failure> {
        let name = self.name_on(side, key);
        let patched = self.patch_lasting(side, key.kind, &name, patch).await?;
        self.take_note(side, key, &patched);
        Ok(patched)
    }

    /// Brings a status up whatever else is left to do about the object. One that is not kept is no news.
    async fn raise(&self, key: &Key, status: Option<Patch>) -> Result<(), Failure> {
        let Some(patch) = status else {
            return Ok(());
        };
        match self.change(Side::Virtual, key, &patch).await {
            Ok(_) | Err(Failure::NotKept { .. }) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Takes note that nothing can be done about a key for now, and logs why, once for the same reason. Returns that.
    fn stuck(&self, key: &Key, failure: &Failure) -> String {
        let message: String = failure.to_string().chars().take(LOGGED).collect();
        let problem = Problem {
            reason: "Refused".to_owned(),
            message: message.clone(),
        };
        if self.state().set_problem(key, Some(problem)) {
            tracing::warn!(tenant = %self.id, %key, message, "refused");
        }
        message
    }

    /// Deletes an object and takes note of what is left of it.
    async fn remove(
        &self,
        side: Side,
        key: &Key,
        delete: &vcluster_translate::plan::Delete,
    ) -> Result<Step, Failure> {
        if side == Side::Host && self.keep_instead(key, delete).await? {
            return Ok(Step::Again);
        }
        if side == Side::Host {
            self.confirm_end(key, delete).await?;
        }
        let cause = delete.cause.as_str();
        tracing::info!(tenant = %self.id, %key, ?side, uid = delete.uid, cause, "deletes");
        let name = self.name_on(side, key);
        if let Some(left) = self.delete(side, key.kind, &name, delete).await? {
            self.take_note(side, key, &left);
        } else {
            self.state().vanish(side, key, &delete.uid);
            self.release_if_gone(key);
        }
        Ok(Step::Again)
    }
}
