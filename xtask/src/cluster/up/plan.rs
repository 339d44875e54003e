//! Decides what `up` has to do. Pure.

use super::super::{components, record::Record};

/// What was found.
#[derive(Debug)]
pub(super) struct Seen {
    /// The state's own account, if there is one.
    pub(super) record: Option<Record>,
    /// This boot.
    pub(super) boot: String,
    /// Whether the network namespace is there.
    pub(super) namespace: bool,
    /// Whether anything at all of the cluster is there.
    pub(super) leftovers: bool,
    /// The components that run.
    pub(super) running: Vec<&'static str>,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Nothing is there: build.
    Build,
    /// Something is there that cannot be trusted: remove it, then build.
    Rebuild,
    /// It was ready in this boot: start these again.
    Keep(Vec<&'static str>),
}

/// A cluster is kept if it got ready, in this boot, and its namespace is still there: then what is
/// missing are single processes, which know how to come back. Without containerd *and* the kubelet
/// the mounts of all pods are gone, and so is what ran in them.
pub(super) fn plan(seen: &Seen) -> Plan {
    let Some(record) = &seen.record else {
        return if seen.leftovers {
            Plan::Rebuild
        } else {
            Plan::Build
        };
    };
    if !record.ready || record.boot != seen.boot || !seen.namespace || seen.running.is_empty() {
        return Plan::Rebuild;
    }
    let dead = |component: &&str| !seen.running.contains(component);
    Plan::Keep(components(&record.with).into_iter().filter(dead).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{addon::AddOn, cluster::COMPONENTS};

    fn ready() -> Seen {
        let record = Record {
            boot: "b".to_owned(),
            api_port: 1,
            gateway_port: 2,
            fingerprint: String::new(),
            ready: true,
            with: BTreeSet::new(),
        };
        Seen {
            record: Some(record),
            boot: "b".to_owned(),
            namespace: true,
            leftovers: true,
            running: COMPONENTS.to_vec(),
        }
    }

    #[test]
    fn what_runs_is_kept() {
        assert_eq!(plan(&ready()), Plan::Keep(vec![]));
    }

    #[test]
    fn a_dead_component_is_started_again() {
        let mut seen = ready();
        seen.running.retain(|&component| component != "kubelet");
        assert_eq!(plan(&seen), Plan::Keep(vec!["kubelet"]));
    }

    #[test]
    fn the_second_nodes_components_are_started_again_where_there_is_one() {
        let mut seen = ready();
        if let Some(record) = &mut seen.record {
            record.with.insert(AddOn::SecondNode);
        }
        let all = ["node-2-containerd", "node-2-kubelet", "node-2-kube-proxy"];
        assert_eq!(plan(&seen), Plan::Keep(all.to_vec()));
    }

    #[test]
    fn a_run_that_was_killed_is_removed() {
        let mut seen = ready();
        if let Some(record) = &mut seen.record {
            record.ready = false;
        }
        assert_eq!(plan(&seen), Plan::Rebuild);
    }

    #[test]
    fn what_is_from_before_a_reboot_is_removed() {
        assert_eq!(
            plan(&Seen {
                boot: "c".to_owned(),
                ..ready()
            }),
            Plan::Rebuild
        );
    }

    #[test]
    fn leftovers_without_a_record_are_removed() {
        assert_eq!(
            plan(&Seen {
                record: None,
                ..ready()
            }),
            Plan::Rebuild
        );
        assert_eq!(
            plan(&Seen {
                record: None,
                leftovers: false,
                ..ready()
            }),
            Plan::Build
        );
    }

    #[test]
    fn without_its_namespace_nothing_can_be_kept() {
        assert_eq!(
            plan(&Seen {
                namespace: false,
                ..ready()
            }),
            Plan::Rebuild
        );
    }
}
