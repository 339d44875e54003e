//! Rules as translation works with them: paths parsed and expressions compiled. No I/O.

use super::check::{self, CONDITION, Finding, PATCH};
use super::{CustomResource, Direction, Expression, Made, Path, path};

/// How one kind is synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// API group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Name of the collection.
    pub plural: String,
    /// Which way its objects go.
    pub direction: Direction,
    /// Virtual namespace of what comes from the host namespace.
    pub namespace: Option<String>,
    /// Fields that name other objects.
    pub references: Vec<ReferenceRule>,
    /// Fields that the host writes.
    pub host_owns: Vec<Path>,
    /// Values that are changed.
    pub patches: Vec<PatchRule>,
}

/// A field that names another object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceRule {
    /// Where.
    pub path: Path,
    /// Kind, or `PLURAL.GROUP`.
    pub kind: String,
    /// Who makes it.
    pub made: Made,
    /// Where this does not hold, it is no reference.
    pub when: Option<Expression>,
}

/// A value that is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchRule {
    /// Where.
    pub path: Path,
    /// On the way to the host.
    pub expression: Option<Expression>,
    /// On the way from it.
    pub reverse: Option<Expression>,
}

impl Rule {
    /// `PLURAL.GROUP`: the name of its CustomResourceDefinition.
    pub fn definition(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }
}

/// The rules without fault, each with its place in the list, and what is wrong with the others.
pub fn compile(rules: &[CustomResource]) -> (Vec<Rule>, Vec<Finding>) {
    let findings = check::check(rules);
    let whole = findings.iter().any(|finding| !finding.field.contains('['));
    let sound = rules.iter().enumerate().filter(|(n, _)| {
        let at = format!("customResources[{n}]");
        !whole
            && !findings
                .iter()
                .any(|finding| finding.field.starts_with(&at))
    });
    // What was checked compiles; what does not is left out rather than trusted.
    let compiled = sound.filter_map(|(_, rule)| one(rule)).collect();
    (compiled, findings)
}

fn one(rule: &CustomResource) -> Option<Rule> {
    let paths = |all: &[String]| {
        all.iter()
            .map(|text| text.parse())
            .collect::<Result<Vec<Path>, path::Error>>()
    };
    let expression = |source: &Option<String>, variables: &[&str]| match source {
        Some(source) => Expression::compile(source, variables).ok().map(Some),
        None => Some(None),
    };
    let mut references = Vec::new();
    for reference in &rule.references {
        references.push(ReferenceRule {
            path: reference.path.parse().ok()?,
            kind: reference.kind.clone(),
            made: reference.made,
            when: expression(&reference.when, &CONDITION)?,
        });
    }
    let mut patches = Vec::new();
    for patch in &rule.patches {
        patches.push(PatchRule {
            path: patch.path.parse().ok()?,
            expression: expression(&patch.expression, &PATCH)?,
            reverse: expression(&patch.reverse, &PATCH)?,
        });
    }
    Some(Rule {
        group: rule.group.clone(),
        version: rule.version.clone(),
        plural: rule.plural.clone(),
        direction: rule.direction,
        namespace: rule.namespace.clone(),
        references,
        host_owns: paths(&rule.host_owns).ok()?,
        patches,
    })
}
