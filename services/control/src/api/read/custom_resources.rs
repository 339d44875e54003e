//! `spec.sync.custom_resources` of a request as domain types; what is wrong with the rules is said by
//! [`check`](vcluster_resources::custom_resource::check), in the words of the custom resource's own rules.

use vcluster_proto::control::v1 as wire;
use vcluster_resources::custom_resource::{
    CustomResource, Direction, Made, Patch, Reference, check, default_host_owns,
};

use super::Findings;

const AT: &str = "virtual_cluster.spec.sync";

/// Reads them.
pub(super) fn read(
    findings: &mut Findings,
    wish: Vec<wire::CustomResource>,
) -> Vec<CustomResource> {
    let mut rules = Vec::with_capacity(wish.len());
    for (n, rule) in wish.into_iter().enumerate() {
        let at = format!("{AT}.custom_resources[{n}]");
        rules.extend(one(findings, &at, rule));
    }
    for finding in check(&rules) {
        findings.add(format!("{AT}.{}", snake(&finding.field)), finding.message);
    }
    rules
}

fn one(findings: &mut Findings, at: &str, rule: wire::CustomResource) -> Option<CustomResource> {
    let direction = match wire::Direction::try_from(rule.direction) {
        Ok(wire::Direction::ToHost) => Direction::ToHost,
        Ok(wire::Direction::FromHost) => Direction::FromHost,
        Ok(wire::Direction::Unspecified) | Err(_) => {
            let text = "must be DIRECTION_TO_HOST or DIRECTION_FROM_HOST";
            findings.add(format!("{at}.direction"), text);
            return None;
        }
    };
    let mut references = Vec::with_capacity(rule.references.len());
    for (n, reference) in rule.references.into_iter().enumerate() {
        references.push(Reference {
            made: made(
                findings,
                &format!("{at}.references[{n}].made"),
                reference.made,
            ),
            path: reference.path,
            kind: reference.kind,
            when: given(reference.when),
        });
    }
    let patches = rule.patches.into_iter().map(|patch| Patch {
        path: patch.path,
        expression: given(patch.expression),
        reverse: given(patch.reverse),
    });
    Some(CustomResource {
        group: rule.group,
        version: rule.version,
        plural: rule.plural,
        direction,
        namespace: given(rule.namespace),
        references,
        host_owns: rule
            .host_owns
            .map_or_else(default_host_owns, |owned| owned.paths),
        patches: patches.collect(),
    })
}

fn made(findings: &mut Findings, field: &str, number: i32) -> Made {
    match wire::Made::try_from(number) {
        Ok(wire::Made::Unspecified | wire::Made::Inside) => Made::Inside,
        Ok(wire::Made::ByHost) => Made::ByHost,
        Err(_unknown) => {
            findings.add(field, "must be MADE_INSIDE, MADE_BY_HOST or unspecified");
            Made::Inside
        }
    }
}

fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A field as this contract spells it.
fn snake(field: &str) -> String {
    let mut snake = String::with_capacity(field.len() + 4);
    for c in field.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> wire::CustomResource {
        wire::CustomResource {
            group: "cert-manager.io".to_owned(),
            version: "v1".to_owned(),
            plural: "certificates".to_owned(),
            direction: wire::Direction::ToHost.into(),
            ..Default::default()
        }
    }

    fn fields(rules: Vec<wire::CustomResource>) -> Vec<String> {
        let mut findings = Findings::default();
        read(&mut findings, rules);
        findings
            .0
            .into_iter()
            .map(|violation| violation.field)
            .collect()
    }

    #[test]
    fn a_rule_of_few_words_has_the_defaults_of_the_custom_resource() {
        let mut findings = Findings::default();
        let read = read(&mut findings, vec![rule()]);
        assert!(findings.0.is_empty());
        let same: CustomResource = serde_json::from_value(serde_json::json!({
            "group": "cert-manager.io", "version": "v1", "plural": "certificates", "direction": "ToHost",
        }))
        .unwrap();
        assert_eq!(read, [same]);
    }

    #[test]
    fn what_is_wrong_is_told_by_field_before_anything_is_written() {
        let at = "virtual_cluster.spec.sync.custom_resources[0]";
        let unspecified = wire::CustomResource {
            direction: 0,
            ..rule()
        };
        assert_eq!(fields(vec![unspecified]), [format!("{at}.direction")]);
        let patch = wire::Patch {
            path: "spec.x".to_owned(),
            expression: "value +".to_owned(),
            ..Default::default()
        };
        let patched = wire::CustomResource {
            patches: vec![patch],
            ..rule()
        };
        assert_eq!(
            fields(vec![patched]),
            [format!("{at}.patches[0].expression")]
        );
        let owned = wire::HostOwns {
            paths: vec!["a[*]".to_owned()],
        };
        let owning = wire::CustomResource {
            host_owns: Some(owned),
            ..rule()
        };
        assert_eq!(fields(vec![owning]), [format!("{at}.host_owns")]);
    }
}
