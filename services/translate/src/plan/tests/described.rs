//! Two small API servers, a tenant and a host's administrator, in any order: whatever happens while an object of a
//! described kind is decided about, on however old a view, it ends right.

use proptest::prelude::*;

use super::*;
use crate::{fixture::patched, kind::ToHost, mirror};

/// What can happen to one name, to host and from host alike: `Create` and its kin are its source's.
#[derive(Debug, Clone, Copy)]
enum Event {
    // Where it comes from.
    Create(u8),
    Edit(u8),
    Hold,
    Remove,
    Use(bool),
    // Where it goes to.
    Meddle(u8),
    Mark,
    Vanish,
    Serve(u8),
    // The engine.
    SeeSource,
    SeeCopy,
    Lose,
    List,
    Step,
}

fn event() -> impl Strategy<Value = Event> {
    use Event::*;
    prop_oneof![
        (0..3u8).prop_map(Create),
        (0..3u8).prop_map(Edit),
        Just(Hold),
        Just(Remove),
        any::<bool>().prop_map(Use),
        (0..3u8).prop_map(Meddle),
        Just(Mark),
        Just(Vanish),
        (0..3u8).prop_map(Serve),
        Just(SeeSource),
        Just(SeeCopy),
        Just(Lose),
        Just(List),
        Just(Step),
        Just(Step),
        Just(Step),
    ]
}

/// The truth on both sides, and what the engine has seen of it.
struct World {
    kind: Kind,
    source: Option<Value>,
    copy: Option<Value>,
    seen_source: Option<Value>,
    seen_copy: Option<Value>,
    complete: bool,
    used: bool,
    uids: u32,
}

impl World {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            source: None,
            copy: None,
            seen_source: None,
            seen_copy: None,
            complete: false,
            used: true,
            uids: 0,
        }
    }

    fn uid(&mut self) -> Value {
        self.uids += 1;
        format!("uid-{}", self.uids).into()
    }

    fn rules(&self) -> Option<&'static ToHost> {
        match &self.kind.description().translation {
            Translation::ToHost(rules) => Some(rules),
            Translation::FromHost(_) | Translation::Bespoke(_) | Translation::ReadOnly => None,
        }
    }

    fn happen(&mut self, event: Event) {
        let edit = |object: &mut Option<Value>, n: u8| {
            if let Some(object) = object {
                object["spec"]["controller"] = n.to_string().into();
                object["spec"]["rules"] = json!([{"host": n.to_string()}]);
                object["data"] = json!({"n": n.to_string()});
                object["metadata"]["labels"]["n"] = n.to_string().into();
            }
        };
        match event {
            Event::Create(n) => {
                if self.source.is_none() {
                    let uid = self.uid();
                    let mut source =
                        json!({"metadata": {"name": "web", "uid": uid, "labels": {}}, "spec": {}});
                    if self.rules().is_some() {
                        source["metadata"]["namespace"] = "shop".into();
                    }
                    self.source = Some(source);
                    edit(&mut self.source, n);
                }
            }
            Event::Edit(n) => edit(&mut self.source, n),
            Event::Hold => mark(&mut self.source),
            Event::Remove => self.source = None,
            Event::Use(used) => self.used = used,
            Event::Meddle(n) => edit(&mut self.copy, n),
            Event::Mark => mark(&mut self.copy),
            Event::Vanish => self.copy = None,
            Event::Serve(n) => {
                if let Some(copy) = &mut self.copy {
                    copy["status"] = json!({"loadBalancer": {"ingress": [{"ip": n.to_string()}]}});
                }
            }
            Event::SeeSource => self.seen_source = self.source.clone(),
            Event::SeeCopy => self.seen_copy = self.copy.clone(),
            Event::Lose => self.complete = false,
            Event::List => {
                self.seen_source = self.source.clone();
                self.seen_copy = self.copy.clone();
                self.complete = true;
            }
            Event::Step => {
                self.step();
            }
        }
    }

    fn decide(&self) -> Action<Value> {
        let knowledge = if self.complete {
            Knowledge::Complete
        } else {
            Knowledge::Partial
        };
        let (source, copy) = (self.seen_source.as_ref(), self.seen_copy.as_ref());
        match &self.kind.description().translation {
            Translation::ToHost(rules) => {
                let view = View {
                    object: source,
                    host: copy,
                    needed: self.used,
                    knowledge,
                };
                to_host(self.kind, rules, view, &context())
            }
            Translation::FromHost(rules) => {
                from_host(self.kind, rules, source, copy, knowledge, &context())
            }
            Translation::Bespoke(_) | Translation::ReadOnly => panic!("it is described"),
        }
    }

    /// One decision and its execution; whether anything was to be done. A request that names what is no more fails,
    /// and the engine reads again.
    fn step(&mut self) -> bool {
        let action = self.decide();
        assert_eq!(action, self.decide(), "one view gives one decision");
        let (copies, sources) = (uid(self.copy.as_ref()), uid(self.source.as_ref()));
        let upward = self.rules().is_none();
        match action {
            Action::Nothing | Action::Wait(_) | Action::Refuse(_) => return false,
            Action::Create(mut made) => {
                assert!(self.complete, "made although it may be there");
                if self.copy.is_none() {
                    made["metadata"]["uid"] = self.uid();
                    self.copy = Some(made);
                }
                self.seen_copy = self.copy.clone();
            }
            Action::PatchVirtual(patch) if !upward => {
                if sources == patch.body["metadata"]["uid"].as_str().map(str::to_owned) {
                    self.source = self.source.as_ref().map(|source| patched(source, &patch));
                }
                self.seen_source = self.source.clone();
            }
            Action::PatchHost(patch) | Action::PatchVirtual(patch) => {
                if copies == patch.body["metadata"]["uid"].as_str().map(str::to_owned) {
                    self.copy = self.copy.as_ref().map(|copy| patched(copy, &patch));
                }
                self.seen_copy = self.copy.clone();
            }
            Action::DeleteHost(delete) | Action::DeleteVirtual(delete) => {
                let certain = self.complete || delete.cause == Cause::Replace;
                assert!(certain, "deleted on doubt: {delete:?}");
                if copies == Some(delete.uid) {
                    self.check_unwanted();
                    self.copy = None;
                }
                self.seen_copy = self.copy.clone();
            }
            Action::Bind(_) => panic!("nothing is bound"),
        }
        true
    }

    /// A host object is deleted only if, in truth, the very object for which it was made is gone or not used.
    fn check_unwanted(&self) {
        if self.rules().is_none() {
            return;
        }
        let owner =
            self.copy.as_ref().unwrap()["metadata"]["annotations"]["vcluster.dev/uid"].as_str();
        let lives = self.used && owner.is_some() && uid(self.source.as_ref()).as_deref() == owner;
        assert!(!lives, "what is wanted is deleted");
    }

    /// Everything is seen, and nothing more happens but what is ending ends.
    fn settle(&mut self) {
        for _ in 0..40 {
            self.happen(Event::List);
            if self.step() {
                continue;
            }
            let ending = |copy: &mut Value| copy["metadata"].get("deletionTimestamp").is_some();
            if self.copy.take_if(ending).is_none() {
                return;
            }
        }
        panic!("does not settle: {:?} {:?}", self.source, self.copy);
    }
}

