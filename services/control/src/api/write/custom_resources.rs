//! `spec.sync.custom_resources` as the wire has it.

use vcluster_proto::control::v1 as wire;
use vcluster_resources::custom_resource::{CustomResource, Direction, Made};

/// The rules.
pub(super) fn write(rules: &[CustomResource]) -> Vec<wire::CustomResource> {
    rules.iter().map(one).collect()
}

fn one(rule: &CustomResource) -> wire::CustomResource {
    let direction = match rule.direction {
        Direction::ToHost => wire::Direction::ToHost,
        Direction::FromHost => wire::Direction::FromHost,
    };
    let references = rule.references.iter().map(|reference| wire::Reference {
        path: reference.path.clone(),
        kind: reference.kind.clone(),
        made: match reference.made {
            Made::Inside => wire::Made::Inside,
            Made::ByHost => wire::Made::ByHost,
        }
        .into(),
        when: reference.when.clone().unwrap_or_default(),
    });
    let patches = rule.patches.iter().map(|patch| wire::Patch {
        path: patch.path.clone(),
        expression: patch.expression.clone().unwrap_or_default(),
        reverse: patch.reverse.clone().unwrap_or_default(),
    });
    wire::CustomResource {
        group: rule.group.clone(),
        version: rule.version.clone(),
        plural: rule.plural.clone(),
        direction: direction.into(),
        namespace: rule.namespace.clone().unwrap_or_default(),
        references: references.collect(),
        host_owns: Some(wire::HostOwns {
            paths: rule.host_owns.clone(),
        }),
        patches: patches.collect(),
    }
}
