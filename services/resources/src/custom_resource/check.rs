//! What is wrong with rules, by field. No I/O.
//!
//! The schema of the VirtualCluster says the same of what a schema can say, so that `kubectl apply` refuses it too;
//! what it cannot (an expression that does not compile, paths that meet) is found here, by control before it stores a
//! cluster and by sync before it follows a rule.

use std::collections::BTreeSet;

use super::{CustomResource, Direction, Expression, Made, Path, Reference};

/// Rules at most.
const RULES: usize = 16;
/// References of a rule at most.
const REFERENCES: usize = 32;
/// Patches of a rule at most, and fields that the host owns.
const PATCHES: usize = 16;
/// Built-in kinds that can be named.
pub(super) const KINDS: [&str; 5] = [
    "Secret",
    "ConfigMap",
    "Service",
    "PersistentVolumeClaim",
    "Pod",
];
/// Variables of a condition.
pub(super) const CONDITION: [&str; 2] = ["object", "cluster"];
/// Variables of a patch.
pub(super) const PATCH: [&str; 3] = ["value", "object", "cluster"];

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Finding {
    /// The rule that it is about, counted from 0; nothing if it is about all of them.
    pub rule: Option<usize>,
    /// The field, as `customResources[0].references[1].path`.
    pub field: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

/// Everything that is wrong with these rules.
pub fn check(rules: &[CustomResource]) -> Vec<Finding> {
    let mut findings = Findings::default();
    if rules.len() > RULES {
        findings.add("customResources", format!("must be at most {RULES} rules"));
        return findings.all;
    }
    let named: Vec<String> = rules.iter().map(CustomResource::definition).collect();
    let mut seen = BTreeSet::new();
    for (n, rule) in rules.iter().enumerate() {
        findings.rule = Some(n);
        let at = format!("customResources[{n}]");
        names(&mut findings, &at, rule);
        if !seen.insert(&named[n]) {
            findings.add(
                format!("{at}.plural"),
                format!("{} has a rule already", named[n]),
            );
        }
        let owned = host_owns(&mut findings, &at, rule);
        references(&mut findings, &at, rule, &named, &owned);
        patches(&mut findings, &at, rule, &owned);
    }
    findings.all
}

#[derive(Default)]
struct Findings {
    all: Vec<Finding>,
    /// The rule that is being checked.
    rule: Option<usize>,
}

impl Findings {
    fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.all.push(Finding {
            rule: self.rule,
            field: field.into(),
            message: message.into(),
        });
    }

    fn path(&mut self, field: String, text: &str) -> Option<Path> {
        text.parse()
            .map_err(|error: super::path::Error| self.add(field, format!("path {error}")))
            .ok()
    }

    fn expression(&mut self, field: String, source: Option<&String>, variables: &[&str]) {
        let compiled = source.map(|source| Expression::compile(source, variables));
        if let Some(Err(error)) = compiled {
            let name = field.rsplit('.').next().unwrap_or_default().to_owned();
            self.add(field, format!("{name} {error}"));
        }
    }
}

fn names(findings: &mut Findings, at: &str, rule: &CustomResource) {
    let group = !rule.group.is_empty()
        && rule.group.len() <= 253
        && rule.group.contains('.')
        && rule.group.split('.').all(is_label);
    if !group {
        let text = "group must be a DNS name with a dot, for example cert-manager.io";
        findings.add(format!("{at}.group"), text);
    }
    if !is_version(&rule.version) {
        let text = "version must be a version of an API, for example v1 or v1beta1";
        findings.add(format!("{at}.version"), text);
    }
    let begins = rule.plural.starts_with(|c: char| c.is_ascii_lowercase());
    if !begins || !is_label(&rule.plural) {
        let text = "plural must be lower-case letters, digits and '-', for example certificates";
        findings.add(format!("{at}.plural"), text);
    }
    match (rule.direction, &rule.namespace) {
        (Direction::ToHost, Some(_)) => {
            findings.add(
                format!("{at}.namespace"),
                "namespace must not be given with direction ToHost",
            );
        }
        (Direction::FromHost, Some(namespace)) if !is_label(namespace) => {
            findings.add(
                format!("{at}.namespace"),
                "namespace must be lower-case letters, digits and '-'",
            );
        }
        (Direction::ToHost, None) | (Direction::FromHost, _) => {}
    }
}

fn is_label(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c != '-');
    text.len() <= 63
        && text
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        && ends(text.chars().next())
        && ends(text.chars().last())
}

