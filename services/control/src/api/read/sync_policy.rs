//! `spec.sync` of a request as a domain type; what is wrong with it is said by
//! [`SyncPolicy::violations`], in the words of the custom resource's own rules.

use std::collections::HashMap;

use vcluster_proto::control::v1 as wire;
use vcluster_resources::sync_policy::{
    Export, FromHost, HostObject, HostService, Mapping, NodePolicy, Operator, Requirement,
    Selector, SyncPolicy, ToHost, VirtualObject,
};

use super::{Findings, custom_resources};

const AT: &str = "virtual_cluster.spec.sync";

/// Reads it.
pub(in crate::api) fn read(findings: &mut Findings, wish: wire::SyncPolicy) -> SyncPolicy {
    let mut policy = SyncPolicy {
        custom_resources: custom_resources::read(findings, wish.custom_resources),
        ..SyncPolicy::default()
    };
    for (kind, rule) in in_order(wish.to_host) {
        let at = format!("{AT}.to_host[{kind}]");
        let rule = ToHost {
            enabled: rule.enabled,
            selector: selector(findings, &at, rule.selector),
            namespaces: rule.namespaces,
            mappings: exports(findings, &at, rule.mappings),
        };
        policy.to_host.insert(kind, rule);
    }
    for (kind, rule) in in_order(wish.from_host) {
        let at = format!("{AT}.from_host[{kind}]");
        let rule = FromHost {
            enabled: rule.enabled,
            policy: node_policy(findings, &at, rule.policy),
            selector: selector(findings, &at, rule.selector),
            mappings: rule.mappings.into_iter().map(mapping).collect(),
        };
        policy.from_host.insert(kind, rule);
    }
    for (field, text) in policy.violations() {
        findings.add(format!("{AT}.{field}"), text);
    }
    policy
}

/// In one order, so that the same request is always answered in the same words.
fn in_order<T>(map: HashMap<String, T>) -> Vec<(String, T)> {
    let mut all: Vec<_> = map.into_iter().collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

fn exports(findings: &mut Findings, at: &str, wish: Vec<wire::ExportMapping>) -> Vec<Export> {
    let mut exports = Vec::with_capacity(wish.len());
    for (index, one) in wish.into_iter().enumerate() {
        let to = one.to.unwrap_or_default();
        if !to.namespace.is_empty() {
            let field = format!("{at}.mappings[{index}].to.namespace");
            findings.add(field, "must be empty: it is made in the host namespace");
        }
        exports.push(Export {
            from: place(one.from),
            to: HostService { name: to.name },
        });
    }
    exports
}

fn mapping(wish: wire::Mapping) -> Mapping {
    let from = wish.from.unwrap_or_default();
    Mapping {
        from: HostObject {
            namespace: (!from.namespace.is_empty()).then_some(from.namespace),
            name: from.name,
        },
        to: place(wish.to),
    }
}

fn place(wish: Option<wire::VirtualObject>) -> VirtualObject {
    let wire::VirtualObject { namespace, name } = wish.unwrap_or_default();
    VirtualObject { namespace, name }
}

fn node_policy(findings: &mut Findings, at: &str, number: i32) -> Option<NodePolicy> {
    match wire::NodePolicy::try_from(number) {
        Ok(wire::NodePolicy::Unspecified) => None,
        Ok(wire::NodePolicy::All) => Some(NodePolicy::All),
        Ok(wire::NodePolicy::Used) => Some(NodePolicy::Used),
        Err(_unknown) => {
            let text = "must be NODE_POLICY_ALL, NODE_POLICY_USED or unspecified";
            findings.add(format!("{at}.policy"), text);
            None
        }
    }
}

fn selector(
    findings: &mut Findings,
    at: &str,
    wish: Option<wire::LabelSelector>,
) -> Option<Selector> {
    let wish = wish?;
    let mut match_expressions = Vec::with_capacity(wish.match_expressions.len());
    for (index, one) in wish.match_expressions.into_iter().enumerate() {
        let Some(operator) = Operator::named(&one.operator) else {
            let field = format!("{at}.selector.match_expressions[{index}].operator");
            findings.add(field, "must be In, NotIn, Exists or DoesNotExist");
            continue;
        };
        match_expressions.push(Requirement {
            key: one.key,
            operator,
            values: one.values,
        });
    }
    Some(Selector {
        match_labels: wish.match_labels.into_iter().collect(),
        match_expressions,
    })
}
