//! The part of the plan that is about NetworkPolicies of ours.
//!
//! Nothing is given up by them alone: where no enforcer runs they say what would be, and where one does, pods are made
//! only after the policies that bound them.

use vcluster_resources::condition::Reason;

use super::super::status::Fact;
use super::super::{Input, Step};
use super::{apply, doubtful, same};
use crate::observed::Seen;
use crate::slot::Slot;

/// Makes or repairs those that are wanted, and removes those of ours that no longer are.
pub(super) fn plan(input: Input<'_>, steps: &mut Vec<Step>) {
    for slot in Slot::POLICIES {
        steps.extend(step(input, slot));
    }
}

fn step(input: Input<'_>, slot: Slot) -> Option<Step> {
    let seen = input.observed.slot(slot);
    let Some(body) = input.wish.plain(slot) else {
        let live = seen.present().filter(|live| !live.deleting)?;
        let ours = live.owner.as_deref() == Some(input.wish.subject.uid());
        return ours.then(|| Step::Delete {
            slot,
            uid: live.uid.clone(),
        });
    };
    match seen {
        // A field more, such as the end of a range of ports, is more than was wanted to be open.
        Seen::Present(live) if !live.deleting && !same(&body["spec"], &live.body["spec"]) => {
            Some(Step::Apply {
                slot,
                body,
                over: Some(live.uid.clone()),
            })
        }
        Seen::Present(_) | Seen::Absent | Seen::Unknown(_) => apply(input, slot, body),
    }
}

/// Whether somebody else's object in that slot is in the way: one under the name of a policy is only where the policy
/// is wanted.
pub(super) fn concerns(input: Input<'_>, slot: Slot) -> bool {
    !Slot::POLICIES.contains(&slot) || input.wish.plain(slot).is_some()
}

/// Whether pods may be made: every policy that is wanted is there.
pub(super) fn stand(input: Input<'_>) -> Result<(), Fact> {
    for slot in Slot::POLICIES {
        match (input.wish.plain(slot), input.observed.slot(slot)) {
            (None, _) | (Some(_), Seen::Present(_)) => {}
            (Some(_), Seen::Absent) => {
                let text = "waits for its network policies";
                return Err(Fact::waits(Reason::Progressing, text));
            }
            (Some(_), Seen::Unknown(doubt)) => {
                return Err(doubtful(input, &slot.describe(input.wish.subject), &doubt));
            }
        }
    }
    Ok(())
}
