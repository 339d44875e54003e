//! The plan of a virtual cluster that is wanted.

use std::collections::BTreeMap;

use serde_json::Value;
use vcluster_resources::condition::Reason;
use vcluster_resources::label;
use vcluster_resources::ownership::CONTROL_FINALIZER;

use super::status::{self, Fact, Facts};
use super::{Again, Input, Plan, Step, again, has_finalizer, notice};
use crate::address::{Address, Range};
use crate::distro::k8s;
use crate::observed::{Doubt, Live, MadeFor, RootsState, Seen};
use crate::pki::Credential;
use crate::pki::credential::Health;
use crate::settled::{same, settled};
use crate::slot::Slot;

mod dns;
mod policies;

/// Objects that need nothing but the wish.
const PLAIN: [Slot; 6] = [
    Slot::TenantBinding,
    Slot::TenantAccount,
    Slot::WorkloadAccount,
    Slot::TenantTokenBinding,
    Slot::Admission,
    Slot::DnsService,
];

pub(super) fn plan(input: Input<'_>) -> Plan {
    if let Some(obstacle) = obstacle(input) {
        // Nothing is touched while it is not clear whose place this is.
        return finish(input, Vec::new(), Facts::blocked(obstacle));
    }
    if !has_finalizer(input.cluster, CONTROL_FINALIZER) {
        let facts = Facts::blocked(Fact::waits(Reason::Progressing, "it is new"));
        return finish(input, vec![Step::AddFinalizer], facts);
    }
    let mut steps = claim_namespace(input);
    steps.extend(PLAIN.into_iter().filter_map(|slot| plain(input, slot)));
    policies::plan(input, &mut steps);
    let address = service(input, &mut steps);
    let roots = roots(input, &mut steps);
    let certificates = match (&roots, &address) {
        (Ok(()), Ok(_)) => secrets(input, &mut steps),
        (Err(fact), _) | (Ok(()), Err(fact)) => Err(fact.clone()),
    };
    let control_plane = match (&address, &certificates) {
        (Ok(address), Ok(found)) => {
            control_plane(input, *address, &found.control_plane, &mut steps)
        }
        (Err(fact), _) => status::running(input).map_err(|found| found.if_unseen_or(fact)),
        // What runs goes on running while a certificate is renewed or missing.
        (Ok(_), Err(_)) => {
            status::running(input).map_err(|found| found.if_unseen_or(&without_certificates()))
        }
    };
    let dns = match (&address, &certificates) {
        (Ok(address), Ok(found)) => {
            let runs = control_plane.is_ok();
            dns::plan(input, *address, &found.dns, runs, &mut steps)
        }
        (Err(fact), _) => dns::answers(input).map_err(|found| found.if_unseen_or(fact)),
        (Ok(_), Err(_)) => {
            dns::answers(input).map_err(|found| found.if_unseen_or(&without_certificates()))
        }
    };
    let facts = Facts {
        certificates: certificates.map(drop),
        control_plane,
        dns,
        endpoint: address.ok().map(Address::endpoint),
    };
    finish(input, steps, facts)
}

fn is_unseen(input: Input<'_>, slot: Slot) -> bool {
    input.observed.slot(slot).doubt().is_some()
}

fn without_certificates() -> Fact {
    Fact::waits(Reason::Waiting, "waits for its certificates")
}

fn finish(input: Input<'_>, steps: Vec<Step>, facts: Facts) -> Plan {
    let facts = match &input.observed.refused {
        // With nothing left to do, somebody else has done what was refused.
        Some(text) if !steps.is_empty() => facts.but(&Fact::failed(Reason::Refused, text.clone())),
        Some(_) | None => facts,
    };
    let mut again = facts.again(input);
    if PLAIN.iter().any(|slot| is_unseen(input, *slot)) {
        // No condition tells of these.
        again = again.or(Again::BackOff);
    }
    let status = status::of_living(input, &facts);
    let notices = notice::between(input.cluster.status.as_ref(), &status);
    Plan {
        steps,
        status,
        notices,
        last_words: None,
        again,
    }
}

