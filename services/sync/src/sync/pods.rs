//! Pods: made on the host, bound, followed, and taken away from either side.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use vcluster_translate::kind::Reference;
use vcluster_translate::node;
use vcluster_translate::own_class::Class;
use vcluster_translate::patch::Subresource;
use vcluster_translate::plan::{self, Action, Cause, Delete, PodView};
use vcluster_translate::pod::{self, HostPod};
use vcluster_translate::{Refusal, class, owner, persistent_volume_claim};

use super::report::Trouble;
use super::{Next, SOON, Step, waits};
use crate::apply::Failure;
use crate::engine::Engine;
use crate::hold::Hold;
use crate::object::{Key, Kind, Side};
use crate::own_classes::{self, Named};
use crate::queue::Lane;
use crate::state::Problem;
use crate::tenant::Tenant;

/// When to look again at a pod whose configmaps or secrets are on their way; they tell when they are there.
const REFERENCES: Duration = Duration::from_secs(5);
/// So many of what a pod waits for are named.
const NAMED: usize = 5;
/// When to look again at a pod whose virtual node is on its way.
const NODE: Duration = Duration::from_millis(300);

/// One step about a pod.
pub(super) async fn step(engine: &Engine, tenant: &Tenant, key: &Key) -> Result<Step, Failure> {
    let pod = tenant.see(Side::Virtual, key).await?;
    let host = tenant.see(Side::Host, key).await?;
    let labels = tenant.namespace_labels(&key.name.namespace);
    let view = PodView {
        pod: pod.as_deref(),
        host: host.as_deref(),
        namespace_labels: &labels,
        knowledge: tenant.knows(Kind::Pod, true),
        node_lost: host
            .as_deref()
            .is_some_and(|host| is_on_lost_node(engine, host)),
    };
    let mut action = plan::pod(view, &tenant.context);
    // Another host pod need not be looked for before it is made: the host says that the name is taken.
    let hidden;
    if matches!(action, Action::DeleteVirtual(_)) && host.is_none() {
        hidden = tenant.find_hidden(key).await?;
        let host = hidden.as_deref();
        action = plan::pod(PodView { host, ..view }, &tenant.context);
    }
    match action {
        Action::Nothing => at_rest(engine, tenant, key, pod.as_deref(), host.as_deref()).await,
        Action::Wait(waiting) => {
            let step = waits(&waiting);
            with_tokens(engine, tenant, key, pod.as_deref(), host.as_deref(), step).await
        }
        Action::Refuse(refusal) => {
            let trouble = Trouble::ours(&refusal);
            let step = tenant.report(engine, key, pod.as_deref(), trouble).await;
            with_tokens(engine, tenant, key, pod.as_deref(), host.as_deref(), step).await
        }
        Action::Create(wanted) => create(engine, tenant, key, pod.as_deref(), wanted).await,
        Action::PatchHost(patch) => {
            let failure = match tenant.patched(Side::Host, key, &patch).await {
                Ok(patched) => {
                    if let (Some(Subresource::Resize), Some(pod)) = (patch.subresource, &pod) {
                        // Whatever the host's admission made of it is the host's last word.
                        let note = pod::resized(pod, patched.json());
                        let name = tenant.name_on(Side::Host, key);
                        let noted = tenant.patch(Side::Host, Kind::Pod, &name, &note).await?;
                        tenant.take_note(Side::Host, key, &noted);
                    }
                    return Ok(Step::Again);
                }
                Err(failure) => failure,
            };
            let trouble = Trouble::of_write(failure)?;
            let step = tenant.report(engine, key, pod.as_deref(), trouble).await;
            // A change that the host will not take does not hold the status up.
            follow(tenant, key).await?;
            with_tokens(engine, tenant, key, pod.as_deref(), host.as_deref(), step).await
        }
        Action::PatchVirtual(patch) => tenant.change(Side::Virtual, key, &patch).await,
        Action::Bind(binding) => {
            let node = Key::new(Kind::Node, "", &binding.node);
            if tenant.state().entry(&node).virtual_.seen.is_none() {
                tenant.add(node, Lane::Live);
                let hold = Hold::waits(
                    "Node",
                    format!("its node {:?} is not shown inside yet", binding.node),
                );
                return Ok(Step::Held(hold, Next::Until(Instant::now() + NODE)));
            }
            tenant.bind(&key.name, &binding).await?;
            // The answer holds no pod, and its event may come later than the next step.
            let mut state = tenant.state();
            if !state.bind(key, &binding.node) {
                state.doubt(Side::Virtual, key);
            }
            Ok(Step::Again)
        }
        Action::DeleteHost(delete) => tenant.remove(Side::Host, key, &delete).await,
        Action::DeleteVirtual(delete) => {
            if let Some(pod) = &pod {
                tell_why(engine, tenant, pod, &delete).await;
            }
            tenant.remove(Side::Virtual, key, &delete).await
        }
    }
}