fn mark(object: &mut Option<Value>) {
    if let Some(object) = object {
        object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:30Z".into();
    }
}

fn uid(object: Option<&Value>) -> Option<String> {
    object?["metadata"]["uid"].as_str().map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_happens_the_host_has_what_is_wanted_and_nothing_else(
        kind in prop::sample::select(vec![Kind::Ingress, Kind::ConfigMap]),
        events in prop::collection::vec(event(), 0..60),
    ) {
        let mut world = World::new(kind);
        for event in events {
            world.happen(event);
        }
        world.settle();
        let wanted = world.source.clone().filter(|_| world.used);
        prop_assert_eq!(wanted.is_some(), world.copy.is_some());
        if let (Some(source), Some(host)) = (wanted, &world.copy) {
            prop_assert_eq!(&host["metadata"]["annotations"]["vcluster.dev/uid"], &source["metadata"]["uid"]);
            let update = (world.rules().unwrap().update)(&source, host, &context());
            prop_assert_eq!(update, Ok(crate::Change::None));
            if kind == Kind::Ingress {
                let address = |object: &Value| object.pointer("/status/loadBalancer/ingress").cloned();
                prop_assert_eq!(address(&source), address(host));
            }
        }
    }

    #[test]
    fn whatever_happens_the_mirrors_are_those_of_the_host(events in prop::collection::vec(event(), 0..60)) {
        let mut world = World::new(Kind::IngressClass);
        for event in events {
            world.happen(event);
        }
        world.settle();
        prop_assert_eq!(world.source.is_some(), world.copy.is_some());
        if let (Some(host), Some(shown)) = (&world.source, &world.copy) {
            prop_assert!(mirror::is_ours(shown, &context()));
            prop_assert_eq!(&host["spec"]["controller"], &shown["spec"]["controller"]);
            prop_assert_eq!(&host["metadata"]["labels"]["n"], &shown["metadata"]["labels"]["n"]);
        }
    }

    #[test]
    fn what_others_made_under_our_names_survives_everything(
        kind in prop::sample::select(vec![Kind::Ingress, Kind::ConfigMap, Kind::IngressClass]),
        events in prop::collection::vec(event(), 0..60),
    ) {
        let stranger = json!({"metadata": {
            "name": "web-x-shop-x-demo", "namespace": "team-a", "uid": "theirs",
            "annotations": {"vcluster.dev/cluster-uid": "another-cluster"},
        }});
        let mut world = World::new(kind);
        world.copy = Some(stranger.clone());
        for event in events {
            let theirs = matches!(
                event,
                Event::Meddle(_) | Event::Mark | Event::Vanish | Event::Serve(_)
            );
            if !theirs {
                world.happen(event);
            }
        }
        world.settle();
        prop_assert_eq!(world.copy, Some(stranger));
    }
}
