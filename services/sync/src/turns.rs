//! Whose turn it is among those who want something of which there is too little, as data.
//!
//! Weighted round robin with one addition, that of FQ-CoDel (RFC 8290): who comes back rested goes before those who
//! always want more, once. So somebody who asks now and then does not wait for a round of the greedy, and cannot hold
//! them up either: after its turn it stands among them, and is rested again only when a round has passed it over.
//!
//! Promises: everybody who wants something is served again after at most one turn of each of the others; nobody who
//! wants nothing is looked at more than once; a member costs nothing while it is away.

use std::collections::VecDeque;
use std::hash::Hash;

use crate::guard::{self, Guard};
use crate::hash::HashMap;

/// The turns. See the module.
#[derive(Debug)]
pub struct Turns<T> {
    fresh: VecDeque<T>,
    rest: VecDeque<T>,
    /// What is left of each member's turn.
    credit: HashMap<T, u32>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self {
            fresh: VecDeque::new(),
            rest: VecDeque::new(),
            credit: HashMap::default(),
        }
    }
}

impl<T: Copy + Eq + Hash> Turns<T> {
    /// Takes somebody in who wants something; changes nothing if it is there already.
    pub fn enter(&mut self, member: T, weight: u32, rested: bool) {
        if self.credit.contains_key(&member) {
            return;
        }
        self.credit.insert(member, weight.max(1));
        if rested {
            self.fresh.push_back(member);
        } else {
            self.rest.push_back(member);
        }
    }

    /// Lets somebody go, whatever it wants.
    pub fn leave(&mut self, member: T) {
        if self.credit.remove(&member).is_some() {
            self.fresh.retain(|found| *found != member);
            self.rest.retain(|found| *found != member);
        }
    }

    /// Whose turn it is. `weight` tells the weight of a member that wants something and may have it, and nothing of
    /// others: those leave.
    pub fn next(&mut self, weight: impl Fn(T) -> Option<u32>) -> Option<T> {
        loop {
            if let Some(member) = self.next_fresh(&weight) {
                return Some(member);
            }
            let member = *self.rest.front()?;
            if let Some(weight) = weight(member) {
                if self.spend(member, weight) {
                    self.rest.rotate_left(1);
                }
                return Some(member);
            }
            self.rest.pop_front();
            self.credit.remove(&member);
        }
    }

    /// Whose turn it is among those who came rested.
    pub fn next_fresh(&mut self, weight: impl Fn(T) -> Option<u32>) -> Option<T> {
        while let Some(member) = self.fresh.front().copied() {
            let wants = weight(member);
            if wants.is_none_or(|weight| self.spend(member, weight)) {
                // Also if it wants nothing any more: else it could come back rested at once, again and again.
                self.fresh.pop_front();
                self.rest.push_back(member);
            }
            if wants.is_some() {
                return Some(member);
            }
        }
        None
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.credit.is_empty()
    }

    /// Takes one off a member's turn; tells whether the turn is over, and begins the next.
    fn spend(&mut self, member: T, weight: u32) -> bool {
        let credit = self.credit.entry(member).or_insert(1);
        *credit = credit.saturating_sub(1);
        let over = !guard::passes(Guard::Turns, *credit > 0);
        if over {
            *credit = weight.max(1);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Serves until nobody wants anything.
    fn serve(turns: &mut Turns<u8>, wants: &mut BTreeMap<u8, u32>, most: usize) -> Vec<u8> {
        let mut served = Vec::new();
        while served.len() < most {
            let may = |member: u8| (wants.get(&member).copied() > Some(0)).then_some(1);
            let Some(member) = turns.next(may) else { break };
            *wants.get_mut(&member).unwrap() -= 1;
            served.push(member);
        }
        served
    }

    #[test]
    fn who_comes_rested_goes_next_once() {
        let mut turns = Turns::default();
        let mut wants = BTreeMap::from([(1, 10), (2, 10), (3, 2)]);
        turns.enter(1, 1, false);
        turns.enter(2, 1, false);
        assert_eq!(serve(&mut turns, &mut wants, 3), [1, 2, 1]);
        turns.enter(3, 1, true);
        assert_eq!(serve(&mut turns, &mut wants, 4), [3, 2, 1, 3]);
        // It left nothing behind, and is not rested before a round has passed.
        turns.enter(3, 1, true);
        wants.insert(3, 1);
        assert_eq!(serve(&mut turns, &mut wants, 3), [2, 1, 3]);
    }

    #[test]
    fn weights_are_shares() {
        let mut turns = Turns::default();
        turns.enter('a', 3, false);
        turns.enter('b', 1, false);
        let weight = |member| Some(if member == 'a' { 3 } else { 1 });
        let served: String = (0..8).filter_map(|_| turns.next(weight)).collect();
        assert_eq!(served, "aaabaaab");
    }

    proptest! {
        #[test]
        fn everybody_is_served_within_one_turn_of_each(
            comes in prop::collection::vec((0_u8..6, 1_u32..4, any::<bool>()), 1..60),
        ) {
            let (mut turns, mut wants) = (Turns::default(), BTreeMap::new());
            let mut waits: BTreeMap<u8, usize> = BTreeMap::new();
            for (member, count, rested) in comes {
                turns.enter(member, 1, rested);
                *wants.entry(member).or_default() += count;
                let served = serve(&mut turns, &mut wants, 1);
                for (waiting, left) in &wants {
                    let waited = waits.entry(*waiting).or_default();
                    *waited = if *left == 0 || served.contains(waiting) { 0 } else { *waited + 1 };
                    // Two rounds of six: one as rested ones, one as the others.
                    prop_assert!(*waited <= 12, "{} waited {}", waiting, waited);
                }
            }
            let all: u32 = wants.values().sum();
            prop_assert_eq!(serve(&mut turns, &mut wants, usize::MAX).len(), all as usize);
            prop_assert!(turns.is_empty());
        }
    }
}
