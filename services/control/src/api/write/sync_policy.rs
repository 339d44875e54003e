//! `spec.sync` as the wire has it.

use vcluster_proto::control::v1 as wire;
use vcluster_resources::sync_policy::{
    Export, FromHost, Mapping, NodePolicy, Selector, SyncPolicy, ToHost, VirtualObject,
};

use super::custom_resources;

/// A policy.
pub(super) fn write(policy: &SyncPolicy) -> wire::SyncPolicy {
    let to_host = |(kind, rule): (&String, &ToHost)| {
        let rule = wire::SyncToHost {
            enabled: rule.enabled,
            selector: rule.selector.as_ref().map(selector),
            namespaces: rule.namespaces.clone(),
            mappings: rule.mappings.iter().map(export).collect(),
        };
        (kind.clone(), rule)
    };
    let from_host = |(kind, rule): (&String, &FromHost)| {
        let rule = wire::SyncFromHost {
            enabled: rule.enabled,
            selector: rule.selector.as_ref().map(selector),
            policy: node_policy(rule.policy).into(),
            mappings: rule.mappings.iter().map(mapping).collect(),
        };
        (kind.clone(), rule)
    };
    wire::SyncPolicy {
        to_host: policy.to_host.iter().map(to_host).collect(),
        from_host: policy.from_host.iter().map(from_host).collect(),
        custom_resources: custom_resources::write(&policy.custom_resources),
    }
}

fn export(export: &Export) -> wire::ExportMapping {
    wire::ExportMapping {
        from: Some(place(&export.from)),
        to: Some(wire::HostObject {
            namespace: String::new(),
            name: export.to.name.clone(),
        }),
    }
}

fn mapping(mapping: &Mapping) -> wire::Mapping {
    wire::Mapping {
        from: Some(wire::HostObject {
            namespace: mapping.from.namespace.clone().unwrap_or_default(),
            name: mapping.from.name.clone(),
        }),
        to: Some(place(&mapping.to)),
    }
}

fn place(place: &VirtualObject) -> wire::VirtualObject {
    wire::VirtualObject {
        namespace: place.namespace.clone(),
        name: place.name.clone(),
    }
}

fn node_policy(policy: Option<NodePolicy>) -> wire::NodePolicy {
    match policy {
        None => wire::NodePolicy::Unspecified,
        Some(NodePolicy::All) => wire::NodePolicy::All,
        Some(NodePolicy::Used) => wire::NodePolicy::Used,
    }
}

fn selector(selector: &Selector) -> wire::LabelSelector {
    let expressions = selector.match_expressions.iter();
    wire::LabelSelector {
        match_labels: selector.match_labels.clone().into_iter().collect(),
        match_expressions: expressions
            .map(|one| wire::LabelSelectorRequirement {
                key: one.key.clone(),
                operator: one.operator.as_str().to_owned(),
                values: one.values.clone(),
            })
            .collect(),
    }
}
