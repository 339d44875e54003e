//! The protocol by which replicas share a tenant, as a model over the shipped decisions: any order of renewals, ends,
//! cuts, late news and takings, with clocks of their own.
//!
//! What is asserted after every step: no two replicas act for the tenant at once. A replica acts from when it has written
//! the tenant's Lease until it lets go, dies, or its own term is over.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::runtime::watcher::Event;
use proptest::prelude::*;
use serde_json::Value;
use vcluster_chassis::testing::{ApiServer, json as answer};

use super::*;
use crate::testing::status;

/// How long a Lease of a replica holds, for others.
const DURATION: u64 = 15;
/// How long it makes the replica act.
const TERM: u64 = 10;
const UID: &str = "uid";
const REPLICAS: usize = 3;

/// The API server: objects with versions.
#[derive(Debug, Default)]
struct Store {
    version: u64,
    objects: BTreeMap<String, Record>,
}

impl Store {
    fn write(&mut self, name: &str, holder: Option<&str>, renewal: u64) {
        self.version += 1;
        let record = Record {
            holder: holder.map(str::to_owned),
            renewal: Some(renewal.to_string()),
            version: self.version,
        };
        self.objects.insert(name.to_owned(), record);
    }

    fn read(&self, name: &str) -> Option<Record> {
        self.objects.get(name).cloned()
    }
}

/// One replica.
#[derive(Debug)]
struct Replica {
    pod: String,
    process: String,
    known: Leases,
    /// When its term ends; it holds its Lease until then.
    term: Option<Instant>,
    acts: bool,
    /// It has freed its Lease, and never renews it again.
    has_left: bool,
    /// What it read of the tenant's Lease, before it writes.
    read: Option<(u64, bool)>,
}

impl Replica {
    fn new(number: usize) -> Self {
        let pod = format!("pod-{number}");
        Self {
            process: format!("{pod}_0"),
            pod,
            known: Leases::new(Duration::from_secs(DURATION)),
            term: None,
            acts: false,
            has_left: false,
            read: None,
        }
    }

    fn lives(&self, now: Instant) -> bool {
        self.term.is_some_and(|end| now < end)
    }
}

/// What may happen next.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// A replica renews its Lease, if it may.
    Renew(usize),
    /// Its news of the Leases arrive.
    Hear(usize),
    /// It reads the tenant's Lease and its holder's.
    Read(usize),
    /// It writes the tenant's Lease after what it read.
    Write(usize),
    /// It lets the tenant go, also one that it could not free before.
    LetGo(usize),
    /// It frees its own Lease, and goes on until the tenant is let go.
    Leave(usize),
    /// It is killed, and begins anew as another process in the same pod.
    Kill(usize),
    /// Time passes.
    Pass(u64),
}

fn event() -> impl Strategy<Value = Turn> {
    let one = 0..REPLICAS;
    prop_oneof![
        4 => one.clone().prop_map(Turn::Renew),
        3 => one.clone().prop_map(Turn::Hear),
        4 => one.clone().prop_map(Turn::Read),
        4 => one.clone().prop_map(Turn::Write),
        1 => one.clone().prop_map(Turn::LetGo),
        1 => one.clone().prop_map(Turn::Leave),
        1 => one.prop_map(Turn::Kill),
        3 => (1_u64..9).prop_map(Turn::Pass),
    ]
}

