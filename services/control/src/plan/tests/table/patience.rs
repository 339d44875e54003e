//! How soon a world is looked at again that does not come to rest.

use jiff::SignedDuration;

use super::*;

/// So long after it began, a world is looked at again after that pause.
#[track_caller]
fn is_looked_at_again(world: &mut World, later: SignedDuration, pause: Duration) {
    world.now = world::now() + later;
    let wanted = Again::After(pause);
    assert_eq!(world.plan().again, wanted, "{later:#} later");
}

#[test]
fn what_a_young_binding_hides_is_looked_at_at_once_and_what_an_old_one_hides_with_back_off() {
    let mut world = running();
    let hidden = Slot::Secret(Credential::Sync);
    world
        .observed
        .objects
        .insert(hidden, Seen::Unknown(Doubt::Forbidden));
    for deleting in [false, true] {
        if deleting {
            stop(&mut world);
        }
        for (seconds, wanted) in [
            (0, Again::After(Duration::from_millis(50))),
            (9, Again::After(Duration::from_millis(50))),
            (11, Again::BackOff),
            (-3600, Again::BackOff),
        ] {
            let made = world.now - SignedDuration::from_secs(seconds);
            body(&mut world, Slot::TenantBinding)["metadata"]["creationTimestamp"] =
                made.to_string().into();
            assert_eq!(
                world.plan().again,
                wanted,
                "{seconds} s, deleting: {deleting}"
            );
        }
    }
}

#[test]
fn the_words_about_a_pod_that_does_not_start_are_renewed_ever_more_seldom() {
    let mut world = running();
    fail(&mut world);
    tell(&mut world);
    for (minutes, seconds) in [(0, 3), (1, 6), (5, 30), (10, 60), (600, 60)] {
        let pause = Duration::from_secs(seconds);
        is_looked_at_again(&mut world, SignedDuration::from_mins(minutes), pause);
    }
}

#[test]
fn a_pod_that_does_not_stop_is_looked_at_ever_more_seldom() {
    let mut world = running();
    stop(&mut world);
    world.observed.pods = Seen::Present(vec![crate::observed::Pod {
        name: "demo-0".to_owned(),
        uid: "pod".to_owned(),
        deleting: true,
        waits: None,
    }]);
    for (seconds, millis) in [(0, 500), (10, 500), (60, 3000), (86_400, 15_000)] {
        let pause = Duration::from_millis(millis);
        is_looked_at_again(&mut world, SignedDuration::from_secs(seconds), pause);
    }
}
