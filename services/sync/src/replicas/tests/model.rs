//! The protocol by which replicas share a tenant, as a model over the shipped decisions: any order of renewals, ends,
//! cuts, late news and takings, with clocks of their own; of processes that know their pod's UID, and of such that do not.
//!
//! What is asserted after every step: no two replicas act for the tenant at once. A replica acts from when it has written
//! the tenant's Lease until it lets go, dies, or its own term is over.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// How long its Lease makes a replica act.
const TERM: u64 = 10;
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
    fn new(number: usize, start: usize) -> Self {
        let pod = format!("pod-{number}");
        // One of them is not told.
        let uid = if number == 0 {
            String::new()
        } else {
            format!("uid-{number}_")
        };
        Self {
            process: format!("{pod}_{uid}{start}"),
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
            replicas: (0..REPLICAS)
                .map(|number| Replica::new(number, 0))
                .collect(),
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
        // As in the election: another process of a pod of this name may still act.
        let may_act = |holder: String| {
            !is_predecessor(&holder, &replica.process) && replica.known.may_act(&holder, now)
        };
        if is_mine || !holder.is_some_and(may_act) {
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
            !is_predecessor(holder, &replica.process) && replica.known.may_act(holder, now)
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
        self.replicas[number] = Replica::new(number, self.kills);
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
                let owner = rank::owner(UID, candidates.iter().map(|process| parts(process).0));
                if owner == Some(world.replicas[number].pod.as_str()) {
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