struct World {
    store: Store,
    replicas: Vec<Replica>,
    now: Instant,
    begun: Instant,
    kills: usize,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            store: Store::default(),
            replicas: (0..REPLICAS).map(Replica::new).collect(),
            now,
            begun: now,
            kills: 0,
        }
    }

    fn clock(&self) -> u64 {
        self.now.duration_since(self.begun).as_secs()
    }

    fn renew(&mut self, number: usize) {
        let (now, clock) = (self.now, self.clock());
        let replica = &mut self.replicas[number];
        if replica.has_left {
            return;
        }
        let name = lease(&replica.pod);
        let found = self.store.read(&name);
        let holder = found.as_ref().and_then(|record| record.holder.clone());
        replica.known.see(&name, found.as_ref(), now);
        let is_mine = holder
            .as_ref()
            .is_none_or(|holder| *holder == replica.process);
        // As in the election: another process of this pod may still act.
        if is_mine || holder.is_some_and(|holder| !replica.known.may_act(&holder, now)) {
            let process = replica.process.clone();
            replica.term = Some(now + Duration::from_secs(TERM));
            self.store.write(&name, Some(&process), clock);
        }
    }

    fn hear(&mut self, number: usize) {
        for (name, record) in &self.store.objects {
            self.replicas[number]
                .known
                .see(name, Some(record), self.now);
        }
    }

    fn read(&mut self, number: usize) {
        let now = self.now;
        let replica = &mut self.replicas[number];
        if !replica.lives(now) {
            return;
        }
        let found = self.store.read(&format!("{TENANT}{UID}"));
        let version = found.as_ref().map_or(0, |record| record.version);
        let holder = found.and_then(|record| record.holder);
        let may_act = holder.as_ref().is_some_and(|holder| {
            let name = lease(parts(holder).0);
            replica
                .known
                .see(&name, self.store.read(&name).as_ref(), now);
            replica.known.may_act(holder, now)
        });
        let may = claim(holder.as_deref(), &replica.process, may_act) == Claim::Take;
        replica.read = Some((version, may));
    }

    fn write(&mut self, number: usize) {
        let name = format!("{TENANT}{UID}");
        let found = self.store.read(&name).map_or(0, |record| record.version);
        let clock = self.clock();
        let replica = &mut self.replicas[number];
        let Some((version, true)) = replica.read.take() else {
            return;
        };
        if replica.acts || version != found || !replica.lives(self.now) {
            return;
        }
        replica.acts = true;
        let process = replica.process.clone();
        self.store.write(&name, Some(&process), clock);
    }

    fn let_go(&mut self, number: usize) {
        let name = format!("{TENANT}{UID}");
        let clock = self.clock();
        let replica = &mut self.replicas[number];
        replica.acts = false;
        let holder = self.store.read(&name).and_then(|record| record.holder);
        if holder.as_deref() == Some(replica.process.as_str()) {
            self.store.write(&name, None, clock);
        }
    }

    fn leave(&mut self, number: usize) {
        let replica = &mut self.replicas[number];
        replica.has_left = true;
        let name = lease(&replica.pod);
        let holder = self.store.read(&name).and_then(|record| record.holder);
        if holder.as_deref() == Some(replica.process.as_str()) {
            self.store.write(&name, None, self.clock());
        }
    }

    fn kill(&mut self, number: usize) {
        self.kills += 1;
        let process = format!("pod-{number}_{}", self.kills);
        self.replicas[number] = Replica {
            process,
            ..Replica::new(number)
        };
    }

    fn happen(&mut self, event: Turn) {
        match event {
            Turn::Renew(number) => self.renew(number),
            Turn::Hear(number) => self.hear(number),
            Turn::Read(number) => self.read(number),
            Turn::Write(number) => self.write(number),
            Turn::LetGo(number) => self.let_go(number),
            Turn::Leave(number) => self.leave(number),
            Turn::Kill(number) => self.kill(number),
            Turn::Pass(seconds) => self.now += Duration::from_secs(seconds),
        }
        for replica in &mut self.replicas {
            // Its own clock ends its term, whatever it hears.
            replica.acts &= replica.term.is_some_and(|end| self.now < end);
        }
    }

    fn acting(&self) -> usize {
        self.replicas.iter().filter(|replica| replica.acts).count()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_two_replicas_act_for_a_tenant_whatever_happens(events in prop::collection::vec(event(), 0..120)) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
            prop_assert!(world.acting() <= 1, "{:?}", world.replicas);
        }
        // And one always does in the end, when those that have left are started again.
        for number in 0..REPLICAS {
            if world.replicas[number].has_left {
                world.happen(Turn::Kill(number));
            }
        }
        for _ in 0..40 {
            world.happen(Turn::Pass(1));
            for number in 0..REPLICAS {
                world.happen(Turn::Renew(number));
                world.happen(Turn::Hear(number));
                let candidates = world.replicas[number].known.candidates(world.now);
                let owner = rank::owner(UID, candidates.iter().map(String::as_str));
                if owner == Some(world.replicas[number].process.as_str()) {
                    world.happen(Turn::Read(number));
                    world.happen(Turn::Write(number));
                } else {
                    world.happen(Turn::LetGo(number));
                }
                prop_assert!(world.acting() <= 1, "{:?}", world.replicas);
            }
        }
        prop_assert_eq!(world.acting(), 1);
    }
}

#[test]
fn a_process_tells_its_pod_and_its_address() {
    let address = Some("10.0.0.7:8443".parse().unwrap());
    let process = format!("{}_0f", holder("vcluster-sync-abc", address));
    assert_eq!(parts(&process), ("vcluster-sync-abc", address));
    let silent = format!("{}_0f", holder("vcluster-sync-abc", None));
    assert_eq!(parts(&silent), ("vcluster-sync-abc", None));
    assert!(lease("p").starts_with(REPLICA));
}

