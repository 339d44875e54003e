//! What a process is called, and what is known of others by their Leases.

use super::*;

mod model;
mod server;

/// How long a Lease of a replica holds, for others.
const DURATION: u64 = 15;
const UID: &str = "uid";

#[test]
fn a_process_tells_its_pod_and_its_address() {
    let address = Some("10.0.0.7:8443".parse().unwrap());
    let process = format!("{}_0f", holder("vcluster-sync-abc", address));
    assert_eq!(parts(&process), ("vcluster-sync-abc", address));
    let process = format!("{}_uid-1_0f", holder("vcluster-sync-abc", address));
    assert_eq!(parts(&process), ("vcluster-sync-abc", address));
    let silent = format!("{}_0f", holder("vcluster-sync-abc", None));
    assert_eq!(parts(&silent), ("vcluster-sync-abc", None));
    assert!(lease("p").starts_with(REPLICA));
}

#[tokio::test(start_paused = true)]
async fn who_frees_its_lease_is_no_candidate_and_may_still_act() {
    let mut known = Leases::new(Duration::from_secs(DURATION));
    let now = Instant::now();
    let held = Record {
        holder: Some("a_0".to_owned()),
        renewal: Some("1".to_owned()),
        version: 1,
    };
    assert!(known.see(&lease("a"), Some(&held), now));
    assert_eq!(known.candidates(now).len(), 1);
    let renewed = Record {
        renewal: Some("2".to_owned()),
        ..held
    };
    assert!(
        !known.see(&lease("a"), Some(&renewed), now),
        "a renewal is no news"
    );
    let free = Record::default();
    assert!(known.see(&lease("a"), Some(&free), now));
    assert!(known.candidates(now).is_empty());
    assert!(known.may_act("a_0", now));
    assert!(!known.may_act("a_0", now + Duration::from_secs(DURATION)));
}
