//! The plan of a virtual cluster that is being deleted.
//!
//! Sync goes first, while the virtual API still answers; then the control plane and its pods; then
//! keys, address and data; then the roots of trust, the namespace if it was made for this cluster
//! and holds nothing else, and at last the finalizer and the role by which control could look.
//! A namespace that somebody deletes takes its objects with it: then only the roots are left to us.

use std::time::Duration;

use jiff::SignedDuration;
use vcluster_resources::cluster::{Phase, ReclaimPolicy};
use vcluster_resources::ownership::{CONTROL_FINALIZER, SYNC_FINALIZER};

use super::notice::{self, Kind, Notice};
use super::{Again, Input, Plan, RESYNC, Step, again, has_finalizer, status};
use crate::observed::{Contents, Doubt, Live, MadeFor, Seen};
use crate::pki::Credential;
use crate::slot::Slot;

/// How soon to look again at what is on its way out and not watched, at first.
const LEAVING: Duration = Duration::from_millis(500);
/// The share of the time since the deletion, until it is looked at again.
const SHARE: u32 = 20;
/// How soon to look again at what is watched.
const WATCHED: Duration = Duration::from_secs(15);
/// How long leftovers of ours may keep the namespace; then it stays.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

/// What is removed once the pods are gone; the tenant's binding comes after them.
const REST: [Slot; 15] = [
    Slot::ControlPlanePolicy,
    Slot::DnsPolicy,
    Slot::Service,
    Slot::DnsService,
    Slot::DnsConfig,
    Slot::Admission,
    Slot::Secret(Credential::ControlPlane),
    Slot::Secret(Credential::Gateway),
    Slot::Secret(Credential::Sync),
    Slot::Secret(Credential::Administrator),
    Slot::Secret(Credential::Dns),
    Slot::Claim,
    Slot::TenantTokenBinding,
    Slot::TenantAccount,
    Slot::WorkloadAccount,
];

/// What comes next: something to do, something to wait for or to see, or nothing any more.
enum Next {
    Do(Vec<Step>, String),
    Wait(String, Duration),
    See(String, Again),
    Done(Option<Notice>),
}

pub(super) fn plan(input: Input<'_>) -> Plan {
    let next = if has_finalizer(input.cluster, CONTROL_FINALIZER) {
        next(input)
    } else {
        Next::Wait("removed by control".to_owned(), RESYNC)
    };
    let in_doubt = matches!(next, Next::See(..));
    let mut last_words = None;
    let (steps, message, again) = match next {
        // After steps it is looked at again at once.
        Next::Do(steps, message) => (steps, message, Again::After(LEAVING)),
        Next::Wait(message, again) => (Vec::new(), message, Again::After(again)),
        Next::See(message, again) => (Vec::new(), message, again),
        Next::Done(notice) => {
            last_words = notice;
            (done(input), "removed".to_owned(), Again::After(LEAVING))
        }
    };
    let message = match &input.observed.refused {
        Some(text) => text.clone(),
        None => message,
    };
    let unsaid =
        status::unsaid(input).filter(|stored| in_doubt && stored.phase == Some(Phase::Deleting));
    let status = unsaid.unwrap_or_else(|| status::of_leaving(input, &message));
    let notices = notice::between(input.cluster.status.as_ref(), &status);
    Plan {
        steps,
        status,
        notices,
        last_words,
        again,
    }
}

fn next(input: Input<'_>) -> Next {
    let namespace = match &input.observed.namespace {
        Seen::Present(namespace) => namespace,
        Seen::Absent => return roots(input).unwrap_or(Next::Done(None)),
        Seen::Unknown(doubt) => return wait_for_sight(input, "the host namespace", doubt),
    };
    if namespace.terminating {
        return roots(input).unwrap_or(Next::Done(None));
    }
    if has_finalizer(input.cluster, SYNC_FINALIZER) {
        let text = "waits for sync to remove the translated objects";
        return Next::Wait(text.to_owned(), WATCHED);
    }
    // Where control may not write any more, garbage collection removes what the cluster owns.
    let left_alone = !namespace.enabled && input.observed.refused.is_some();
    if !left_alone && let Some(next) = objects(input) {
        return next;
    }
    if let Some(next) = roots(input) {
        return next;
    }
    if namespace_is_ours(input) {
        remove_namespace(input, &namespace.uid)
    } else {
        Next::Done(None)
    }
}

