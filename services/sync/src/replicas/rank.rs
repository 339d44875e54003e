//! Which replica a tenant belongs to, by rendezvous hashing. No I/O.
//!
//! Every replica that knows the same replicas comes to the same answer without asking anybody. One that goes
//! away gives up its own tenants and moves nobody else's; one that comes takes its share and no more.

use sha2::{Digest as _, Sha256};

/// The replica to which the tenant of that UID belongs; nothing if there is none.
pub fn owner<'a>(uid: &str, replicas: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    replicas
        .into_iter()
        .max_by_key(|replica| (weight(uid, replica), *replica))
}

fn weight(uid: &str, replica: &str) -> [u8; 32] {
    Sha256::digest([uid, replica].join("\0")).into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("replica-{n}")).collect()
    }

    fn of<'a>(uid: &str, replicas: &'a [String]) -> Option<&'a str> {
        owner(uid, replicas.iter().map(String::as_str))
    }

    proptest! {
        #[test]
        fn one_that_goes_moves_only_its_own_tenants(uid in "[a-f0-9]{8}", count in 2_usize..9, gone in 0_usize..9) {
            let all = names(count);
            let gone = gone % count;
            let before = of(&uid, &all).unwrap();
            let mut left = all.clone();
            let leaver = left.remove(gone);
            let after = of(&uid, &left).unwrap();
            prop_assert_ne!(after, &leaver);
            if before != leaver {
                prop_assert_eq!(before, after);
            }
        }

        #[test]
        fn the_order_in_which_they_are_known_does_not_matter(uid in "[a-f0-9]{8}", count in 1_usize..9) {
            let mut all = names(count);
            let before = of(&uid, &all).unwrap().to_owned();
            all.reverse();
            prop_assert_eq!(of(&uid, &all), Some(before.as_str()));
        }
    }

    #[test]
    fn tenants_are_spread_evenly() {
        let all = names(4);
        let mut shares: HashMap<&str, usize> = HashMap::new();
        for tenant in 0..1000 {
            *shares
                .entry(of(&format!("uid-{tenant}"), &all).unwrap())
                .or_default() += 1;
        }
        assert_eq!(shares.len(), 4);
        assert!(
            shares.values().all(|share| (200..300).contains(share)),
            "{shares:?}"
        );
    }

    #[test]
    fn without_replicas_a_tenant_is_nobodys() {
        assert_eq!(owner("uid", []), None);
    }
}