fn is_on_lost_node(engine: &Engine, host: &Value) -> bool {
    let name = host.pointer("/spec/nodeName").and_then(Value::as_str);
    let node = name.and_then(|name| engine.node(name));
    node.is_some_and(|node| node::is_lost(&node))
}

/// Brings the status up, whatever else is left to do.
async fn follow(tenant: &Tenant, key: &Key) -> Result<(), Failure> {
    let pod = tenant.see(Side::Virtual, key).await?;
    let host = tenant.see(Side::Host, key).await?;
    let (Some(pod), Some(host)) = (pod, host) else {
        return Ok(());
    };
    let names = || pod::names(&pod, Some(&host), &tenant.context);
    let status = pod::status_to_virtual(&host, &pod, names, false);
    tenant.raise(key, status).await
}

/// Sees to the tokens of a pod about which something is left to do that may take long, or for ever: its containers
/// run meanwhile.
async fn with_tokens(
    engine: &Engine,
    tenant: &Tenant,
    key: &Key,
    pod: Option<&Value>,
    host: Option<&Value>,
    step: Step,
) -> Result<Step, Failure> {
    let (Some(pod), Some(host)) = (pod, host) else {
        return Ok(step);
    };
    let owner = owner::of_ours(host, &tenant.context);
    if owner.is_none_or(|owner| pod["metadata"]["uid"] != owner.uid) {
        return Ok(step);
    }
    let renewal = tenant.refresh_tokens(engine, key, pod).await?;
    Ok(match (step, renewal) {
        (Step::Done(Next::Settled), Some(at)) => Step::Done(Next::Until(at)),
        (Step::Done(Next::Until(sooner)), Some(at)) => Step::Done(Next::Until(at.min(sooner))),
        (Step::Held(hold, Next::Settled), Some(at)) => Step::Held(hold, Next::Until(at)),
        (Step::Held(hold, Next::Until(sooner)), Some(at)) => {
            Step::Held(hold, Next::Until(at.min(sooner)))
        }
        (step, Some(_) | None) => step,
    })
}

/// Both sides are as they should be: what stands beside the pod is seen to.
async fn at_rest(
    engine: &Engine,
    tenant: &Tenant,
    key: &Key,
    pod: Option<&Value>,
    host: Option<&Value>,
) -> Result<Step, Failure> {
    tenant.settle(key);
    let next = match (pod, host) {
        (None, None) => tenant.drop_tokens(key, None).await?,
        (Some(pod), Some(_)) => tenant.refresh_tokens(engine, key, pod).await?,
        (Some(_), None) | (None, Some(_)) => None,
    };
    Ok(Step::Done(next.map_or(Next::Settled, Next::Until)))
}

async fn create(
    engine: &Engine,
    tenant: &Tenant,
    key: &Key,
    pod: Option<&Value>,
    mut wanted: HostPod,
) -> Result<Step, Failure> {
    let Some(pod) = pod else {
        return Ok(Step::Done(Next::Settled));
    };
    match tenant.ensure_variables(pod).await {
        Ok(true) => {}
        Ok(false) => {
            let message = "the variables of its containers are being written";
            let hold = Hold::waits("Environment", message);
            return Ok(Step::Held(hold, Next::Until(Instant::now() + SOON)));
        }
        Err(failure) => return unmade(engine, tenant, key, pod, failure).await,
    }
    let standing = |class, name: &str| engine.class_standing(tenant, class, name);
    if let Err(refusal) = class::check(Kind::Pod, pod, standing) {
        let trouble = Trouble::passing(refusal);
        return Ok(tenant.report(engine, key, Some(pod), trouble).await);
    }
    let name = pod.pointer("/spec/priorityClassName");
    let name = name.and_then(Value::as_str).unwrap_or_default();
    let priority = match own_classes::ensure(engine, tenant, Class::Priority, name).await? {
        Named::OnHost(own) => Some(own),
        // It is told so itself, and counts for the virtual cluster's own quotas.
        Named::Inside(_) => None,
        Named::Nothing | Named::NotOwn => class::priority(pod, standing).map(ToOwned::to_owned),
    };
    if let Some(priority) = priority {
        wanted.object["spec"]["priorityClassName"] = priority.into();
    }
    match references(tenant, &wanted.references) {
        References::There => {}
        References::OnTheirWay(hold) => {
            return Ok(Step::Held(hold, Next::Until(Instant::now() + REFERENCES)));
        }
        References::Refused(problem) => {
            let trouble = Trouble::of_used(&problem);
            return Ok(tenant.report(engine, key, Some(pod), trouble).await);
        }
    }
    match ephemeral_claims(tenant, key, pod).await? {
        Claims::There => {}
        Claims::OnTheirWay(name) => {
            let message = format!(
                "the claim {name:?} of an ephemeral volume is not made yet by the virtual cluster's controller"
            );
            let hold = Hold::waits("EphemeralClaim", message);
            return Ok(Step::Held(hold, Next::Until(Instant::now() + REFERENCES)));
        }
        Claims::Anothers(refusal) => {
            let trouble = Trouble::passing(refusal);
            return Ok(tenant.report(engine, key, Some(pod), trouble).await);
        }
    }
    if !wanted.tokens.is_empty()
        && let Err(failure) = tenant.ensure_tokens(engine, key, pod, &wanted.tokens).await
    {
        return unmade(engine, tenant, key, pod, failure).await;
    }
    match tenant.create(Side::Host, Kind::Pod, &wanted.object).await {
        Ok(made) => {
            tracing::debug!(tenant = %tenant.id, %key, "host pod is made");
            tenant.take_note(Side::Host, key, &made);
            Ok(Step::Again)
        }
        Err(failure) => unmade(engine, tenant, key, pod, failure).await,
    }
}