/// The last steps. Only now goes the role by which control sees what is left: without it, it would
/// have to be bound again to look. If control dies between the two, garbage collection takes the
/// binding with the cluster that owns it, or the next look binds it once more.
fn done(input: Input<'_>) -> Vec<Step> {
    let mut steps = vec![Step::RemoveFinalizer];
    let stays = input
        .observed
        .namespace
        .present()
        .is_some_and(|namespace| !namespace.terminating);
    if stays && let Some(Next::Do(unbind, _)) = remove(input, &[Slot::TenantBinding], "") {
        steps.extend(unbind);
    }
    steps
}

/// Removes what is in the host namespace but for the role by which control sees it; `None` once
/// nothing of it is left.
fn objects(input: Input<'_>) -> Option<Next> {
    control_plane(input)
        .or_else(|| pods(input))
        .or_else(|| rest(input))
}

fn control_plane(input: Input<'_>) -> Option<Next> {
    remove(
        input,
        &[Slot::ControlPlane, Slot::Dns],
        "waits for the control plane to stop",
    )
}

fn pods(input: Input<'_>) -> Option<Next> {
    let pods = match &input.observed.pods {
        Seen::Present(pods) => pods,
        Seen::Absent => return None,
        Seen::Unknown(doubt) => return Some(gain_sight(input, "the control-plane pods", doubt)),
    };
    let names: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
    let message = format!("waits for the pods {} to stop", names.join(", "));
    let steps: Vec<Step> = pods
        .iter()
        .filter(|pod| !pod.deleting)
        .map(|pod| Step::DeletePod {
            name: pod.name.clone(),
            uid: pod.uid.clone(),
        })
        .collect();
    match (pods.is_empty(), steps.is_empty()) {
        (true, _) => None,
        (false, false) => Some(Next::Do(steps, message)),
        (false, true) => Some(Next::Wait(message, leaving_for(input))),
    }
}

fn rest(input: Input<'_>) -> Option<Next> {
    let retain = match input.cluster.spec.store.sqlite.reclaim_policy {
        ReclaimPolicy::Delete => false,
        ReclaimPolicy::Retain => true,
    };
    let slots: Vec<Slot> = REST
        .into_iter()
        .filter(|slot| !(retain && *slot == Slot::Claim))
        .collect();
    let hidden = slots
        .iter()
        .find_map(|slot| match input.observed.slot(*slot) {
            Seen::Unknown(doubt) if slot.needs_binding() => Some((*slot, doubt)),
            Seen::Unknown(_) | Seen::Absent | Seen::Present(_) => None,
        });
    if let Some((slot, doubt)) = hidden {
        return Some(gain_sight(
            input,
            &slot.describe(input.wish.subject),
            &doubt,
        ));
    }
    remove(input, &slots, "removes its keys, address and data")
}

/// Deletes those objects of ours, all at once; `None` once none is left. Others' stay.
fn remove(input: Input<'_>, slots: &[Slot], message: &str) -> Option<Next> {
    let subject = input.wish.subject;
    let ours = |live: &&Live| live.owner.as_deref() == Some(subject.uid());
    let mut steps = Vec::new();
    let mut leaving = false;
    let mut doubt = None;
    for slot in slots {
        match input.observed.slot(*slot) {
            Seen::Absent => {}
            Seen::Present(live) if !ours(&live) => {}
            Seen::Present(live) if live.deleting => leaving = true,
            Seen::Present(live) => {
                steps.push(Step::Delete {
                    slot: *slot,
                    uid: live.uid.clone(),
                });
            }
            Seen::Unknown(why) => drop(doubt.get_or_insert((*slot, why))),
        }
    }
    if !steps.is_empty() {
        return Some(Next::Do(steps, message.to_owned()));
    }
    if let Some((slot, why)) = doubt {
        return Some(wait_for_sight(input, &slot.describe(subject), &why));
    }
    leaving.then(|| Next::Wait(message.to_owned(), leaving_for(input)))
}