#[tokio::test(start_paused = true)]
async fn who_frees_its_lease_is_no_candidate_and_may_still_act() {
    let mut known = Leases::new(Duration::from_secs(DURATION));
    let now = Instant::now();
    let held = Record {
        holder: Some("a_0".to_owned()),
        renewal: Some("1".to_owned()),
        version: 1,
    };
    assert!(known.see(&lease("a"), Some(&held), now));
    assert_eq!(known.candidates(now).len(), 1);
    let renewed = Record {
        renewal: Some("2".to_owned()),
        ..held
    };
    assert!(
        !known.see(&lease("a"), Some(&renewed), now),
        "a renewal is no news"
    );
    let free = Record::default();
    assert!(known.see(&lease("a"), Some(&free), now));
    assert!(known.candidates(now).is_empty());
    assert!(known.may_act("a_0", now));
    assert!(!known.may_act("a_0", now + Duration::from_secs(DURATION)));
}

/// An API server that keeps Leases, as far as this module can tell.
fn server() -> ApiServer {
    let kept: Mutex<(u64, BTreeMap<String, Value>)> = Mutex::default();
    ApiServer::new(move |call| {
        let mut kept = kept.lock().unwrap();
        let (version, leases) = &mut *kept;
        let name = call.path.rsplit('/').next().unwrap().to_owned();
        let found = leases.get(&name).cloned();
        let store = |version: &mut u64, leases: &mut BTreeMap<String, Value>, mut lease: Value| {
            *version += 1;
            lease["metadata"]["resourceVersion"] = version.to_string().into();
            lease["metadata"]["uid"] = "uid".into();
            let name = lease["metadata"]["name"].as_str().unwrap().to_owned();
            leases.insert(name, lease.clone());
            answer(200, lease)
        };
        match (call.method.as_str(), found) {
            ("GET", Some(lease)) => answer(200, lease),
            ("POST", _) if leases.contains_key(call.body["metadata"]["name"].as_str().unwrap()) => {
                status(409, "AlreadyExists")
            }
            ("POST", _) => store(version, leases, call.body.clone()),
            ("PUT", Some(lease)) => {
                let is_newest = lease["metadata"]["resourceVersion"]
                    == call.body["metadata"]["resourceVersion"];
                match is_newest {
                    // As API servers do: what changes nothing makes no version.
                    true if lease == call.body => answer(200, lease),
                    true => store(version, leases, call.body.clone()),
                    false => status(409, "Conflict"),
                }
            }
            ("DELETE", Some(lease)) => {
                leases.remove(&name);
                answer(200, lease)
            }
            (_, _) => status(404, "NotFound"),
        }
    })
}

fn own_lease(process: &str, renewal: i64) -> Lease {
    let (pod, _) = parts(process);
    let renewed = jiff::Timestamp::from_second(renewal).unwrap();
    Lease {
        metadata: ObjectMeta {
            name: Some(lease(pod)),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(process.to_owned()),
            renew_time: Some(MicroTime(renewed)),
            ..LeaseSpec::default()
        }),
    }
}

/// A replica that knows itself and those whose Leases it hears of.
fn replica(server: &ApiServer, me: &str, others: &[&str]) -> Replicas {
    let host = Server {
        watch: server.client(),
        request: server.client(),
    };
    let replicas = Replicas::new(&host, "system", me, Duration::from_secs(DURATION));
    let shared = replicas.shared.as_ref().unwrap();
    shared.take(Event::Init);
    for process in others.iter().chain([&me]) {
        shared.take(Event::InitApply(own_lease(process, 1)));
    }
    shared.take(Event::InitDone);
    replicas
}

