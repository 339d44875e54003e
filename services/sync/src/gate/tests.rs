//! The gate by itself, and the queue and the gate before a host of known capacity.

use std::collections::HashMap;

use futures::FutureExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::*;
use crate::object::{Key, Kind};
use crate::queue::{After, Lane, Limits, Queue};
use crate::work::Work;

const ALL: Bounds = Bounds {
    floor: 2,
    ceiling: 128,
};

fn tickets<const N: usize>() -> [Ticket; N] {
    let mut queue: Queue<u8> = Queue::default();
    let limits = Limits {
        weight: 1,
        in_flight: 1,
    };
    std::array::from_fn(|_| queue.admit(limits))
}

fn fixed(limit: usize, sharing: Sharing) -> Arc<Gate> {
    let bounds = Bounds {
        floor: limit,
        ceiling: limit,
    };
    Arc::new(Gate::new(bounds, sharing))
}

#[tokio::test(start_paused = true)]
async fn a_place_is_kept_for_who_comes_rested_and_what_is_dropped_is_given_back() {
    let gate = fixed(4, Sharing::All);
    let [greedy, other, third] = tickets();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(gate.enter(greedy, 1).await.unwrap());
    }
    let waiting = gate.enter(greedy, 1);
    let mut waiting = std::pin::pin!(waiting);
    assert!((&mut waiting).now_or_never().is_none(), "one is kept free");
    let rested = gate.enter(other, 1).await.unwrap();
    let full = gate.enter(third, 1);
    let mut full = std::pin::pin!(full);
    assert!((&mut full).now_or_never().is_none());
    assert_eq!(gate.view().waiting, 2);
    drop(held.pop());
    assert!((&mut full).now_or_never().is_some(), "rested, so first");
    drop((rested, held.pop()));
    assert!((&mut waiting).now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn one_that_stops_waiting_takes_no_place_with_it() {
    let gate = fixed(1, Sharing::One);
    let [tenant] = tickets();
    let first = gate.enter(tenant, 1).await.unwrap();
    {
        let given_up = gate.enter(tenant, 1);
        assert!(given_up.now_or_never().is_none());
    }
    drop(first);
    assert!(gate.enter(tenant, 1).now_or_never().is_some());
    assert_eq!((gate.view().under_way, gate.view().waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn requests_that_hang_give_their_places_up() {
    let gate = fixed(2, Sharing::All);
    let [hanging, other] = tickets();
    let mut passes = Vec::new();
    for _ in 0..2 {
        let mut pass = gate.enter(hanging, 1).await.unwrap();
        pass.give_up_place();
        passes.push(pass);
    }
    assert_eq!(gate.view().under_way, 0);
    assert!(gate.enter(other, 1).now_or_never().is_some());
    for pass in passes {
        pass.ended(Ended::Answered, None);
    }
    assert_eq!(gate.view().under_way, 0, "given up once");
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_keeps_nobody_waiting_and_lets_one_probe_through() {
    let gate = fixed(8, Sharing::One);
    let [tenant] = tickets();
    for _ in 0..5 {
        let pass = gate.enter(tenant, 1).await.unwrap();
        pass.ended(Ended::Failed, None);
    }
    let shut = gate.enter(tenant, 1).now_or_never().unwrap().unwrap_err();
    assert!(shut.after <= Duration::from_secs(1), "{shut:?}");
    sleep(Duration::from_secs(1)).await;
    let probe = gate.enter(tenant, 1).await.unwrap();
    assert!(gate.enter(tenant, 1).await.is_err(), "one probe");
    let change = probe.ended(Ended::Answered, None);
    assert_eq!(change, Some(Change::Closed));
    assert!(gate.enter(tenant, 1).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn those_in_line_are_sent_away_when_the_breaker_opens() {
    let gate = fixed(5, Sharing::One);
    let [tenant] = tickets();
    let mut passes = Vec::new();
    for _ in 0..5 {
        let mut pass = gate.enter(tenant, 1).await.unwrap();
        pass.give_up_place();
        passes.push(pass);
    }
    let _holding: Vec<_> = (0..5)
        .map(|_| gate.enter(tenant, 1).now_or_never().unwrap().unwrap())
        .collect();
    let mut waiting = std::pin::pin!(gate.enter(tenant, 1));
    assert!((&mut waiting).now_or_never().is_none());
    for pass in passes {
        pass.ended(Ended::Failed, None);
    }
    let shut = waiting.now_or_never().unwrap().unwrap_err();
    assert!(shut.after > Duration::ZERO, "{shut:?}");
    assert_eq!(gate.view().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_who_gave_up_waiting_take_no_place_and_no_stack() {
    let gate = fixed(1, Sharing::One);
    let [tenant] = tickets();
    let first = gate.enter(tenant, 1).await.unwrap();
    for _ in 0..100_000 {
        assert!(gate.enter(tenant, 1).now_or_never().is_none());
    }
    drop(first);
    assert_eq!((gate.view().under_way, gate.view().waiting), (0, 0));
}

/// A host that does so many requests at once, each in 10 ms, more or less, and lets the others wait in the order in
/// which they came.
struct Server {
    at_once: Semaphore,
    chance: Mutex<StdRng>,
}

impl Server {
    async fn serve(&self) {
        let _slot = self.at_once.acquire().await;
        let millis = self.chance.lock().unwrap().random_range(5.0..15.0);
        sleep(Duration::from_secs_f64(millis / 1e3)).await;
    }
}

/// The queue, the gate, and such a host.
struct World {
    work: Arc<Work>,
    gate: Option<Arc<Gate>>,
    host: Server,
    done: Mutex<HashMap<Key, oneshot::Sender<()>>>,
    served: AsyncMutex<HashMap<Ticket, usize>>,
}

impl World {
    fn new(capacity: usize, gated: bool) -> Arc<Self> {
        let world = Arc::new(Self {
            work: Arc::new(Work::new(64)),
            gate: gated.then(|| Arc::new(Gate::new(ALL, Sharing::All))),
            host: Server {
                at_once: Semaphore::new(capacity),
                chance: Mutex::new(StdRng::seed_from_u64(7)),
            },
            done: Mutex::default(),
            served: AsyncMutex::default(),
        });
        tokio::spawn(Arc::clone(&world).run());
        world
    }

    async fn run(self: Arc<Self>) -> ! {
        loop {
            let taken = self.work.take().await;
            let world = Arc::clone(&self);
            tokio::spawn(async move {
                let class = http::Request::post("/api/v1/namespaces/a/pods").body(());
                let class = Class::of(&class.unwrap());
                if let Some(gate) = &world.gate {
                    let pass = gate.enter(taken.tenant, 1).await.unwrap();
                    world.host.serve().await;
                    pass.ended(Ended::Answered, class);
                } else {
                    world.host.serve().await;
                }
                world.work.done(taken.tenant, &taken.key, After::Settled);
                let waiting = world.done.lock().unwrap().remove(&taken.key);
                waiting.map(|waiting| waiting.send(()));
                *world.served.lock().await.entry(taken.tenant).or_default() += 1;
            });
        }
    }

    fn admit(&self) -> Ticket {
        self.work.admit(Limits {
            weight: 1,
            in_flight: 16,
        })
    }

    /// A tenant that has more to do than can be done.
    fn greedy(&self, name: &str) -> Ticket {
        let tenant = self.admit();
        for pod in 0..20_000 {
            let key = Key::new(Kind::Pod, name, &pod.to_string());
            self.work.add(tenant, key, Lane::Live);
        }
        tenant
    }

    /// A tenant that makes a pod, does something else for a while, and makes the next. Milliseconds of each.
    async fn regular(self: Arc<Self>, name: String, pods: usize) -> Vec<f64> {
        let tenant = self.admit();
        let mut took = Vec::new();
        for pod in 0..pods {
            let pause = self.host.chance.lock().unwrap().random_range(20..60);
            sleep(Duration::from_millis(pause)).await;
            let key = Key::new(Kind::Pod, &name, &pod.to_string());
            let (done, is_done) = oneshot::channel();
            self.done.lock().unwrap().insert(key.clone(), done);
            let begun = Instant::now();
            self.work.add(tenant, key, Lane::Live);
            is_done.await.unwrap();
            took.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        took
    }
}

/// The 99th percentile of regular tenants' waits, each tenant's mean, and how much the greedy ones got done a second.
async fn run(capacity: usize, gated: bool, greedy: usize, regular: usize) -> (f64, Vec<f64>, f64) {
    let world = World::new(capacity, gated);
    let greedy: Vec<_> = (0..greedy)
        .map(|n| world.greedy(&format!("greedy-{n}")))
        .collect();
    // As a flood that has begun before.
    sleep(Duration::from_secs(2)).await;
    let begun = Instant::now();
    let before = world.served.lock().await.clone();
    let mut users = JoinSet::new();
    for n in 0..regular {
        users.spawn(Arc::clone(&world).regular(format!("regular-{n}"), 200));
    }
    let each = users.join_all().await;
    let served = world.served.lock().await;
    let count = |served: &HashMap<Ticket, usize>| -> usize {
        greedy.iter().filter_map(|tenant| served.get(tenant)).sum()
    };
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    let rate = (count(&served) - count(&before)) as f64 / begun.elapsed().as_secs_f64();
    let means = each.iter().map(|took| took.iter().sum::<f64>() / 200.0);
    let means = means.collect();
    let mut all = each.concat();
    all.sort_by(f64::total_cmp);
    (all[all.len() * 99 / 100], means, rate)
}

#[tokio::test(start_paused = true)]
async fn regular_tenants_beside_greedy_ones_wait_no_longer_than_half_as_long_again() {
    for (capacity, regular) in [(8, 4), (16, 8), (32, 8)] {
        let (solo, _, _) = run(capacity, true, 0, regular).await;
        let (beside, means, rate) = run(capacity, true, 2, regular).await;
        assert!(
            beside <= 1.5 * solo,
            "{capacity}: {beside} ms, alone {solo} ms"
        );
        let most = means.iter().copied().fold(0.0, f64::max);
        let least = means.iter().copied().fold(f64::MAX, f64::min);
        assert!(
            most < 1.3 * least,
            "one is worse off than others: {means:?}"
        );
        // What the host bears is not left unused for that: 100 a second for each of its slots.
        let possible = 100.0 * f64::from(u32::try_from(capacity).unwrap());
        assert!(rate > 0.6 * possible, "{capacity}: {rate} of {possible}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_gate_the_same_tenants_wait_several_times_as_long() {
    let (solo, _, _) = run(8, false, 0, 4).await;
    let (beside, _, _) = run(8, false, 2, 4).await;
    assert!(beside > 2.5 * solo, "{beside} ms, alone {solo} ms");
}

#[tokio::test(start_paused = true)]
async fn twenty_greedy_tenants_are_as_bearable_as_two() {
    let (solo, _, _) = run(16, true, 0, 4).await;
    let (beside, _, _) = run(16, true, 20, 4).await;
    assert!(beside <= 2.0 * solo, "{beside} ms, alone {solo} ms");
}