fn is_version(text: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let Some(rest) = text.strip_prefix('v').filter(|_| text.len() <= 63) else {
        return false;
    };
    let parts = rest.split_once("alpha").or_else(|| rest.split_once("beta"));
    parts.map_or_else(
        || number(rest),
        |(major, minor)| number(major) && number(minor),
    )
}

fn host_owns(findings: &mut Findings, at: &str, rule: &CustomResource) -> Vec<Path> {
    if rule.host_owns.len() > PATCHES {
        findings.add(
            format!("{at}.hostOwns"),
            format!("must be at most {PATCHES} paths"),
        );
    }
    let mut paths = Vec::new();
    for text in &rule.host_owns {
        match text.parse::<Path>() {
            Ok(path) if path.is_single() => paths.push(path),
            Ok(_) | Err(super::path::Error::Malformed) => {
                let text = "hostOwns must be paths such as status or spec.renewal, without [*]";
                findings.add(format!("{at}.hostOwns"), text);
            }
            Err(error @ super::path::Error::Reserved) => {
                findings.add(format!("{at}.hostOwns"), format!("path {error}"));
            }
        }
    }
    paths
}

fn references(
    findings: &mut Findings,
    at: &str,
    rule: &CustomResource,
    named: &[String],
    owned: &[Path],
) {
    if rule.references.len() > REFERENCES {
        findings.add(
            format!("{at}.references"),
            format!("must be at most {REFERENCES} references"),
        );
    }
    if rule.direction == Direction::FromHost && !rule.references.is_empty() {
        findings.add(
            format!("{at}.references"),
            "references must not be given with direction FromHost",
        );
    }
    for (n, reference) in rule.references.iter().enumerate() {
        let at = format!("{at}.references[{n}]");
        let path = findings.path(format!("{at}.path"), &reference.path);
        if path.is_some_and(|path| owned.iter().any(|owned| owned.meets(&path))) {
            let text = "path lies in what the host owns, which is not sent to it";
            findings.add(format!("{at}.path"), text);
        }
        kind(findings, &at, reference, named);
        findings.expression(format!("{at}.when"), reference.when.as_ref(), &CONDITION);
    }
}

fn kind(findings: &mut Findings, at: &str, reference: &Reference, named: &[String]) {
    let kind = reference.kind.as_str();
    if !KINDS.contains(&kind) && !named.iter().any(|named| named == kind) {
        let text = "kind must be Secret, ConfigMap, Service, PersistentVolumeClaim, Pod, or PLURAL.GROUP of another \
                    rule of this list";
        findings.add(format!("{at}.kind"), text);
    }
    if reference.made == Made::ByHost && !matches!(kind, "Secret" | "ConfigMap") {
        let text = "made can be ByHost only with kind Secret or ConfigMap";
        findings.add(format!("{at}.made"), text);
    }
}