/// Why nothing may be made here.
fn obstacle(input: Input<'_>) -> Option<Fact> {
    let subject = input.wish.subject;
    let namespace = match &input.observed.namespace {
        Seen::Present(namespace) => namespace,
        Seen::Absent => {
            let text = "the host namespace is not there";
            return Some(Fact::unknown(text, Again::BackOff));
        }
        Seen::Unknown(doubt) => return Some(doubtful(input, "the host namespace", doubt)),
    };
    if namespace.terminating {
        let text = format!(
            "the host namespace {} is being deleted",
            subject.namespace()
        );
        return Some(Fact::failed(Reason::HostNamespaceNotEnabled, text));
    }
    if !namespace.enabled {
        let text = format!(
            "the host namespace {} lacks the label {}={}: an administrator of the host cluster \
             must add it",
            subject.namespace(),
            label::HOST,
            label::HOST_VALUE,
        );
        return Some(Fact::failed(Reason::HostNamespaceNotEnabled, text));
    }
    occupied(input).or_else(|| conflict(input))
}

/// One virtual cluster per host namespace: whoever has begun to build stays, else the older one.
fn occupied(input: Input<'_>) -> Option<Fact> {
    let owners: Vec<&str> = input
        .observed
        .objects
        .values()
        .filter_map(|seen| seen.present()?.owner.as_deref())
        .collect();
    if owners.contains(&input.wish.subject.uid()) {
        return None;
    }
    let siblings = match &input.observed.siblings {
        Seen::Present(siblings) => siblings,
        Seen::Absent => return None,
        Seen::Unknown(doubt) => {
            return Some(doubtful(
                input,
                "the other virtual clusters of the host namespace",
                doubt,
            ));
        }
    };
    let occupant = siblings
        .iter()
        .find(|sibling| owners.contains(&sibling.uid.as_str()));
    let occupant = occupant.or_else(|| siblings.iter().find(|sibling| sibling.older))?;
    let text = format!(
        "the host namespace {} already has the virtual cluster {}: use another namespace, or \
         delete that one",
        input.wish.subject.namespace(),
        occupant.name,
    );
    Some(Fact::failed(Reason::HostNamespaceOccupied, text))
}

/// An object of a needed name that is not ours.
fn conflict(input: Input<'_>) -> Option<Fact> {
    let subject = input.wish.subject;
    let foreign = Slot::ALL
        .into_iter()
        .filter(|slot| policies::concerns(input, *slot))
        .find(|slot| match input.observed.slot(*slot) {
            Seen::Present(live) => live.owner.as_deref() != Some(subject.uid()),
            Seen::Absent | Seen::Unknown(_) => false,
        })?;
    let text = format!(
        "{} exists in the host namespace {} and was not made for this virtual cluster (its \
         annotation {} is another): delete it, or use another namespace",
        foreign.describe(subject),
        subject.namespace(),
        label::CLUSTER_UID,
    );
    Some(Fact::failed(Reason::ObjectConflict, text))
}

fn claim_namespace(input: Input<'_>) -> Vec<Step> {
    let claimed = input.observed.namespace.present().and_then(|namespace| {
        let name = input.wish.subject.name().as_str();
        (namespace.made_for == Some(MadeFor::Name(name.to_owned()))).then(|| Step::ClaimNamespace {
            uid: namespace.uid.clone(),
        })
    });
    claimed.into_iter().collect()
}

fn plain(input: Input<'_>, slot: Slot) -> Option<Step> {
    let body = input.wish.plain(slot)?;
    apply(input, slot, body)
}

/// Makes the object, repairs it, or does nothing.
fn apply(input: Input<'_>, slot: Slot, body: Value) -> Option<Step> {
    match input.observed.slot(slot) {
        Seen::Absent => Some(Step::Apply {
            slot,
            body,
            over: None,
        }),
        Seen::Present(live) if !live.deleting && !settled(&body, &live.body) => Some(Step::Apply {
            slot,
            body,
            over: Some(live.uid.clone()),
        }),
        Seen::Present(_) | Seen::Unknown(_) => None,
    }
}