#[tokio::test(start_paused = true)]
async fn a_tenant_goes_to_another_when_it_is_freed_and_not_before() {
    let server = server();
    let first = replica(&server, "a_0", &[]);
    first.take(UID, |_| {}).await;
    let second = replica(&server, "b_0", &[]);
    let taking = second.take(UID, |_| {});
    tokio::pin!(taking);
    let early = tokio::time::timeout(Duration::from_secs(5), &mut taking).await;
    assert!(early.is_err(), "its holder may still act");
    first.release(UID).await;
    taking.await;
    assert_eq!(
        second.shared.as_ref().unwrap().table().known.holder(UID),
        Some("b_0")
    );
    // Too late, and of no effect.
    first.release(UID).await;
    assert!(!second.shared.as_ref().unwrap().is_taken(UID));
    second.forget(UID).await;
    let deletes = server
        .calls()
        .iter()
        .filter(|call| call.method == "DELETE")
        .count();
    assert_eq!(deletes, 1);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_of_one_that_is_not_heard_of_any_more_is_taken_when_its_time_is_over() {
    let server = server();
    let dead = replica(&server, "a_0", &[]);
    dead.take(UID, |_| {}).await;
    let second = replica(&server, "b_0", &[]);
    let begun = Instant::now();
    second.take(UID, |_| {}).await;
    assert!(begun.elapsed() >= Duration::from_secs(DURATION));
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_could_not_be_freed_when_it_was_let_go_is_freed_later() {
    let server = server();
    let first = replica(&server, "a_0", &[]);
    first.take(UID, |_| {}).await;
    let shared = first.shared.as_ref().unwrap();
    for number in 0..64 {
        shared.take(Event::Apply(own_lease(&format!("b{number}_0"), 1)));
    }
    assert!(shared.elsewhere(UID).is_some() && shared.is_mine(UID));
    let waits = first.take(UID, |_| {});
    let waited = tokio::time::timeout(Duration::from_secs(5), waits).await;
    assert!(waited.is_err(), "it is another's");
    assert!(!shared.is_mine(UID));
}

#[tokio::test(start_paused = true)]
async fn who_is_not_to_serve_a_tenant_lets_it_go() {
    let server = server();
    let alone = replica(&server, "a_0", &[]);
    alone.take(UID, |_| {}).await;
    let shared = alone.shared.as_ref().unwrap();
    // Others come until it belongs to one of them.
    let lost = alone.lost(UID);
    tokio::pin!(lost);
    assert!(futures::poll!(&mut lost).is_pending());
    for number in 0..64 {
        shared.take(Event::Apply(own_lease(&format!("b{number}_0"), 1)));
    }
    lost.await;
    assert!(shared.elsewhere(UID).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_tenant_whose_holder_may_act_is_not_asked_for_all_the_time() {
    let server = server();
    let holder = replica(&server, "a_0", &[]);
    holder.take(UID, |_| {}).await;
    let second = replica(&server, "b_0", &[]);
    let before = server.calls().len();
    let early = Duration::from_secs(DURATION - 1);
    let waited = tokio::time::timeout(early, second.take(UID, |_| {})).await;
    assert!(waited.is_err(), "its holder may still act");
    assert!(server.calls().len() - before <= 2, "{:?}", server.calls());
}

/// Names of the Leases that the server was told to delete.
fn deleted(server: &ApiServer) -> Vec<String> {
    let calls = server.calls();
    let deletes = calls.iter().filter(|call| call.method == "DELETE");
    let name =
        |call: &vcluster_chassis::testing::Call| call.path.rsplit('/').next().unwrap().to_owned();
    deletes.map(name).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_on_its_way_to_free_a_tenant_frees_none_that_was_taken_again() {
    let server = server();
    let replicas = replica(&server, "a_0", &[]);
    let shared = replicas.shared.as_ref().unwrap();
    let name = format!("{TENANT}{UID}");
    assert!(shared.attempt(UID).await.unwrap());
    // A stay ends; the request that frees the tenant is held up, and a new stay begins.
    let mut freeing = shared.leases.get(&name).await.unwrap();
    freeing.spec.get_or_insert_default().holder_identity = Some(String::new());
    assert!(shared.attempt(UID).await.unwrap());
    let params = PostParams::default();
    let late = shared.leases.replace(&name, &params, &freeing).await;
    let refused = late.unwrap_err();
    assert!(
        matches!(&refused, kube::Error::Api(status) if status.code == 409),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_replica_that_was_renewed_unheard_is_not_removed() {
    let server = server();
    let replicas = replica(&server, "a_0", &["b_0"]);
    let shared = replicas.shared.as_ref().unwrap();
    let params = PostParams::default();
    shared
        .leases
        .create(&params, &own_lease("b_0", 2))
        .await
        .unwrap();
    tokio::time::advance(Duration::from_hours(2)).await;
    shared.take(Event::Apply(own_lease("a_0", 2)));
    shared.sweep(|_| false).await;
    assert_eq!(deleted(&server), Vec::<String>::new());
    tokio::time::advance(Duration::from_hours(2)).await;
    shared.take(Event::Apply(own_lease("a_0", 3)));
    shared.sweep(|_| false).await;
    assert_eq!(deleted(&server), [lease("b")]);
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_tenant_that_is_gone_goes_once_nobody_may_act_for_it() {
    let server = server();
    let dead = replica(&server, "a_0", &[]);
    dead.take(UID, |_| {}).await;
    let second = replica(&server, "b_0", &[]);
    let shared = second.shared.as_ref().unwrap();
    let held = shared.leases.get(&format!("{TENANT}{UID}")).await.unwrap();
    shared.take(Event::Apply(held));
    shared.sweep(|_| true).await;
    assert_eq!(
        deleted(&server),
        Vec::<String>::new(),
        "its holder may still act"
    );
    tokio::time::advance(Duration::from_secs(DURATION)).await;
    shared.sweep(|_| false).await;
    assert_eq!(deleted(&server), Vec::<String>::new(), "it is there");
    shared.sweep(|_| true).await;
    assert_eq!(deleted(&server), [format!("{TENANT}{UID}")]);
}
