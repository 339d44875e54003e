//! Who a host identity is inside a virtual cluster.
//!
//! Pure. A virtual cluster trusts what the gateway says, so nothing of the host may turn into something with
//! rights of its own inside:
//!
//! - A user whose name begins with `system:` gets the prefix `host:`; so does one whose name begins with
//!   `host:`, which keeps two users two. The host's `system:serviceaccount:a:b` is then
//!   `host:system:serviceaccount:a:b` inside, and never the service account of that name there.
//! - Groups that begin with `system:` are dropped: `system:masters` or `system:nodes` of the host mean nothing
//!   inside. `system:authenticated` is set for everybody, `system:masters` for who was granted `admin`.
//! - Extra attributes under `kubernetes.io`, `k8s.io` and `vcluster.dev` are dropped: inside, the API server
//!   itself speaks through them (for instance of the node a service account's pod runs on).
//! - A name that would not arrive as it is (empty, or with blanks at an end, which HTTP cuts off) is refused.

use vcluster_chassis::identity::Identity;

use crate::authorize::Grant;

/// Prefix of users that would collide with names of the virtual cluster's own.
const HOST_USER: &str = "host:";
const SYSTEM: &str = "system:";
const AUTHENTICATED: &str = "system:authenticated";
const MASTERS: &str = "system:masters";
const RESERVED_DOMAINS: [&str; 3] = ["kubernetes.io", "k8s.io", "vcluster.dev"];

/// An identity that cannot be told to a virtual cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {part} {text:?} is empty or has blanks at an end")]
pub struct Unusable {
    part: &'static str,
    text: String,
}

/// Translates a host identity.
pub fn inside(host: &Identity, grant: Grant) -> Result<Identity, Unusable> {
    check("user name", &host.user)?;
    let user = if host.user.starts_with(SYSTEM) || host.user.starts_with(HOST_USER) {
        format!("{HOST_USER}{}", host.user)
    } else {
        host.user.clone()
    };
    let mut groups = Vec::with_capacity(host.groups.len() + 2);
    for group in host
        .groups
        .iter()
        .filter(|group| !group.starts_with(SYSTEM))
    {
        check("group", group)?;
        groups.push(group.clone());
    }
    groups.push(AUTHENTICATED.to_owned());
    match grant {
        Grant::Connect => {}
        Grant::Admin => groups.push(MASTERS.to_owned()),
    }
    let extra = host
        .extra
        .iter()
        .filter(|(key, _)| !is_reserved(key))
        .map(|(key, values)| (key.clone(), values.clone()))
        .collect();
    Ok(Identity {
        user,
        uid: host.uid.clone(),
        groups,
        extra,
    })
}

fn check(part: &'static str, text: &str) -> Result<(), Unusable> {
    if text.is_empty() || text.trim() != text {
        return Err(Unusable {
            part,
            text: text.to_owned(),
        });
    }
    Ok(())
}

/// Whether the domain of an extra key (`domain/name`) is one that is not the user's.
fn is_reserved(key: &str) -> bool {
    let domain = key
        .split('/')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    RESERVED_DOMAINS.iter().any(|reserved| {
        domain
            .strip_suffix(reserved)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn connected(host: &Identity) -> Identity {
        inside(host, Grant::Connect).unwrap()
    }

    #[test]
    fn a_user_is_the_same_inside_and_authenticated() {
        let host = Identity::user("jane")
            .group("devs")
            .group("system:authenticated");
        assert_eq!(
            connected(&host),
            Identity::user("jane")
                .group("devs")
                .group("system:authenticated")
        );
    }

    #[test]
    fn rights_of_the_host_mean_nothing_inside() {
        let host = Identity::user("kubernetes-admin")
            .group("system:masters")
            .group("system:nodes")
            .group("system:serviceaccounts")
            .group("system:monitoring");
        assert_eq!(connected(&host).groups, ["system:authenticated"]);
    }

    #[test]
    fn who_was_granted_admin_is_master_inside() {
        let admin = inside(&Identity::user("jane"), Grant::Admin).unwrap();
        assert_eq!(admin.groups, ["system:authenticated", "system:masters"]);
    }

    #[test]
    fn accounts_of_the_host_are_strangers_inside() {
        for (host, expected) in [
            (
                "system:serviceaccount:kube-system:namespace-controller",
                "host:system:serviceaccount:kube-system:namespace-controller",
            ),
            ("system:node:a", "host:system:node:a"),
            ("system:apiserver", "host:system:apiserver"),
            ("host:jane", "host:host:jane"),
            ("systematic", "systematic"),
        ] {
            assert_eq!(connected(&Identity::user(host)).user, expected);
        }
    }

    #[test]
    fn attributes_that_the_api_server_speaks_through_do_not_pass() {
        let mut host = Identity::user("jane");
        for key in [
            "authentication.kubernetes.io/node-name",
            "authentication.kubernetes.io/pod-uid",
            "kubernetes.io/x",
            "K8s.io",
            "vcluster.dev/x",
            "scopes.authorization.openshift.io",
            "notkubernetes.io/x",
        ] {
            host.extra.insert(key.to_owned(), vec!["v".to_owned()]);
        }
        let left: Vec<_> = connected(&host).extra.into_keys().collect();
        assert_eq!(
            left,
            ["notkubernetes.io/x", "scopes.authorization.openshift.io"]
        );
    }

    #[test]
    fn names_that_http_would_change_are_refused() {
        for name in ["", " jane", "jane ", "jane\t", "\u{a0}jane"] {
            assert!(
                inside(&Identity::user(name), Grant::Connect).is_err(),
                "{name:?}"
            );
            let grouped = Identity::user("jane").group(name);
            assert!(inside(&grouped, Grant::Connect).is_err(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn two_users_stay_two_and_none_is_of_the_system(
            a in "(host:|system:|)(host:|system:|)[a-c]{1,2}",
            b in "(host:|system:|)(host:|system:|)[a-c]{1,2}",
        ) {
            let [inside_a, inside_b] = [&a, &b].map(|name| connected(&Identity::user(name)).user);
            prop_assert_eq!(a == b, inside_a == inside_b);
            prop_assert!(!inside_a.starts_with("system:"));
        }

        #[test]
        fn without_admin_no_group_of_the_system_is_there_but_authenticated(
            groups in proptest::collection::vec("(system:)?[a-z]{1,8}", 0..6)
        ) {
            let mut host = Identity::user("jane");
            host.groups = groups;
            let system: Vec<_> =
                connected(&host).groups.into_iter().filter(|g| g.starts_with("system:")).collect();
            prop_assert_eq!(system, ["system:authenticated"]);
        }
    }
}
