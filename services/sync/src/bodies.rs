//! The newest objects in full, within a budget. No I/O.
//!
//! An object stays as it was read while it is *fresh*: several events and answers follow each other within moments, and
//! each has both sides looked at. Then it becomes compressed text, which takes a fraction of the memory, until it is
//! pushed out by newer ones. What has been pushed out is read again from its API server, so that the budget bounds memory
//! and never correctness. How many are fresh is bounded for all tenants together: beyond that an object becomes text at
//! once, and is compressed when it would be fresh no more.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::hash::HashMap;
use crate::object::{Key, Side};

/// How long an object is fresh.
pub const FRESH: Duration = Duration::from_secs(1);

/// Room for fresh objects, of all tenants that share it.
#[derive(Debug, Clone)]
pub struct Room {
    most: usize,
    taken: Arc<AtomicUsize>,
}

impl Room {
    /// Makes it for so many objects.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            taken: Arc::default(),
        }
    }

    fn take(&self) -> bool {
        let more = |taken| (taken < self.most).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    fn give(&self, count: usize) {
        self.taken.fetch_sub(count, Ordering::Relaxed);
    }
}

/// Objects in full, oldest out first.
#[derive(Debug)]
pub struct Bodies {
    budget: usize,
    size: usize,
    next: u64,
    kept: HashMap<(Side, Key), Kept>,
    order: VecDeque<(u64, Side, Key)>,
    room: Room,
    fresh: VecDeque<Fresh>,
}

/// An object that was fresh when it came; it may be another by now, or gone.
#[derive(Debug)]
struct Fresh {
    at: Instant,
    number: u64,
    side: Side,
    key: Key,
}

struct Kept {
    number: u64,
    form: Form,
}

enum Form {
    Fresh(Arc<Value>),
    Text(Box<[u8]>),
    Packed(Box<[u8]>),
}

impl fmt::Debug for Kept {
    /// Without the content, which may be a Secret's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("bytes", &self.size())
            .finish_non_exhaustive()
    }
}

impl Kept {
    fn size(&self) -> usize {
        match &self.form {
            Form::Fresh(_) => 0,
            Form::Text(bytes) | Form::Packed(bytes) => bytes.len(),
        }
    }
}

impl Bodies {
    /// Makes it for so many bytes of text.
    pub fn new(budget: usize, room: Room) -> Self {
        Self {
            budget,
            size: 0,
            next: 0,
            kept: HashMap::default(),
            order: VecDeque::new(),
            room,
            fresh: VecDeque::new(),
        }
    }

    /// Keeps an object, in place of an older version.
    pub fn put(&mut self, side: Side, key: &Key, object: Arc<Value>) {
        self.drop(side, key);
        self.next += 1;
        let number = self.next;
        let form = if self.room.take() {
            Form::Fresh(object)
        } else {
            let Some(text) = text(&object) else {
                return;
            };
            Form::Text(text.into_boxed_slice())
        };
        self.fresh.push_back(Fresh {
            at: Instant::now(),
            number,
            side,
            key: key.clone(),
        });
        let kept = Kept { number, form };
        self.size += kept.size();
        self.kept.insert((side, key.clone()), kept);
        self.order.push_back((number, side, key.clone()));
        self.shrink();
    }

    /// The object, if it is still here.
    pub fn get(&self, side: Side, key: &Key) -> Option<Arc<Value>> {
        match &self.kept.get(&(side, key.clone()))?.form {
            Form::Fresh(object) => Some(Arc::clone(object)),
            Form::Text(text) => serde_json::from_slice(text).ok().map(Arc::new),
            Form::Packed(bytes) => {
                let text = lz4_flex::decompress_size_prepended(bytes).ok()?;
                serde_json::from_slice(&text).ok().map(Arc::new)
            }
        }
    }

    /// Forgets an object.
    pub fn drop(&mut self, side: Side, key: &Key) {
        self.remove(&(side, key.clone()));
        let kept = &self.kept;
        let is_kept = |number: u64, side: Side, key: &Key| {
            kept.get(&(side, key.clone()))
                .is_some_and(|kept| kept.number == number)
        };
        let most = 2 * kept.len() + 16;
        if self.order.len() > most {
            self.order
                .retain(|(number, side, key)| is_kept(*number, *side, key));
        }
        if self.fresh.len() > most {
            self.fresh
                .retain(|fresh| is_kept(fresh.number, fresh.side, &fresh.key));
        }
    }

