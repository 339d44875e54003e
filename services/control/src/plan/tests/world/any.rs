//! Worlds as they may be met: any that could be seen, and those that control itself leaves.

use proptest::prelude::*;
use serde_json::json;
use vcluster_resources::cluster::ReclaimPolicy;
use vcluster_resources::ownership::{CONTROL_FINALIZER, SYNC_FINALIZER};

use super::World;
use crate::observed::{
    Contents, Doubt, MadeFor, Namespace, Pod, RootsSecret, RootsState, Seen, Sibling,
};
use crate::pki::Credential;
use crate::pki::credential::Health;
use crate::pki::inspect::Flaw;
use crate::slot::Slot;
use crate::subject::Subject;

/// What may be in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Ours,
    Drifted,
    Leaving,
    Foreign,
    Siblings,
    Forbidden,
    Failed,
}

fn found(doubtful: bool) -> BoxedStrategy<Found> {
    use Found::*;
    if doubtful {
        prop_oneof![
            4 => Just(Nothing), 6 => Just(Ours), 2 => Just(Drifted), 1 => Just(Leaving),
            1 => Just(Foreign), 1 => Just(Siblings), 1 => Just(Forbidden), 1 => Just(Failed),
        ]
        .boxed()
    } else {
        prop_oneof![3 => Just(Nothing), 5 => Just(Ours), 2 => Just(Drifted)].boxed()
    }
}

fn place(world: &mut World, slot: Slot, what: Found) {
    let ours = Some(world.subject.uid().to_owned());
    let whole = World::defaulted(slot, world.body(slot));
    let mut drifted = whole.clone();
    // A cluster IP cannot drift; everything else that we apply can.
    drifted["metadata"]["labels"] = json!({});
    let seen = match what {
        Found::Nothing => Seen::Absent,
        Found::Ours => return world.put(slot, ours, false, whole),
        Found::Drifted => return world.put(slot, ours, false, drifted),
        Found::Leaving => return world.put(slot, ours, true, whole),
        Found::Foreign => return world.put(slot, None, false, whole),
        Found::Siblings => return world.put(slot, Some("sibling".to_owned()), false, whole),
        Found::Forbidden => Seen::Unknown(Doubt::Forbidden),
        Found::Failed => Seen::Unknown(Doubt::Failed("timeout".to_owned())),
    };
    world.observed.objects.insert(slot, seen);
}

prop_compose! {
    fn health()(choice in 0..4) -> Option<Health> {
        match choice {
            0 => None,
            1 => Some(Health::Flawed { key: "tls.crt", flaw: Flaw::Expiring }),
            2 => Some(Health::OtherAuthority { key: "ca.crt" }),
            _ => Some(Health::Good { fingerprint: "good".to_owned() }),
        }
    }
}

fn doubt<T: Clone + std::fmt::Debug + 'static>(good: BoxedStrategy<T>) -> BoxedStrategy<Seen<T>> {
    prop_oneof![
        8 => good.prop_map(Seen::Present),
        1 => Just(Seen::Absent),
        1 => Just(Seen::Unknown(Doubt::Forbidden)),
        1 => Just(Seen::Unknown(Doubt::Failed("timeout".to_owned()))),
    ]
    .boxed()
}

fn any_namespace() -> BoxedStrategy<Namespace> {
    let made_for = prop_oneof![
        Just(None),
        Just(Some(MadeFor::Name("demo".to_owned()))),
        Just(Some(MadeFor::Name("other".to_owned()))),
        Just(Some(MadeFor::Uid(Subject::sample().uid().to_owned()))),
        Just(Some(MadeFor::Uid("other".to_owned()))),
    ];
    (
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.1),
        made_for,
    )
        .prop_map(|(enabled, terminating, made_for)| Namespace {
            uid: "ns".to_owned(),
            enabled,
            terminating,
            made_for,
        })
        .boxed()
}

fn any_pods() -> BoxedStrategy<Vec<Pod>> {
    let pod = (any::<bool>(), 0..3).prop_map(|(deleting, n)| Pod {
        name: format!("demo-{n}"),
        uid: format!("pod-{n}"),
        deleting,
        waits: None,
    });
    prop::collection::vec(pod, 0..2).boxed()
}

fn any_roots() -> BoxedStrategy<RootsSecret> {
    let state = prop_oneof![
        4 => Just(RootsState::Good),
        1 => Just(RootsState::Damaged("ca.key is missing".to_owned())),
    ];
    state
        .prop_map(|state| RootsSecret {
            uid: "roots".to_owned(),
            state,
        })
        .boxed()
}