/// The Service, and the address that it has.
fn service(input: Input<'_>, steps: &mut Vec<Step>) -> Result<Address, Fact> {
    match input.observed.slot(Slot::Service) {
        Seen::Absent => match &input.observed.ranges {
            Seen::Present(ranges) if !ranges.all.iter().any(|range| range.is_v4()) => {
                Err(no_range())
            }
            Seen::Absent => Err(no_range()),
            Seen::Present(_) => {
                steps.push(Step::AllocateAddress);
                Err(Fact::waits(Reason::Progressing, "waits for an address"))
            }
            Seen::Unknown(doubt) => Err(doubtful(input, "the host's Service range", doubt)),
        },
        Seen::Present(live) => {
            let address = address_of(live).ok_or_else(|| strange_address(input, live))?;
            steps.extend(apply(input, Slot::Service, input.wish.service(address)));
            Ok(address)
        }
        Seen::Unknown(doubt) => Err(doubtful(input, "the Service", &doubt)),
    }
}

pub(super) fn address_of(live: &Live) -> Option<Address> {
    live.body
        .pointer("/spec/clusterIP")
        .and_then(Value::as_str)
        .and_then(Address::of)
}

fn no_range() -> Fact {
    Fact::failed(
        Reason::Refused,
        "the host cluster has no IPv4 range for Services: start control with --host-service-cidr \
         if it has one that is not in a ServiceCIDR object"
            .to_owned(),
    )
}

fn strange_address(input: Input<'_>, live: &Live) -> Fact {
    let found = live
        .body
        .pointer("/spec/clusterIP")
        .and_then(Value::as_str)
        .unwrap_or("none");
    let text = format!(
        "Service {} has the cluster IP {found}, which does not begin a block of 16 addresses: \
         delete the Service, and it is made again",
        input.wish.subject.name(),
    );
    Fact::failed(Reason::ObjectConflict, text)
}

/// The roots of trust: made once, before anything that they sign, and never again.
fn roots(input: Input<'_>, steps: &mut Vec<Step>) -> Result<(), Fact> {
    match &input.observed.roots {
        Seen::Present(secret) => match &secret.state {
            RootsState::Good => Ok(()),
            RootsState::Damaged(text) => Err(lost(input, text)),
        },
        Seen::Unknown(doubt) => Err(doubtful(input, "the certificate authority's Secret", doubt)),
        Seen::Absent => {
            // Evidence of an earlier life: whatever is made only after the roots.
            let later = Credential::ALL.map(Slot::Secret);
            for slot in later.into_iter().chain([Slot::ControlPlane, Slot::Claim]) {
                match input.observed.slot(slot) {
                    Seen::Absent => {}
                    Seen::Present(_) => return Err(lost(input, "it is missing")),
                    Seen::Unknown(doubt) => {
                        let what = slot.describe(input.wish.subject);
                        return Err(doubtful(input, &what, &doubt));
                    }
                }
            }
            steps.push(Step::MintRoots);
            Err(Fact::waits(
                Reason::Progressing,
                "waits for its certificate authority",
            ))
        }
    }
}

fn lost(input: Input<'_>, what: &str) -> Fact {
    let text = format!(
        "Secret {} in namespace {} holds the certificate authority, and {what}: restore it from a \
         backup, or delete the virtual cluster and make it again",
        input.wish.subject.roots_secret(),
        input.wish.installation.namespace,
    );
    Fact::failed(Reason::AuthorityLost, text)
}

/// Digests of the Secrets that pods of ours must have read.
struct Fingerprints {
    control_plane: String,
    dns: String,
}

