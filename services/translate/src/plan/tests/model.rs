//! Two small API servers, a kubelet, a tenant and a host's administrator, in any order: whatever
//! happens while a pod is decided about, on however old a view, it ends right.

use proptest::prelude::*;

use super::*;
use crate::fixture::patched;

const NOW: &str = "2026-01-01T00:00:00Z";

/// What can happen to one name.
#[derive(Debug, Clone, Copy)]
enum Event {
    // The tenant.
    Create,
    CreateHeld,
    CreateRefused,
    Delete(i64),
    ForceDelete,
    Relabel(u8),
    NewImage(u8),
    AddEphemeral,
    AddRefusedEphemeral,
    ReleaseFinalizers,
    SetGate(bool),
    // The host's scheduler, kubelet and administrator.
    Schedule,
    Run,
    Finish,
    Evict,
    Vanish,
    EditLabels,
    Terminated,
    // The engine.
    SeeVirtual,
    SeeHost,
    Lose,
    List,
    Step,
}

fn event() -> impl Strategy<Value = Event> {
    use Event::*;
    let tenant = prop_oneof![
        Just(Create),
        Just(CreateHeld),
        Just(CreateRefused),
        prop::sample::select(vec![0, 1, 30]).prop_map(Delete),
        Just(ForceDelete),
        (0..3u8).prop_map(Relabel),
        (0..3u8).prop_map(NewImage),
        Just(AddEphemeral),
        Just(AddRefusedEphemeral),
        Just(ReleaseFinalizers),
        any::<bool>().prop_map(SetGate),
    ];
    let host = prop_oneof![
        Just(Schedule),
        Just(Schedule),
        Just(Run),
        Just(Run),
        Just(Finish),
        Just(Evict),
        Just(Vanish),
        Just(EditLabels),
        Just(Terminated),
    ];
    let engine = prop_oneof![
        Just(SeeVirtual),
        Just(SeeHost),
        Just(Lose),
        Just(List),
        Just(Step),
        Just(Step),
        Just(Step),
    ];
    prop_oneof![1 => tenant, 2 => host, 4 => engine]
}

/// The truth on both sides, and what the engine has seen of it.
#[derive(Default)]
struct World {
    pod: Option<Value>,
    host: Option<Value>,
    seen_pod: Option<Value>,
    seen_host: Option<Value>,
    complete: bool,
    uids: u32,
}

impl World {
    fn uid(&mut self) -> Value {
        self.uids += 1;
        format!("uid-{}", self.uids).into()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Create | Event::CreateHeld | Event::CreateRefused => self.create(event),
            Event::Delete(grace) => delete(&mut self.pod, None, Some(grace)),
            Event::ForceDelete => self.pod = None,
            Event::Relabel(value) => self.change_pod(|pod| {
                pod["metadata"]["labels"]["app"] = value.to_string().into();
            }),
            Event::NewImage(value) => self.change_pod(|pod| {
                pod["spec"]["containers"][0]["image"] = format!("nginx:{value}").into();
                pod["metadata"]["generation"] = (i64::from(value) + 2).into();
            }),
            Event::AddEphemeral => self.change_pod(|pod| {
                pod["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "i"}]);
            }),
            Event::AddRefusedEphemeral => self.change_pod(|pod| {
                pod["spec"]["ephemeralContainers"] =
                    json!([{"name": "e", "securityContext": {"privileged": true}}]);
            }),
            Event::ReleaseFinalizers => self.release(),
            Event::SetGate(up) => self.change_pod(|pod| {
                let status = if up { "True" } else { "False" };
                let others = pod["status"]["conditions"].as_array().cloned();
                let mut all: Vec<_> = others.unwrap_or_default();
                all.retain(|c| c["type"] != "example.com/gate");
                all.push(json!({"type": "example.com/gate", "status": status}));
                pod["status"]["conditions"] = all.into();
            }),
            Event::Schedule => self.change_host(|host| {
                if host["spec"].get("nodeName").is_none() {
                    host["spec"]["nodeName"] = "n1".into();
                }
            }),
            Event::Run => self.kubelet(|host| {
                host["status"]["phase"] = "Running".into();
                host["status"]["startTime"] = "2026-01-01T00:00:00Z".into();
                host["status"]["containerStatuses"] = json!([{"name": "main"}, {"name": "proxy"}]);
            }),
            Event::Finish => self.kubelet(|host| host["status"]["phase"] = "Succeeded".into()),
            Event::Evict => delete(&mut self.host, None, None),
            Event::Vanish => self.host = None,
            Event::EditLabels => self.change_host(|host| {
                host["metadata"]["labels"] = json!({"by-hand": "x"});
            }),
            Event::Terminated => {
                self.host
                    .take_if(|host| host["metadata"].get("deletionTimestamp").is_some());
            }
            Event::SeeVirtual => self.seen_pod = self.pod.clone(),
            Event::SeeHost => self.seen_host = self.host.clone(),
            Event::Lose => self.complete = false,
            Event::List => self.list(),
            Event::Step => {
                self.step();
            }
        }
    }

