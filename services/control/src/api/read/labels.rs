//! Labels, by the rules of Kubernetes (RFC 1123 names).

use std::collections::{BTreeMap, HashMap};

use super::Findings;

/// Most labels on one virtual cluster.
const MOST: usize = 64;

/// Reads labels, in order.
pub(crate) fn read(
    findings: &mut Findings,
    labels: HashMap<String, String>,
) -> BTreeMap<String, String> {
    let labels: BTreeMap<String, String> = labels.into_iter().collect();
    if labels.len() > MOST {
        findings.add("virtual_cluster.labels", format!("must be at most {MOST}"));
    }
    for (key, value) in &labels {
        let field = format!("virtual_cluster.labels[{key}]");
        if !is_key(key) {
            let text = "must have a key of letters, digits, '-', '_' and '.' of at most 63 \
                        characters, optionally after a DNS name and '/'";
            findings.add(field, text);
        } else if !value.is_empty() && !is_name(value) {
            let text = "must be letters, digits, '-', '_' and '.', at most 63 characters, that \
                        begin and end with a letter or digit";
            findings.add(field, text);
        }
    }
    labels
}

fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_name(name),
        None => is_name(key),
    }
}

fn is_name(name: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

/// Whether it is a DNS subdomain.
pub(crate) fn is_subdomain(text: &str) -> bool {
    let label = |label: &str| {
        let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(inside)
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_follow_the_rules_of_kubernetes() {
        for good in ["app", "example.com/app", "a.b_c-d", "A1"] {
            assert!(is_key(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a/b/c", "Example.com/a", "/a", "a/", "ä"] {
            assert!(!is_key(bad), "{bad}");
        }
        assert!(!is_name(&"a".repeat(64)));
    }
}