/// The Secrets.
fn secrets(input: Input<'_>, steps: &mut Vec<Step>) -> Result<Fingerprints, Fact> {
    let mut wanting = None;
    let mut found = BTreeMap::new();
    for credential in Credential::ALL {
        match secret(input, credential, steps) {
            Ok(fingerprint) => drop(found.insert(credential, fingerprint)),
            Err(fact) => drop(wanting.get_or_insert(fact)),
        }
    }
    let read = (
        found.remove(&Credential::ControlPlane),
        found.remove(&Credential::Dns),
    );
    match (wanting, read) {
        (None, (Some(control_plane), Some(dns))) => Ok(Fingerprints { control_plane, dns }),
        (Some(fact), _) => Err(fact),
        (None, (Some(_) | None, _)) => Err(Fact::waits(
            Reason::Progressing,
            "waits for its certificates",
        )),
    }
}

fn secret(input: Input<'_>, credential: Credential, steps: &mut Vec<Step>) -> Result<String, Fact> {
    let slot = Slot::Secret(credential);
    let over = match input.observed.slot(slot) {
        Seen::Absent => None,
        Seen::Present(live) if live.deleting => {
            return Err(Fact::waits(
                Reason::Progressing,
                "waits for a Secret to be gone",
            ));
        }
        Seen::Present(live) => Some(live.uid.clone()),
        Seen::Unknown(doubt) => {
            let what = slot.describe(input.wish.subject);
            return Err(doubtful(input, &what, &doubt));
        }
    };
    match (input.observed.health.get(&credential), over) {
        (Some(Health::Good { fingerprint }), Some(_)) => Ok(fingerprint.clone()),
        (Some(Health::OtherAuthority { key }), Some(_)) => Err(Fact::failed(
            Reason::AuthorityLost,
            format!(
                "{} holds another certificate authority under {key} than Secret {} in namespace \
                 {}: restore the one that is wrong",
                slot.describe(input.wish.subject),
                input.wish.subject.roots_secret(),
                input.wish.installation.namespace,
            ),
        )),
        (Some(Health::Flawed { key, flaw }), over @ Some(_)) => {
            steps.push(Step::Mint { credential, over });
            let text = format!(
                "makes {} again, because {key} {}",
                slot.describe(input.wish.subject),
                flaw.as_str(),
            );
            Err(Fact::waits(Reason::Progressing, text))
        }
        // Contents that were not judged are not replaced.
        (None, Some(_)) => Err(Fact::unknown(
            "a Secret could not be judged",
            Again::BackOff,
        )),
        (_, None) => {
            steps.push(Step::Mint {
                credential,
                over: None,
            });
            Err(Fact::waits(
                Reason::Progressing,
                "waits for its certificates",
            ))
        }
    }
}

fn control_plane(
    input: Input<'_>,
    address: Address,
    fingerprint: &str,
    steps: &mut Vec<Step>,
) -> Result<bool, Fact> {
    if input.observed.slot(Slot::ControlPlane).is_absent() {
        policies::stand(input)?;
    }
    let body = input
        .wish
        .control_plane(address, second(input), fingerprint);
    let step = apply(input, Slot::ControlPlane, body);
    let current = step.is_none();
    steps.extend(step);
    status::running(input).map(|updated| updated && current)
}

/// The second range of its Services: the host's, or the one that it has while the host's cannot be seen. An API server
/// takes a second range at any start, and Services of one family keep their address.
fn second(input: Input<'_>) -> Option<Range> {
    match &input.observed.ranges {
        Seen::Present(ranges) => ranges.second,
        Seen::Absent | Seen::Unknown(_) => {
            let running = input.observed.slot(Slot::ControlPlane);
            k8s::second_range(&running.present()?.body)
        }
    }
}

/// What could not be seen, as a fact.
fn doubtful(input: Input<'_>, what: &str, doubt: &Doubt) -> Fact {
    let text = match doubt {
        Doubt::Forbidden => format!("control may not look at {what}"),
        Doubt::Failed(why) => format!("{what} cannot be seen: {why}"),
    };
    Fact::unknown(text, again::in_doubt(input, doubt))
}