    fn list(&mut self) {
        self.seen_pod = self.pod.clone();
        self.seen_host = self.host.clone();
        self.complete = true;
    }

    fn create(&mut self, event: Event) {
        if self.pod.is_some() {
            return;
        }
        let mut made = pod_with(json!({"readinessGates": [{"conditionType": "example.com/gate"}]}));
        made["metadata"]["uid"] = self.uid();
        if matches!(event, Event::CreateHeld) {
            made["metadata"]["finalizers"] = json!(["example.com/hold"]);
        }
        if matches!(event, Event::CreateRefused) {
            made["spec"]["hostPID"] = true.into();
        }
        self.pod = Some(made);
    }

    fn change_pod(&mut self, change: impl FnOnce(&mut Value)) {
        if let Some(pod) = &mut self.pod {
            change(pod);
        }
    }

    fn change_host(&mut self, change: impl FnOnce(&mut Value)) {
        if let Some(host) = &mut self.host {
            change(host);
        }
    }

    fn kubelet(&mut self, change: impl FnOnce(&mut Value)) {
        self.change_host(|host| {
            let finished = host["status"]["phase"] == "Succeeded";
            if host["spec"].get("nodeName").is_some() && !finished {
                change(host);
            }
        });
    }

    fn release(&mut self) {
        self.change_pod(|pod| {
            pod["metadata"]
                .as_object_mut()
                .unwrap()
                .remove("finalizers");
        });
        self.pod
            .take_if(|pod| pod["metadata"]["deletionGracePeriodSeconds"] == 0);
    }

    /// One decision and its execution; whether anything was to be done. A request that names what
    /// is no more fails, as it does with a real API server, and the engine reads again.
    fn step(&mut self) -> bool {
        let knowledge = if self.complete {
            Knowledge::Complete
        } else {
            Knowledge::Partial
        };
        let (pod, host) = (self.seen_pod.clone(), self.seen_host.clone());
        let action = decide(pod.as_ref(), host.as_ref(), knowledge);
        assert_eq!(
            action,
            decide(pod.as_ref(), host.as_ref(), knowledge),
            "one view gives one decision"
        );
        match action {
            Action::Nothing | Action::Wait(_) => return false,
            Action::Refuse(refusal) => {
                let told = pod.and_then(|pod| crate::pod::refused(&pod, &refusal, NOW));
                let Some(patch) = told else { return false };
                if same(self.pod.as_ref(), self.seen_pod.as_ref()) {
                    self.pod = self.pod.as_ref().map(|pod| patched(pod, &patch));
                }
                self.seen_pod = self.pod.clone();
            }
            Action::Create(made) => {
                assert_eq!(knowledge, Knowledge::Complete);
                if self.host.is_none() {
                    let mut host = made.object;
                    host["metadata"]["uid"] = self.uid();
                    host["metadata"]["generation"] = 1.into();
                    host["status"] = json!({"phase": "Pending"});
                    self.host = Some(host);
                }
                self.seen_host = self.host.clone();
            }
            Action::PatchHost(patch) => {
                if same(self.host.as_ref(), host.as_ref()) {
                    self.host = self.host.as_ref().map(|host| patched(host, &patch));
                }
                self.seen_host = self.host.clone();
            }
            Action::PatchVirtual(patch) => {
                if same(self.pod.as_ref(), pod.as_ref()) {
                    let before = phase(self.pod.as_ref());
                    self.pod = self.pod.as_ref().map(|pod| patched(pod, &patch));
                    let after = phase(self.pod.as_ref());
                    assert!(before <= after, "a pod that ran is made anew under its UID");
                }
                self.seen_pod = self.pod.clone();
            }
            Action::Bind(binding) => {
                if same(self.pod.as_ref(), pod.as_ref()) {
                    self.change_pod(|pod| pod["spec"]["nodeName"] = binding.node.into());
                }
                self.seen_pod = self.pod.clone();
            }
            Action::DeleteHost(request) => {
                assert!(pod.is_some() || knowledge == Knowledge::Complete);
                if uid(self.host.as_ref()) == Some(&request.uid) {
                    self.check_orphaned();
                    delete(&mut self.host, Some(&request.uid), request.grace_seconds);
                }
                self.seen_host = self.host.clone();
            }
            Action::DeleteVirtual(request) => {
                assert!(host.is_some() || knowledge == Knowledge::Complete);
                if uid(self.pod.as_ref()) == Some(&request.uid) {
                    self.check_lost();
                    delete(&mut self.pod, Some(&request.uid), request.grace_seconds);
                }
                self.seen_pod = self.pod.clone();
            }
        }
        true
    }

    /// A host pod is deleted only if, in truth, its virtual pod is gone or going.
    fn check_orphaned(&self) {
        let host = self.host.as_ref().unwrap();
        let owner = &host["metadata"]["annotations"]["vcluster.dev/uid"];
        let lives = self.pod.as_ref().is_some_and(|pod| {
            pod["metadata"]["uid"] == *owner && pod["metadata"].get("deletionTimestamp").is_none()
        });
        assert!(!lives, "the pod of a living virtual pod is deleted");
    }

