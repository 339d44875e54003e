//! The limit beside servers of known capacity.

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const BOUNDS: Bounds = Bounds {
    floor: 2,
    ceiling: 128,
};

/// A server that does `capacity` requests at once and shares itself among more; each takes 10 ms, more or less.
struct Server {
    capacity: f64,
    /// How long one request takes, in seconds.
    each: f64,
    chance: StdRng,
    now: Instant,
}

impl Server {
    fn new(capacity: f64) -> Self {
        Self {
            capacity,
            each: 0.01,
            chance: StdRng::seed_from_u64(1),
            now: Instant::now(),
        }
    }

    /// Has as many requests under way as may be, for a while; tells the mean limit of its last half.
    fn serve(&mut self, limit: &mut Limit<u8>, seconds: u64) -> f64 {
        let (begun, whole) = (self.now, Duration::from_secs(seconds));
        let (mut sum, mut count) = (0.0, 0.0);
        while self.now < begun + whole {
            let at_once = number(limit.get());
            let share = (at_once / self.capacity).max(1.0);
            let took = self.each * share * self.chance.random_range(0.5..1.5);
            self.now += Duration::from_secs_f64(self.each * share / at_once);
            let done = Answer::Done {
                class: 0,
                took: Duration::from_secs_f64(took),
                beside: limit.get() - 1,
                pressed: true,
            };
            limit.answered(done, self.now);
            if self.now > begun + whole / 2 {
                sum += at_once;
                count += 1.0;
            }
        }
        sum / count
    }
}

#[test]
fn it_is_a_share_of_what_the_server_bears_whatever_that_is() {
    for capacity in [2.0, 6.0, 20.0, 60.0] {
        let mut limit = Limit::new(BOUNDS);
        let found = Server::new(capacity).serve(&mut limit, 60);
        let share = found / capacity;
        assert!((0.8..2.2).contains(&share), "{found} of {capacity}");
    }
}

#[test]
fn it_follows_a_server_that_bears_less_and_then_more() {
    let mut server = Server::new(40.0);
    let mut limit = Limit::new(BOUNDS);
    assert!(server.serve(&mut limit, 20) > 30.0);
    server.capacity = 8.0;
    server.serve(&mut limit, 20);
    let less = server.serve(&mut limit, 40);
    assert!((6.0..20.0).contains(&less), "{less}");
    server.capacity = 40.0;
    server.serve(&mut limit, 20);
    let more = server.serve(&mut limit, 40);
    assert!((30.0..90.0).contains(&more), "{more}");
}

#[test]
fn a_server_that_becomes_slower_for_reasons_of_its_own_is_used_as_before_within_seconds() {
    let mut server = Server::new(20.0);
    let mut limit = Limit::new(BOUNDS);
    let before = server.serve(&mut limit, 60);
    server.each = 0.03;
    server.serve(&mut limit, 5);
    let after = server.serve(&mut limit, 20);
    assert!(after > 0.8 * before, "{after}, before {before}");
}

#[test]
fn too_much_shrinks_it_once_a_second_down_to_the_floor() {
    let mut server = Server::new(20.0);
    let mut limit = Limit::new(BOUNDS);
    server.serve(&mut limit, 10);
    let before = limit.get();
    for _ in 0..10 {
        limit.answered(Answer::TooMuch, server.now);
    }
    assert!(limit.get() < before && limit.get() * 2 > before);
    for second in 1..20 {
        limit.answered(Answer::TooMuch, server.now + Duration::from_secs(second));
    }
    assert_eq!(limit.get(), 2);
}

#[test]
fn it_does_not_grow_while_nobody_waits() {
    let now = Instant::now();
    let mut limit = Limit::new(BOUNDS);
    for _ in 0..1000 {
        let done = Answer::Done {
            class: 0,
            took: Duration::from_millis(3),
            beside: 1,
            pressed: false,
        };
        limit.answered(done, now);
    }
    assert_eq!(limit.get(), BOUNDS.floor);
}

#[test]
fn slow_classes_and_single_slow_answers_are_not_taken_for_a_busy_server() {
    let mut limit = Limit::new(BOUNDS);
    let mut now = Instant::now();
    for turn in 0_u64..4000 {
        now += Duration::from_millis(2);
        // A tenth of them by far slower by their nature, and one of fifty hangs.
        let slow = turn % 10 == 0;
        let millis = match (slow, turn % 50 == 1) {
            (_, true) => 30_000,
            (true, false) => 200,
            (false, false) => 5,
        };
        let done = Answer::Done {
            class: u8::from(slow),
            took: Duration::from_millis(millis),
            beside: limit.get() - 1,
            pressed: true,
        };
        limit.answered(done, now);
    }
    assert!(limit.get() > 60, "{}", limit.get());
}

proptest! {
    #[test]
    fn it_stays_within_its_bounds(
        floor in 0_usize..5,
        ceiling in 0_usize..40,
        answers in prop::collection::vec((0_u8..4, 0_u64..5000, any::<bool>(), 0_u64..2000), 0..400),
    ) {
        let mut limit = Limit::new(Bounds { floor, ceiling });
        let mut now = Instant::now();
        for (class, took, pressed, pause) in answers {
            now += Duration::from_millis(pause);
            let answer = if class == 3 {
                Answer::TooMuch
            } else {
                Answer::Done { class, took: Duration::from_millis(took), beside: 0, pressed }
            };
            limit.answered(answer, now);
            prop_assert!(limit.get() >= floor.max(1));
            prop_assert!(limit.get() <= ceiling.max(floor).max(1));
        }
    }
}