fn any_siblings() -> BoxedStrategy<Vec<Sibling>> {
    let sibling = any::<bool>().prop_map(|older| Sibling {
        name: "other".to_owned(),
        uid: "sibling".to_owned(),
        older,
    });
    prop::collection::vec(sibling, 0..2).boxed()
}

fn any_contents() -> BoxedStrategy<Option<Contents>> {
    prop_oneof![
        Just(None),
        Just(Some(Contents::Empty)),
        Just(Some(Contents::Leaving("EndpointSlice demo".to_owned()))),
        Just(Some(Contents::Occupied("it holds Pod web".to_owned()))),
        Just(Some(Contents::Unsure(
            "widgets cannot be listed".to_owned()
        ))),
    ]
    .boxed()
}

prop_compose! {
    /// The virtual cluster itself: young or old, wanted or not.
    fn any_cluster()(
        deleting in any::<bool>(),
        control in prop::bool::weighted(0.9),
        sync in prop::bool::weighted(0.3),
        retain in any::<bool>(),
        isolated in any::<bool>(),
    ) -> World {
        let mut world = World::new();
        world.isolated = isolated;
        if deleting {
            world.delete();
        }
        if control {
            world.finalizer(CONTROL_FINALIZER);
        }
        if sync {
            world.finalizer(SYNC_FINALIZER);
        }
        if retain {
            world.cluster.spec.store.sqlite.reclaim_policy = ReclaimPolicy::Retain;
        }
        world
    }
}

/// Anything that could be seen, sense or nonsense.
pub(in super::super) fn any_world() -> impl Strategy<Value = World> {
    let around = (
        doubt(any_namespace()),
        doubt(any_siblings()),
        doubt(any_roots()),
        doubt(any_pods()),
        any_contents(),
        prop::option::weighted(0.1, Just("quota".to_owned())),
    );
    let slots = prop::collection::vec(found(true), Slot::ALL.len());
    let health = prop::collection::vec(health(), Credential::ALL.len());
    (any_cluster(), slots, health, around).prop_map(|(mut world, slots, health, around)| {
        for (slot, what) in Slot::ALL.into_iter().zip(slots) {
            place(&mut world, slot, what);
        }
        let health = Credential::ALL.into_iter().zip(health);
        world.observed.health = health.filter_map(|(c, h)| Some((c, h?))).collect();
        let observed = &mut world.observed;
        (
            observed.namespace,
            observed.siblings,
            observed.roots,
            observed.pods,
            observed.contents,
            observed.refused,
        ) = around;
        world
    })
}

/// Any state that control itself, its crashes and everyday damage can leave, clearly seen.
pub(in super::super) fn calm_world(deleting: bool) -> impl Strategy<Value = World> {
    let slots = prop::collection::vec(found(false), Slot::ALL.len());
    let made_for = prop_oneof![
        Just(None),
        Just(Some(MadeFor::Name("demo".to_owned()))),
        Just(Some(MadeFor::Uid(Subject::sample().uid().to_owned()))),
    ];
    (slots, any::<[bool; 7]>(), made_for).prop_map(move |(slots, flags, made_for)| {
        let [finalizer, roots, flawed, crowded, retain, pod, isolated] = flags;
        let mut world = World::new();
        world.isolated = isolated;
        world.role_bound = true;
        world.crowded = crowded;
        world.namespace().made_for = made_for;
        if retain {
            world.cluster.spec.store.sqlite.reclaim_policy = ReclaimPolicy::Retain;
        }
        if finalizer || deleting {
            world.finalizer(CONTROL_FINALIZER);
        }
        // Without roots nothing has been made that they sign.
        for (slot, what) in Slot::ALL.into_iter().zip(slots) {
            let signed = slot.needs_binding() || slot == Slot::ControlPlane;
            if roots || deleting || !signed {
                place(&mut world, slot, what);
            }
        }
        if roots {
            world.roots(RootsState::Good);
        }
        for credential in Credential::ALL {
            let health = match (flawed, credential) {
                (true, Credential::Gateway) => Health::Flawed {
                    key: "tls.crt",
                    flaw: Flaw::Unreadable,
                },
                _ => Health::Good {
                    fingerprint: "good".to_owned(),
                },
            };
            world.observed.health.insert(credential, health);
        }
        if deleting {
            world.delete();
            if pod {
                let pod = Pod {
                    name: "demo-0".to_owned(),
                    uid: "pod".to_owned(),
                    deleting: false,
                    waits: None,
                };
                world.observed.pods = Seen::Present(vec![pod]);
            }
        }
        world
    })
}
