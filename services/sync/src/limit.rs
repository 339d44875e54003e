//! How many requests a server bears at once, found out by its own answers, as data.
//!
//! A server that is asked for more than it can do at once does not do more: it answers later. So the limit is a share
//! of what the server bears and no number: it grows while requests wait for it and answers come about as fast as is usual,
//! and shrinks when they come late. What is usual is learnt from requests that few others were beside, by class: a
//! create takes longer than a patch. Where there are no such requests, because the limit is always used up, it goes down
//! to the floor for a moment now and then. (The idea is that of TCP Vegas and BBR, and of Netflix' concurrency-limits.)
//!
//! Promises: always between floor and ceiling; without requests that wait it does not grow; 429 and the like shrink it
//! at once, once a second; whatever happened, it is back at what the server bears within a minute of load; one
//! answer that takes very long counts no more than four times an ordinary one.

use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

use crate::hash::HashMap;

#[cfg(test)]
mod tests;

/// Times slower than usual that answers may be.
const TOLERANCE: f64 = 1.15;
/// What one answer counts at most, in times of what is usual.
const MOST: f64 = 4.0;
/// The most that one window takes away.
const SHRINK: f64 = 0.7;
/// Answers after which it is known what is usual of a class.
const KNOWN: u32 = 12;
/// What is usual is a mean over about so many answers.
const MEAN: u32 = 24;
/// The least answers of a window.
const WINDOW: u32 = 12;
/// How long the limit may be used up before it goes down to the floor for a moment.
const DIP: Duration = Duration::from_secs(25);
/// Answers to requests that began in such a moment.
const DIPPED: u32 = 2 * MEAN;
/// The time between two cuts because the server says that it is too much.
const CUT: Duration = Duration::from_secs(1);

/// Between what it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// So many at once in any case.
    pub floor: usize,
    /// So many at most.
    pub ceiling: usize,
}

/// How a server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<C> {
    /// It did what was asked, or said why not.
    Done {
        /// Which class of request.
        class: C,
        /// How long it took.
        took: Duration,
        /// How many others were under way when it began.
        beside: usize,
        /// Whether others waited then.
        pressed: bool,
    },
    /// It said that it is too much, or did not answer in time.
    TooMuch,
}

/// The limit. See the module.
#[derive(Debug)]
pub struct Limit<C> {
    bounds: Bounds,
    now: f64,
    /// Doubles with each window until answers come late for the first time.
    is_new: bool,
    classes: HashMap<C, Class>,
    window: Window,
    cut: Option<Instant>,
    pressed_since: Option<Instant>,
    dip: Option<Dip>,
}

/// A moment at the floor.
#[derive(Debug, Clone, Copy)]
struct Dip {
    since: Instant,
    /// What the limit was before.
    before: f64,
    /// Answers to requests that began since.
    count: u32,
}

/// Answers to one class of request.
#[derive(Debug, Default)]
struct Class {
    count: u32,
    /// Mean seconds of the last ones that had few beside them.
    usual: f64,
}

/// Answers since the limit was last decided about.
#[derive(Debug, Default)]
struct Window {
    count: u32,
    took: f64,
    usual: f64,
    pressed: u32,
}

impl<C: Eq + Hash> Limit<C> {
    /// Begins at the floor.
    pub fn new(bounds: Bounds) -> Self {
        let floor = bounds.floor.max(1);
        let ceiling = bounds.ceiling.max(floor);
        Self {
            now: number(floor),
            bounds: Bounds { floor, ceiling },
            is_new: true,
            classes: HashMap::default(),
            window: Window::default(),
            cut: None,
            pressed_since: None,
            dip: None,
        }
    }

    /// How many may be under way at once.
    pub fn get(&self) -> usize {
        self.whole(self.now)
    }

    /// How many it would be but for what is to be learnt at this moment.
    pub fn otherwise(&self) -> usize {
        self.whole(self.dip.map_or(self.now, |dip| dip.before))
    }

    fn whole(&self, limit: f64) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between two small numbers"
        )]
        let whole = limit as usize;
        whole.clamp(self.bounds.floor, self.bounds.ceiling)
    }

    /// Takes note of an answer.
    pub fn answered(&mut self, answer: Answer<C>, now: Instant) {
        match answer {
            Answer::TooMuch => {
                if self.cut.is_none_or(|cut| now >= cut + CUT) {
                    self.cut = Some(now);
                    self.is_new = false;
                    self.set(self.now * SHRINK);
                }
            }
            Answer::Done {
                class,
                took,
                beside,
                pressed,
            } => self.done(class, took, beside, pressed, now),
        }
    }

    fn done(&mut self, class: C, took: Duration, beside: usize, pressed: bool, now: Instant) {
        let class = self.classes.entry(class).or_default();
        let seconds = took.as_secs_f64();
        if let Some(dip) = &mut self.dip {
            if now < dip.since + took {
                // It began before and waited behind others.
                return;
            }
            class.learn(seconds);
            dip.count += 1;
            if dip.count >= DIPPED {
                let before = dip.before;
                self.dip = None;
                self.pressed_since = Some(now);
                self.set(before);
            }
            return;
        }
        let known = class.known();
        if known.is_none() || number(beside) < self.now / 2.0 {
            class.learn(seconds);
        }
        let Some(usual) = known else {
            return;
        };
        self.window.count += 1;
        self.window.took += seconds.min(usual * MOST);
        self.window.usual += usual;
        self.window.pressed += u32::from(pressed);
        if self.window.count >= WINDOW && f64::from(self.window.count) >= self.now {
            let window = std::mem::take(&mut self.window);
            self.decide(&window, now);
        }
    }

    fn decide(&mut self, window: &Window, now: Instant) {
        let pressed = window.pressed * 2 >= window.count;
        if !pressed {
            self.pressed_since = None;
        } else if now >= *self.pressed_since.get_or_insert(now) + DIP {
            self.learn_anew(now);
            return;
        }
        let slowness = window.took / window.usual;
        if slowness > TOLERANCE {
            self.is_new = false;
            self.set(self.now * (TOLERANCE / slowness).max(SHRINK));
            if self.get() == self.bounds.floor {
                // So few are not what makes it slow: others do, or it has become slower. That is what is usual now.
                self.learn_anew(now);
            }
        } else if pressed {
            let more = if self.is_new {
                self.now
            } else {
                self.now.sqrt() / 4.0
            };
            self.set(self.now + more.max(0.5));
        }
    }

    /// Goes to the floor for a moment.
    fn learn_anew(&mut self, now: Instant) {
        self.dip = Some(Dip {
            since: now,
            before: self.now,
            count: 0,
        });
        self.set(0.0);
    }

    fn set(&mut self, limit: f64) {
        let Bounds { floor, ceiling } = self.bounds;
        self.now = limit.clamp(number(floor), number(ceiling));
    }
}

impl Class {
    /// Seconds that are usual, if that is known.
    fn known(&self) -> Option<f64> {
        (self.count >= KNOWN).then_some(self.usual)
    }

    fn learn(&mut self, seconds: f64) {
        let seconds = self
            .known()
            .map_or(seconds, |usual| seconds.min(usual * MOST));
        self.count = (self.count + 1).min(MEAN);
        self.usual += (seconds - self.usual) / f64::from(self.count);
        // It is divided by.
        self.usual = self.usual.max(1e-6);
    }
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
