//! What sync may ask of others at most: nobody is asked the same again and again, who is dead is left alone, and nobody
//! is written to faster than it may be.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::law::{CLUSTERS, PODS};
use super::process::{BURST, WRITES};
use super::store::{Call, Place};
use super::weather::Weather;
use super::world::Target;

/// How long the same requests are counted.
const WHILE: Duration = Duration::from_secs(10);
/// How often the same write may be tried in that time: its pauses double.
const AGAIN: usize = 12;
/// Requests about pods to a server that refuses, until it is known to be dead: what was under way.
const TO_THE_DEAD: usize = 12;
/// Writes to one side of a tenant within a second: its allowance, all that it mostly may save up, and what stands beside.
const WITHIN_A_SECOND: usize = (WRITES + BURST) as usize + 20;

/// What was sent lately.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    same: BTreeMap<u64, VecDeque<Duration>>,
    dead: BTreeMap<(usize, Target), usize>,
    writes: BTreeMap<(usize, Target, String), VecDeque<Duration>>,
    /// How many writes more than mostly a tenant may save up.
    more: u32,
}

impl Pressure {
    /// Takes note of how many writes a tenant may save up.
    pub(super) fn may_save(&mut self, burst: u32) {
        self.more = burst.saturating_sub(BURST);
    }

    /// Takes note of a request; tells what is too much.
    pub(super) fn sent(
        &mut self,
        (process, target): (usize, Target),
        weather: Weather,
        (call, place): (&Call, &Place),
        at: Duration,
    ) -> Result<(), String> {
        if weather != Weather::Refused {
            self.dead.remove(&(process, target));
        } else if place.id.collection == PODS && !place.id.name.is_empty() && target != Target::Host
        {
            let count = self.dead.entry((process, target)).or_default();
            *count += 1;
            if *count > TO_THE_DEAD {
                return Err("it is not left alone, though it does not answer".to_owned());
            }
        }
        let is_write = call.method != http::Method::GET && place.subresource != "token";
        if !is_write || place.id.collection == CLUSTERS {
            return Ok(());
        }
        let mut hasher = DefaultHasher::new();
        (
            process,
            target,
            call.method.as_str(),
            &call.path,
            &call.sent,
        )
            .hash(&mut hasher);
        let same = self.same.entry(hasher.finish()).or_default();
        if counted(same, at, WHILE) > AGAIN {
            return Err(format!(
                "it is the same for the {}th time within {WHILE:?}",
                AGAIN + 1
            ));
        }
        let namespace = match target {
            Target::Host => place.id.namespace.clone(),
            Target::Virtual(_) => String::new(),
        };
        let writes = self.writes.entry((process, target, namespace)).or_default();
        let most = WITHIN_A_SECOND + self.more as usize;
        if counted(writes, at, Duration::from_secs(1)) > most {
            return Err("it is more than the tenant may write".to_owned());
        }
        Ok(())
    }
}

/// Adds a moment; tells how many there were in the time before it.
fn counted(moments: &mut VecDeque<Duration>, at: Duration, within: Duration) -> usize {
    moments.push_back(at);
    while moments
        .front()
        .is_some_and(|first| at.saturating_sub(*first) > within)
    {
        moments.pop_front();
    }
    moments.len()
}