    /// Compresses what is fresh no more at that moment.
    pub fn settle(&mut self, now: Instant) {
        while let Some(Fresh { at, .. }) = self.fresh.front()
            && now.saturating_duration_since(*at) >= FRESH
            && let Some(fresh) = self.fresh.pop_front()
        {
            let place = (fresh.side, fresh.key);
            let kept = self.kept.get(&place);
            let Some(kept) = kept.filter(|kept| kept.number == fresh.number) else {
                continue;
            };
            let packed = match &kept.form {
                Form::Fresh(object) => text(object).map(|text| pack(&text)),
                Form::Text(text) => Some(pack(text)),
                Form::Packed(_) => continue,
            };
            self.remove(&place);
            if let Some(packed) = packed {
                self.size += packed.len();
                let (number, form) = (fresh.number, Form::Packed(packed));
                self.kept.insert(place, Kept { number, form });
            }
        }
        self.shrink();
    }

    fn remove(&mut self, place: &(Side, Key)) {
        let Some(kept) = self.kept.remove(place) else {
            return;
        };
        self.size -= kept.size();
        if matches!(kept.form, Form::Fresh(_)) {
            self.room.give(1);
        }
    }

    fn shrink(&mut self) {
        while self.size > self.budget {
            let Some((number, side, key)) = self.order.pop_front() else {
                return;
            };
            let place = (side, key);
            let current = self.kept.get(&place);
            if current.is_some_and(|kept| kept.number == number) {
                self.remove(&place);
            }
        }
    }
}

impl Drop for Bodies {
    fn drop(&mut self) {
        let is_fresh = |kept: &&Kept| matches!(kept.form, Form::Fresh(_));
        self.room.give(self.kept.values().filter(is_fresh).count());
    }
}

/// The text of an object. Out of JSON, back to JSON: cannot fail; and if so, it is read again.
fn text(object: &Value) -> Option<Vec<u8>> {
    serde_json::to_vec(object).ok()
}

/// A pod's text becomes half as long.
fn pack(text: &[u8]) -> Box<[u8]> {
    lz4_flex::compress_prepend_size(text).into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::Kind;

    fn key(n: usize) -> Key {
        Key::new(Kind::Pod, "shop", &n.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_go_when_the_budget_is_spent_and_memory_stays_bounded() {
        let mut bodies = Bodies::new(200, Room::new(1));
        for n in 0..1000 {
            let other = json!({"n": n, "text": "0123456789"});
            bodies.put(Side::Virtual, &key(n), Arc::new(other));
            bodies.put(Side::Virtual, &key(7), Arc::new(json!({"n": n})));
            tokio::time::advance(FRESH).await;
            bodies.settle(Instant::now());
        }
        let seven = bodies.get(Side::Virtual, &key(7));
        assert_eq!(seven.as_deref(), Some(&json!({"n": 999})));
        assert_eq!(bodies.get(Side::Host, &key(7)), None);
        assert_eq!(bodies.get(Side::Virtual, &key(0)), None);
        assert!(bodies.size <= 200 && bodies.order.len() < 100 && bodies.fresh.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_fresh_is_shared_and_counted_and_is_packed_soon_after() {
        const MOST: usize = 8;
        let room = Room::new(MOST);
        let taken = |room: &Room| room.taken.load(Ordering::Relaxed);
        let mut bodies = Bodies::new(1 << 20, room.clone());
        let object = Arc::new(json!({"a": 1}));
        for n in 0..MOST + 5 {
            bodies.put(Side::Host, &key(n), Arc::clone(&object));
        }
        let first = bodies.get(Side::Host, &key(0)).unwrap();
        assert!(Arc::ptr_eq(&first, &object), "it is the very object");
        let last = bodies.get(Side::Host, &key(MOST)).unwrap();
        assert!(!Arc::ptr_eq(&last, &object) && last == object, "no room");
        assert_eq!(taken(&room), MOST);
        bodies.drop(Side::Host, &key(0));
        assert_eq!(taken(&room), MOST - 1);
        tokio::time::advance(FRESH).await;
        bodies.put(Side::Host, &key(1), Arc::clone(&object));
        bodies.settle(Instant::now());
        assert_eq!(taken(&room), 1, "the one that has just come");
        for n in 1..MOST + 5 {
            let kept = bodies.get(Side::Host, &key(n)).unwrap();
            assert_eq!(kept, object, "it is the same however it is kept");
        }
        drop(bodies);
        assert_eq!(taken(&room), 0);
    }
}