    /// A virtual pod is deleted only if, in truth, its host pod is gone or going.
    fn check_lost(&self) {
        let pod = self.pod.as_ref().unwrap();
        let lives = self.host.as_ref().is_some_and(|host| {
            host["metadata"]["annotations"]["vcluster.dev/uid"] == pod["metadata"]["uid"]
                && host["metadata"].get("deletionTimestamp").is_none()
        });
        let deleting = pod["metadata"].get("deletionTimestamp").is_some();
        assert!(
            !lives || deleting,
            "a virtual pod with a living host pod is deleted"
        );
    }

    /// Everything is seen, nothing more happens but what kubelet and finalizers owe.
    fn settle(&mut self) {
        for _ in 0..40 {
            self.list();
            if self.step() {
                continue;
            }
            let before = (self.pod.clone(), self.host.clone());
            self.happen(Event::Terminated);
            self.release();
            if before == (self.pod.clone(), self.host.clone()) {
                return;
            }
        }
        panic!("does not settle: {:?} {:?}", self.pod, self.host);
    }
}

fn uid(object: Option<&Value>) -> Option<&str> {
    object?["metadata"]["uid"].as_str()
}

/// Phases in the order in which a pod passes through them.
fn phase(pod: Option<&Value>) -> Option<usize> {
    let phase = pod?["status"]["phase"].as_str()?;
    ["Pending", "Running"]
        .iter()
        .position(|p| *p == phase)
        .or_else(|| is_finished(pod?).then_some(2))
}

fn is_finished(pod: &Value) -> bool {
    ["Succeeded", "Failed"]
        .iter()
        .any(|phase| pod["status"]["phase"] == *phase)
}

fn same(one: Option<&Value>, other: Option<&Value>) -> bool {
    uid(one) == uid(other)
}

/// As an API server deletes pods: at once if nothing can run or no grace is left, else by a mark.
fn delete(slot: &mut Option<Value>, expected: Option<&str>, grace: Option<i64>) {
    let Some(object) = slot else { return };
    assert!(expected.is_none() || uid(Some(object)) == expected);
    let metadata = &object["metadata"];
    let bound = object["spec"].get("nodeName").is_some();
    let finished = is_finished(object);
    let earlier = metadata["deletionGracePeriodSeconds"].as_i64();
    let wanted = if bound && !finished {
        grace.unwrap_or(30)
    } else {
        0
    };
    let left = earlier.map_or(wanted, |earlier| earlier.min(wanted));
    let held = metadata.get("finalizers").is_some();
    if left == 0 && !held {
        *slot = None;
        return;
    }
    object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:30Z".into();
    object["metadata"]["deletionGracePeriodSeconds"] = left.into();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_happens_both_sides_end_as_one(events in prop::collection::vec(event(), 0..60)) {
        let mut world = World::default();
        for event in events {
            world.happen(event);
        }
        world.settle();
        match (&world.pod, &world.host) {
            (None, None) => {}
            (None, Some(host)) => prop_assert!(false, "an orphan is left: {host}"),
            (Some(pod), None) => {
                let refused = pod["spec"].get("hostPID").is_some();
                prop_assert!(refused || is_finished(pod), "not made: {pod}");
            }
            (Some(pod), Some(host)) => {
                prop_assert_eq!(&host["metadata"]["annotations"]["vcluster.dev/uid"], &pod["metadata"]["uid"]);
                prop_assert_eq!(&host["status"]["phase"], &pod["status"]["phase"]);
                // One that was bound and never started is made again, and may wait for its node.
                let node = host["spec"].get("nodeName");
                prop_assert!(node.is_none() || node == pod["spec"].get("nodeName"));
                prop_assert_eq!(&host["metadata"]["labels"]["label.vcluster.dev/app"], &pod["metadata"]["labels"]["app"]);
                prop_assert_eq!(&host["spec"]["containers"][0]["image"], &pod["spec"]["containers"][0]["image"]);
            }
        }
    }

    #[test]
    fn what_others_made_survives_everything(
        events in prop::collection::vec(event(), 0..60),
        (key, value) in prop::sample::select(vec![
            ("vcluster.dev/cluster-uid", json!("another-cluster")),
            ("vcluster.dev/uid", Value::Null),
            ("vcluster.dev/kind", json!("Secret")),
            ("vcluster.dev/name", json!("of-another-pod")),
        ]),
    ) {
        let mut stranger = host_of(&pod());
        stranger["metadata"]["annotations"][key] = value;
        let mut world = World { host: Some(stranger.clone()), ..World::default() };
        for event in events {
            let theirs = matches!(
                event,
                Event::Schedule | Event::Run | Event::Finish | Event::Evict | Event::Vanish
                    | Event::EditLabels | Event::Terminated
            );
            if !theirs {
                world.happen(event);
            }
        }
        world.settle();
        prop_assert_eq!(world.host, Some(stranger));
    }
}
