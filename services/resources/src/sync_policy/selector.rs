//! What a selector of labels may hold: the schema's own rules, and the same for requests that no schema sees.
//!
//! A label that no object can have selects nothing, or everything, without a word: it is refused.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{Operator, Selector, VALUES};

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
            prefix.len() <= PREFIX && prefix.split('.').all(super::is_segment) && is_name(name)
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
