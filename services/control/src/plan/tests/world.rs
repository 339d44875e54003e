//! A model of the host cluster around one virtual cluster.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use vcluster_resources::cluster::{ReclaimPolicy, VirtualClusterSpec};
use vcluster_resources::condition::{self, Observation, Reason, Status, Type};
use vcluster_resources::ownership::CONTROL_FINALIZER;

use super::*;
use crate::address::{Address, Ranges};
use crate::distro::Images;
use crate::isolation::{Isolation, Options};
use crate::manifest::Installation;
use crate::observed::{Doubt, Live, Namespace, RootsSecret, RootsState};
use crate::subject::Subject;

mod any;

pub(super) use any::{any_world, calm_world};

static ISOLATING: LazyLock<Installation> = LazyLock::new(|| Installation {
    isolation: Some(Isolation::new(&Options::default()).expect("there are no rules to read")),
    ..INSTALLATION.clone()
});

static INSTALLATION: LazyLock<Installation> = LazyLock::new(|| Installation {
    namespace: "vcluster-system".to_owned(),
    control_account: "vcluster-control".to_owned(),
    sync_account: "vcluster-sync".to_owned(),
    images: Images {
        kube_apiserver: "apiserver".to_owned(),
        kube_controller_manager: "kcm".to_owned(),
        kine: "kine".to_owned(),
        coredns: "coredns".to_owned(),
        pull_policy: None,
    },
    isolation: None,
});

/// The virtual cluster and everything around it.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) subject: Subject,
    pub(super) cluster: VirtualCluster,
    pub(super) observed: Observed,
    /// Whether somebody else's things are in the namespace.
    pub(super) crowded: bool,
    /// Whether control sees some of it only by its RoleBinding, as it is on a real host.
    pub(super) role_bound: bool,
    /// Whether the installation isolates control planes.
    pub(super) isolated: bool,
    /// How long looks have failed.
    pub(super) failing_for: Duration,
    /// The present moment.
    pub(super) now: Timestamp,
    made: u32,
}

pub(super) fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

pub(super) fn address() -> Address {
    Address::of("10.96.7.17").unwrap()
}

impl World {
    /// A new cluster in an empty, enabled namespace.
    pub(super) fn new() -> Self {
        let subject = Subject::sample();
        let mut cluster =
            VirtualCluster::new(subject.name().as_str(), VirtualClusterSpec::default());
        cluster.metadata.namespace = Some(subject.namespace().to_string());
        cluster.metadata.uid = Some(subject.uid().to_owned());
        cluster.metadata.generation = Some(1);
        let namespace = Namespace {
            uid: "ns".to_owned(),
            enabled: true,
            terminating: false,
            made_for: None,
        };
        let observed = Observed {
            namespace: Seen::Present(namespace),
            siblings: Seen::Present(Vec::new()),
            objects: Slot::ALL.map(|slot| (slot, Seen::Absent)).into(),
            health: BTreeMap::new(),
            roots: Seen::Absent,
            pods: Seen::Present(Vec::new()),
            ranges: Seen::Present(Ranges::new(&["10.96.0.0/16".parse().unwrap()], Vec::new())),
            contents: None,
            refused: None,
        };
        Self {
            subject,
            cluster,
            observed,
            crowded: false,
            role_bound: false,
            isolated: true,
            failing_for: Duration::ZERO,
            now: now(),
            made: 0,
        }
    }