/// What follows from a request on the way to a host pod that was not done.
async fn unmade(
    engine: &Engine,
    tenant: &Tenant,
    key: &Key,
    pod: &Value,
    failure: Failure,
) -> Result<Step, Failure> {
    let trouble = Trouble::of_write(failure)?;
    Ok(tenant.report(engine, key, Some(pod), trouble).await)
}

enum References {
    There,
    OnTheirWay(Hold),
    Refused(Problem),
}

/// Whether what the pod names is on the host. What does not exist inside is not waited for: the host's
/// kubelet says so, as it would inside.
fn references(tenant: &Tenant, references: &[Reference]) -> References {
    let mut waits = Vec::new();
    {
        let state = tenant.state();
        for reference in references {
            let key = Key::of(reference);
            let entry = state.entry(&key);
            match (&entry.virtual_.seen, &entry.host.seen, entry.problem) {
                // A controller of the host made it: it is nobody's translation.
                (Some(_), None, None) if state.is_made_there(&key) => {}
                (None, _, _) | (Some(_), Some(_), None) => {}
                (Some(_), _, Some(problem)) => return References::Refused(problem),
                (Some(_), None, None) => waits.push(key),
            }
        }
    }
    if waits.is_empty() {
        return References::There;
    }
    let named: Vec<_> = waits.iter().map(Key::to_string).take(NAMED).collect();
    let message = format!("not on the host yet, which it uses: {}", named.join(", "));
    for key in waits {
        tenant.add(key, Lane::Live);
    }
    References::OnTheirWay(Hold::waits("References", message))
}

enum Claims {
    There,
    OnTheirWay(String),
    Anothers(Refusal),
}

/// Whether the claims of the pod's generic ephemeral volumes are made, and made for it. On the host they are
/// ordinary ones, so that nobody else would ask.
async fn ephemeral_claims(tenant: &Tenant, key: &Key, pod: &Value) -> Result<Claims, Failure> {
    for name in pod::ephemeral_claims(pod) {
        let claim = Key::new(Kind::PersistentVolumeClaim, &key.name.namespace, &name);
        let found = tenant.see(Side::Virtual, &claim).await?;
        match found {
            None => return Ok(Claims::OnTheirWay(name)),
            Some(found) if persistent_volume_claim::is_of_pod(&found, pod) => {}
            Some(_) => {
                return Ok(Claims::Anothers(persistent_volume_claim::is_anothers(
                    &name,
                )));
            }
        }
    }
    Ok(Claims::There)
}

/// A pod that the host took away vanishes from under its owner: an event says who did it.
async fn tell_why(engine: &Engine, tenant: &Tenant, pod: &Value, delete: &Delete) {
    let message = match delete.cause {
        Cause::HostDeletes => {
            "The host cluster is deleting this pod (drained, evicted or preempted)"
        }
        Cause::HostGone => "The pod is gone from the host cluster",
        Cause::NodeDiffers => "The pod runs on another node than it was bound to",
        Cause::Deleting | Cause::Orphan | Cause::Replace | Cause::Unused => return,
    };
    tenant
        .tell(engine, Kind::Pod, pod, delete.cause.as_str(), message)
        .await;
}
