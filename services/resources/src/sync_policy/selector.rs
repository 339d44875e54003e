//! Selectors of labels: what they select, and what they may hold, by the schema's own rules and by the same for requests
//! that no schema sees.
//!
//! A label that no object can have selects nothing, or everything, without a word: it is refused.

#![allow(
    unreachable_pub,
    reason = "KubeSchema derives a hidden twin of each type inside a function"
)]

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::VALUES;

/// Most labels, and most requirements.
const MOST: usize = 16;
/// Most values of a requirement.
const MOST_VALUES: usize = 64;
/// Longest name of a label, behind the DNS name before it, and longest value.
const NAME: usize = 63;
/// Longest DNS name before it.
const PREFIX: usize = 253;

pub(super) const KEYS: &str = "labels must be letters, digits, '-', '_' and '.' that begin and end with a letter or digit, at most 63, optionally behind a DNS name and '/'";
pub(super) const LABEL_VALUES: &str = "values of labels must be empty, or letters, digits, '-', '_' and '.' that begin and end with a letter or digit, at most 63";
const LABELS: &str = "matchLabels must be at most 16 labels";
const EXPRESSIONS: &str = "matchExpressions must be at most 16 requirements";

/// CEL: whether `self` is the key of a label.
pub(super) const IS_KEY: &str = "self.indexOf('/') <= 253 && self.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')";
/// CEL: whether `self` are values of labels.
pub(super) const ARE_VALUES: &str =
    "self.all(v, v.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$'))";

/// A selector of labels, as Kubernetes has it: all of it must hold.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// Labels and their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "match_labels")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<Requirement>,
}

/// A requirement on one label.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)")
    .message(VALUES))]
pub struct Requirement {
    /// The label.
    #[schemars(length(max = 317))]
    #[x_kube(validation = Rule::new(IS_KEY).message(KEYS))]
    pub key: String,
    /// How it relates to the values.
    pub operator: Operator,
    /// The values of In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    #[x_kube(validation = Rule::new(ARE_VALUES).message(LABEL_VALUES))]
    pub values: Vec<String>,
}

/// How a label relates to the values of a requirement.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum Operator {
    /// It has one of them.
    In,
    /// It is absent, or has none of them.
    NotIn,
    /// It is there.
    Exists,
    /// It is absent.
    DoesNotExist,
}

impl Operator {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::In, Self::NotIn, Self::Exists, Self::DoesNotExist];

    /// Name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "In",
            Self::NotIn => "NotIn",
            Self::Exists => "Exists",
            Self::DoesNotExist => "DoesNotExist",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|all| all.as_str() == name)
    }
}

impl Selector {
    /// Whether an object with the labels that `label` finds is selected.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        let exact = self
            .match_labels
            .iter()
            .all(|(key, value)| label(key) == Some(value));
        exact && self.match_expressions.iter().all(|all| all.holds(&label))
    }
}

impl Requirement {
    fn holds<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        let found = label(&self.key);
        let is_in = found.is_some_and(|found| self.values.iter().any(|value| value == found));
        match self.operator {
            Operator::In => is_in,
            Operator::NotIn => !is_in,
            Operator::Exists => found.is_some(),
            Operator::DoesNotExist => found.is_none(),
        }
    }
}

/// Schema of `matchLabels`. A schema cannot bound the keys of a map but by rules.
pub(super) fn match_labels(_generator: &mut SchemaGenerator) -> Schema {
    let keys = IS_KEY.replace("self", "k");
    let values = ARE_VALUES.replace("v.matches", "self[v].matches");
    json_schema!({
        "type": "object",
        "maxProperties": MOST,
        "additionalProperties": {"type": "string", "maxLength": NAME},
        "x-kubernetes-validations": [
            { "rule": format!("self.all(k, {keys})"), "message": KEYS },
            { "rule": values, "message": LABEL_VALUES },
        ],
    })
}

/// Everything that is wrong with a selector, by field.
pub(super) fn violations(at: &str, selector: &Selector) -> Vec<(String, String)> {
    let at = format!("{at}.selector");
    let mut found = Vec::new();
    let mut add = |field: String, message: &str| found.push((field, message.to_owned()));
    let labels = &selector.match_labels;
    if labels.len() > MOST {
        add(format!("{at}.match_labels"), LABELS);
    }
    if !labels.keys().all(|key| is_key(key)) {
        add(format!("{at}.match_labels"), KEYS);
    }
    if !labels.values().all(|value| is_value(value)) {
        add(format!("{at}.match_labels"), LABEL_VALUES);
    }
    if selector.match_expressions.len() > MOST {
        add(format!("{at}.match_expressions"), EXPRESSIONS);
    }
    for (index, one) in selector.match_expressions.iter().enumerate() {
        let at = format!("{at}.match_expressions[{index}]");
        if !is_key(&one.key) {
            add(format!("{at}.key"), KEYS);
        }
        let listed = matches!(one.operator, Operator::In | Operator::NotIn);
        if listed == one.values.is_empty() {
            add(format!("{at}.values"), VALUES);
        }
        if one.values.len() > MOST_VALUES || !one.values.iter().all(|value| is_value(value)) {
            add(format!("{at}.values"), LABEL_VALUES);
        }
    }
    found
}

fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => {
            prefix.len() <= PREFIX
                && prefix.split('.').all(super::violations::is_segment)
                && is_name(name)
        }
        None => is_name(key),
    }
}

fn is_value(value: &str) -> bool {
    value.is_empty() || is_name(value)
}

fn is_name(name: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    bytes.len() <= NAME && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(inside)
}