    pub(super) fn wish(&self) -> Wish<'_> {
        Wish {
            subject: &self.subject,
            spec: &self.cluster.spec,
            installation: if self.isolated {
                &ISOLATING
            } else {
                &INSTALLATION
            },
            sync_roots: "PEM",
        }
    }

    pub(super) fn plan(&self) -> Plan {
        plan(Input {
            cluster: &self.cluster,
            wish: self.wish(),
            observed: &self.seen(),
            failing_for: self.failing_for,
            now: self.now,
        })
    }

    /// What control can see of it: without its binding, nothing that only the role lets it see.
    fn seen(&self) -> Observed {
        let mut seen = self.observed.clone();
        if self.role_bound && self.observed.slot(Slot::TenantBinding).is_absent() {
            for slot in Slot::ALL.into_iter().filter(|slot| slot.needs_binding()) {
                seen.objects.insert(slot, Seen::Unknown(Doubt::Forbidden));
            }
            seen.pods = Seen::Unknown(Doubt::Forbidden);
        }
        seen
    }

    /// The object of ours that is wanted in a slot.
    pub(super) fn body(&self, slot: Slot) -> Value {
        match slot {
            Slot::Service => self.wish().service(address()),
            Slot::ControlPlane => self.wish().control_plane(address(), None, "good"),
            Slot::Dns => self.wish().dns(address(), "good"),
            Slot::DnsConfig => self.wish().dns_config(address()),
            Slot::Secret(_) | Slot::Claim => Value::Null,
            Slot::TenantAccount
            | Slot::WorkloadAccount
            | Slot::TenantBinding
            | Slot::TenantTokenBinding
            | Slot::DnsService
            | Slot::Admission => self.wish().plain(slot).expect("it is plain"),
            Slot::ControlPlanePolicy | Slot::DnsPolicy => {
                // As it is left behind where it is not wanted any more.
                let mut world = self.clone();
                world.isolated = true;
                world.wish().plain(slot).expect("it is wanted")
            }
        }
    }

    /// Puts an object there.
    pub(super) fn put(&mut self, slot: Slot, owner: Option<String>, deleting: bool, body: Value) {
        self.made += 1;
        let live = Live {
            uid: format!("uid-{}", self.made),
            owner,
            deleting,
            body,
        };
        self.observed.objects.insert(slot, Seen::Present(live));
    }

    /// What the API server would make of a body, and the controllers of it.
    fn defaulted(slot: Slot, mut body: Value) -> Value {
        if let Some(object) = body.as_object_mut() {
            object.insert("kubernetes".to_owned(), json!({ "added": "this" }));
        }
        if slot == Slot::DnsService {
            body["spec"]["clusterIP"] = "10.96.0.99".into();
        }
        if matches!(slot, Slot::ControlPlane | Slot::Dns) {
            body["status"] = json!({ "readyReplicas": 1 });
        }
        body
    }

    pub(super) fn apply(&mut self, step: &Step) {
        let ours = Some(self.subject.uid().to_owned());
        match step {
            Step::AddFinalizer => self.finalizer(CONTROL_FINALIZER),
            Step::RemoveFinalizer => {
                let finalizers = self.cluster.metadata.finalizers.as_mut();
                finalizers
                    .expect("it has some")
                    .retain(|f| f != CONTROL_FINALIZER);
            }
            Step::ClaimNamespace { .. } => {
                let uid = MadeFor::Uid(self.subject.uid().to_owned());
                self.namespace().made_for = Some(uid);
            }
            Step::MintRoots => self.roots(RootsState::Good),
            Step::DeleteRoots { .. } => self.observed.roots = Seen::Absent,
            Step::AllocateAddress => {
                let body = self.body(Slot::Service);
                self.put(
                    Slot::Service,
                    ours,
                    false,
                    Self::defaulted(Slot::Service, body),
                );
            }
            Step::Apply { slot, body, .. } => {
                self.put(*slot, ours, false, Self::defaulted(*slot, body.clone()));
            }
            Step::Mint { credential, .. } => {
                self.put(Slot::Secret(*credential), ours, false, Value::Null);
                let good = Health::Good {
                    fingerprint: "good".to_owned(),
                };
                self.observed.health.insert(*credential, good);
            }
            Step::Delete { slot, .. } => {
                self.observed.objects.insert(*slot, Seen::Absent);
            }
            Step::DeletePod { uid, .. } => {
                let Seen::Present(pods) = &mut self.observed.pods else {
                    return;
                };
                pods.retain(|pod| pod.uid != *uid);
            }
            Step::Survey => self.observed.contents = Some(self.survey()),
            Step::DeleteNamespace { .. } => self.namespace().terminating = true,
        }
    }

    fn survey(&self) -> Contents {
        let claim = !self.observed.slot(Slot::Claim).is_absent();
        if self.role_bound && self.observed.slot(Slot::TenantBinding).is_absent() {
            Contents::Unsure("secrets cannot be listed: control may not".to_owned())
        } else if self.crowded || claim {
            Contents::Occupied("it holds Pod web".to_owned())
        } else {
            Contents::Empty
        }
    }

    pub(super) fn namespace(&mut self) -> &mut Namespace {
        match &mut self.observed.namespace {
            Seen::Present(namespace) => namespace,
            Seen::Absent | Seen::Unknown(_) => panic!("there is no namespace"),
        }
    }

    pub(super) fn roots(&mut self, state: RootsState) {
        self.observed.roots = Seen::Present(RootsSecret {
            uid: "roots".to_owned(),
            state,
        });
    }

    pub(super) fn finalizer(&mut self, finalizer: &str) {
        self.cluster
            .metadata
            .finalizers
            .get_or_insert_default()
            .push(finalizer.to_owned());
    }

    pub(super) fn delete(&mut self) {
        self.cluster.metadata.deletion_timestamp = Some(Time(now()));
    }

    /// Sync says that it is ready.
    pub(super) fn sync_ready(&mut self) {
        let said = Observation {
            type_: Type::SyncReady,
            status: Status::True,
            reason: Reason::Available,
            message: "follows".to_owned(),
        };
        let condition = condition::state(&said, &[], Some(1), &Time(now()));
        self.cluster
            .status
            .get_or_insert_default()
            .conditions
            .push(condition);
    }

    /// Stores a status as the API server would: sync's condition stays.
    pub(super) fn store(&mut self, mut status: VirtualClusterStatus) {
        let stored = self.cluster.status.take().unwrap_or_default();
        let sync = stored
            .conditions
            .into_iter()
            .filter(|c| c.type_ == Type::SyncReady.as_str());
        status.conditions.extend(sync);
        self.cluster.status = Some(status);
    }

    pub(super) fn is_deleting(&self) -> bool {
        self.cluster.metadata.deletion_timestamp.is_some()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.is_deleting() && !has_finalizer(&self.cluster, CONTROL_FINALIZER)
    }

    pub(super) fn retains(&self) -> bool {
        self.cluster.spec.store.sqlite.reclaim_policy == ReclaimPolicy::Retain
    }

    /// Whether everything that a living cluster needs is there.
    pub(super) fn is_whole(&self) -> bool {
        let as_wanted = |slot: Slot| {
            let wanted = self.isolated || !Slot::POLICIES.contains(&slot);
            self.observed.slot(slot).present().is_some() == wanted
        };
        Slot::ALL
            .into_iter()
            .filter(|slot| *slot != Slot::Claim)
            .all(as_wanted)
    }

    /// Whether nothing shows that there ever were roots.
    pub(super) fn has_no_past(&self) -> bool {
        let later = Credential::ALL.map(Slot::Secret);
        let mut later = later.into_iter().chain([Slot::ControlPlane, Slot::Claim]);
        self.observed.roots.is_absent() && later.all(|slot| self.observed.slot(slot).is_absent())
    }
}
