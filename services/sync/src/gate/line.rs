//! Those who wait at a gate, and those who are through, by tenant. Data.

use std::collections::VecDeque;

use crate::hash::HashMap;
use crate::queue::Ticket;
use crate::turns::Turns;

/// The line. See the module.
#[derive(Debug)]
pub(super) struct Line<W> {
    members: HashMap<Ticket, Member<W>>,
    turns: Turns<Ticket>,
    under_way: usize,
    waiting: usize,
}

#[derive(Debug)]
struct Member<W> {
    weight: u32,
    waiting: VecDeque<W>,
    under_way: usize,
}

impl<W> Default for Line<W> {
    fn default() -> Self {
        Self {
            members: HashMap::default(),
            turns: Turns::default(),
            under_way: 0,
            waiting: 0,
        }
    }
}

impl<W> Line<W> {
    /// Adds one who waits.
    pub(super) fn join(&mut self, whose: Ticket, weight: u32, waiting: W) {
        let member = self.members.entry(whose).or_insert_with(|| Member {
            weight,
            waiting: VecDeque::new(),
            under_way: 0,
        });
        member.weight = weight;
        member.waiting.push_back(waiting);
        self.waiting += 1;
        let is_rested = member.under_way == 0 && member.waiting.len() == 1;
        self.turns.enter(whose, weight, is_rested);
    }

    /// Lets the next one through.
    pub(super) fn next(&mut self) -> Option<(Ticket, W)> {
        let members = &self.members;
        let whose = self.turns.next(|member| wants(members, member))?;
        self.let_through(whose)
    }

    /// Lets the next one through of a tenant that came rested.
    pub(super) fn next_fresh(&mut self) -> Option<(Ticket, W)> {
        let members = &self.members;
        let whose = self.turns.next_fresh(|member| wants(members, member))?;
        self.let_through(whose)
    }

    /// Takes out everybody who waits.
    pub(super) fn send_away(&mut self) -> Vec<W> {
        let mut sent_away = Vec::with_capacity(self.waiting);
        for member in self.members.values_mut() {
            sent_away.extend(member.waiting.drain(..));
        }
        self.members.retain(|_, member| member.under_way > 0);
        self.waiting = 0;
        sent_away
    }

    /// One that was let through has left.
    pub(super) fn left(&mut self, whose: Ticket) {
        if let Some(member) = self.members.get_mut(&whose) {
            member.under_way = member.under_way.saturating_sub(1);
            self.under_way = self.under_way.saturating_sub(1);
            if member.under_way == 0 && member.waiting.is_empty() {
                self.members.remove(&whose);
            }
        }
    }

    /// How many were let through and have not left.
    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    fn let_through(&mut self, whose: Ticket) -> Option<(Ticket, W)> {
        let member = self.members.get_mut(&whose)?;
        let first = member.waiting.pop_front()?;
        member.under_way += 1;
        self.under_way += 1;
        self.waiting -= 1;
        Some((whose, first))
    }
}

fn wants<W>(members: &HashMap<Ticket, Member<W>>, member: Ticket) -> Option<u32> {
    let member = members.get(&member)?;
    (!member.waiting.is_empty()).then_some(member.weight)
}