fn patches(findings: &mut Findings, at: &str, rule: &CustomResource, owned: &[Path]) {
    if rule.patches.len() > PATCHES {
        findings.add(
            format!("{at}.patches"),
            format!("must be at most {PATCHES} patches"),
        );
    }
    for (n, patch) in rule.patches.iter().enumerate() {
        let at = format!("{at}.patches[{n}]");
        if patch.expression.is_none() && patch.reverse.is_none() {
            findings.add(
                at.as_str(),
                "a patch must have an expression, a reverse, or both",
            );
        }
        findings.expression(
            format!("{at}.expression"),
            patch.expression.as_ref(),
            &PATCH,
        );
        findings.expression(format!("{at}.reverse"), patch.reverse.as_ref(), &PATCH);
        let Some(path) = findings.path(format!("{at}.path"), &patch.path) else {
            continue;
        };
        let comes_up =
            rule.direction == Direction::FromHost || owned.iter().any(|owned| owned.holds(&path));
        if comes_up && patch.expression.is_some() {
            let text = "expression must not be given for what comes from the host: give reverse";
            findings.add(format!("{at}.expression"), text);
        }
        if !comes_up && patch.reverse.is_some() {
            let text = "reverse must not be given for what the host does not own: see hostOwns";
            findings.add(format!("{at}.reverse"), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(rules: Value) -> Vec<String> {
        let rules: Vec<CustomResource> = serde_json::from_value(rules).unwrap();
        check(&rules).iter().map(ToString::to_string).collect()
    }

    fn rule(with: &Value) -> Value {
        let mut rule = json!({
            "group": "cert-manager.io", "version": "v1", "plural": "certificates", "direction": "ToHost",
        });
        for (key, value) in with.as_object().unwrap() {
            rule[key] = value.clone();
        }
        rule
    }

    #[test]
    fn a_rule_for_certificates_has_no_fault() {
        let certificates = rule(&json!({
            "references": [
                {"path": "spec.secretName", "kind": "Secret", "made": "ByHost"},
                {"path": "spec.issuerRef.name", "kind": "issuers.cert-manager.io",
                    "when": "!has(object.spec.issuerRef.kind) || object.spec.issuerRef.kind == 'Issuer'"},
            ],
            "patches": [
                {"path": "spec.commonName", "expression": "value"},
                {"path": "status.message", "reverse": "value"},
            ],
        }));
        let issuers = rule(&json!({"plural": "issuers"}));
        assert_eq!(found(json!([certificates, issuers])), [""; 0]);
    }

    #[test]
    fn every_fault_is_told_by_field() {
        for (with, says) in [
            (json!({"group": "core"}), "[0].group: group must"),
            (json!({"group": "A.io"}), "[0].group: group must"),
            (json!({"version": "1"}), "[0].version: version must"),
            (json!({"version": "v1gamma1"}), "[0].version: version must"),
            (json!({"plural": "9lives"}), "[0].plural: plural must"),
            (
                json!({"namespace": "x"}),
                "[0].namespace: namespace must not",
            ),
            (
                json!({"direction": "FromHost", "namespace": "X"}),
                "[0].namespace: namespace must be",
            ),
            (
                json!({"hostOwns": ["status", "spec.x[*]"]}),
                "[0].hostOwns: hostOwns must",
            ),
            (
                json!({"hostOwns": ["metadata.labels"]}),
                "[0].hostOwns: path must not lie in",
            ),
            (
                json!({"references": [{"path": "spec.", "kind": "Secret"}]}),
                "references[0].path: path must be",
            ),
            (
                json!({"references": [{"path": "status.x", "kind": "Secret"}]}),
                "references[0].path: path lies",
            ),
            (
                json!({"references": [{"path": "spec.x", "kind": "Node"}]}),
                "references[0].kind: kind must be",
            ),
            (
                json!({"references": [{"path": "spec.x", "kind": "a.b.io"}]}),
                "references[0].kind: kind must be",
            ),
            (
                json!({"references": [{"path": "spec.x", "kind": "Pod", "made": "ByHost"}]}),
                "references[0].made: made can",
            ),
            (
                json!({"references": [{"path": "spec.x", "kind": "Pod", "when": "value"}]}),
                "references[0].when: when names",
            ),
            (
                json!({"direction": "FromHost", "references": [{"path": "spec.x", "kind": "Pod"}]}),
                "[0].references: references must",
            ),
            (
                json!({"patches": [{"path": "spec.x"}]}),
                "patches[0]: a patch must have",
            ),
            (
                json!({"patches": [{"path": "spec.x", "expression": "1 +"}]}),
                "patches[0].expression: expression is not",
            ),
            (
                json!({"patches": [{"path": "spec.x", "reverse": "value"}]}),
                "patches[0].reverse: reverse must not",
            ),
            (
                json!({"patches": [{"path": "status.x", "expression": "value"}]}),
                "patches[0].expression: expression must not",
            ),
        ] {
            let found = found(json!([rule(&with)]));
            assert_eq!(found.len(), 1, "{with}: {found:?}");
            assert!(found[0].contains(says), "{with}: {found:?}");
        }
        let twice = found(json!([rule(&json!({})), rule(&json!({"version": "v2"}))]));
        assert_eq!(
            twice,
            ["customResources[1].plural: certificates.cert-manager.io has a rule already"]
        );
    }

    #[test]
    fn a_fault_names_its_rule_and_one_of_all_rules_names_none() {
        let rules = |count: usize, with: Value| -> Vec<CustomResource> {
            let plural = |n: usize| {
                let mut rule = rule(&json!({"plural": format!("kinds{n}")}));
                if n == 1 {
                    rule["group"] = with["group"].clone();
                }
                rule
            };
            serde_json::from_value((0..count).map(plural).collect()).unwrap()
        };
        let found = check(&rules(3, json!({"group": "core"})));
        assert!(!found.is_empty() && found.iter().all(|finding| finding.rule == Some(1)));
        let found = check(&rules(RULES + 1, json!({"group": "a.io"})));
        assert_eq!((found.len(), found[0].rule), (1, None));
    }
}