/// Binds the role without which what must be removed cannot be seen, if it is gone.
fn gain_sight(input: Input<'_>, what: &str, doubt: &Doubt) -> Next {
    let binding = Slot::TenantBinding;
    match (
        doubt,
        input.observed.slot(binding),
        input.wish.plain(binding),
    ) {
        (Doubt::Forbidden, Seen::Absent, Some(body)) if input.observed.refused.is_none() => {
            let step = Step::Apply {
                slot: binding,
                body,
                over: None,
            };
            Next::Do(vec![step], "binds its role to see what is left".to_owned())
        }
        _ => wait_for_sight(input, what, doubt),
    }
}

fn wait_for_sight(input: Input<'_>, what: &str, doubt: &Doubt) -> Next {
    let message = match doubt {
        Doubt::Forbidden => format!("control may not look at {what}"),
        Doubt::Failed(why) => format!("{what} cannot be seen: {why}"),
    };
    Next::See(message, again::in_doubt(input, doubt))
}

/// How soon to look again at what is on its way out: the later, the longer it takes.
fn leaving_for(input: Input<'_>) -> Duration {
    let lasts = since_deletion(input).unwrap_or_default();
    again::share(lasts, SHARE, LEAVING, WATCHED)
}

/// Removes the roots of trust; `None` once they are gone.
fn roots(input: Input<'_>) -> Option<Next> {
    match &input.observed.roots {
        Seen::Absent => None,
        Seen::Present(secret) => Some(Next::Do(
            vec![Step::DeleteRoots {
                uid: secret.uid.clone(),
            }],
            "removes its certificate authority".to_owned(),
        )),
        Seen::Unknown(doubt) => Some(wait_for_sight(
            input,
            "the Secret of its certificate authority",
            doubt,
        )),
    }
}

/// Whether control made the namespace for this cluster; one that it made for a cluster of this name
/// and that was never claimed counts.
fn namespace_is_ours(input: Input<'_>) -> bool {
    let subject = input.wish.subject;
    let made_for = input
        .observed
        .namespace
        .present()
        .and_then(|n| n.made_for.as_ref());
    match made_for {
        Some(MadeFor::Uid(uid)) => uid == subject.uid(),
        Some(MadeFor::Name(name)) => name == subject.name().as_str(),
        None => false,
    }
}

fn remove_namespace(input: Input<'_>, uid: &str) -> Next {
    let doing = "removes the host namespace that was made for it".to_owned();
    match &input.observed.contents {
        None => Next::Do(vec![Step::Survey], doing),
        Some(Contents::Empty) => Next::Do(
            vec![Step::DeleteNamespace {
                uid: uid.to_owned(),
            }],
            doing,
        ),
        Some(Contents::Leaving(what)) if !patience_is_over(input) => Next::Wait(
            format!("waits for {what} to be gone from the host namespace"),
            leaving_for(input),
        ),
        Some(Contents::Leaving(what) | Contents::Occupied(what) | Contents::Unsure(what)) => {
            let note = format!(
                "the host namespace {} was made for this virtual cluster and stays: {what}",
                input.wish.subject.namespace(),
            );
            Next::Done(Some(Notice {
                kind: Kind::Warning,
                reason: "HostNamespaceKept",
                note,
            }))
        }
    }
}

fn patience_is_over(input: Input<'_>) -> bool {
    since_deletion(input).is_some_and(|lasts| lasts > PATIENCE)
}

fn since_deletion(input: Input<'_>) -> Option<SignedDuration> {
    let begun = input.cluster.metadata.deletion_timestamp.as_ref()?;
    Some(input.now.duration_since(begun.0))
}
