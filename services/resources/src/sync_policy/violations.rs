//! Everything that is wrong with a policy, by field, in the words of the definition.

use super::{
    ACCOUNTS_SELECTED, CLASSES, CLASSES_PLACED, EVENTS_SELECTED, Export, FROM_HOST, FROM_HOST_ONLY,
    HOST_NAME, HostObject, MAPPED, MAPPED_ONLY, MOST_MAPPINGS, MOST_NAMESPACES, Mapping, NAMES,
    NAMESPACES, NODES_OFF, NOT_EXPORTED, NOT_MAPPED, PLACES, PODS_OFF, POLICY_ELSEWHERE, RESERVED,
    SERVICE_ACCOUNTS, Selector, SyncPolicy, TO_HOST, TO_HOST_ONLY, VirtualObject, is_reserved,
    selector,
};

impl SyncPolicy {
    /// Everything that is wrong with it, by field.
    pub fn violations(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (kind, rule) in &self.to_host {
            let at = format!("to_host[{kind}]");
            if !TO_HOST.contains(&kind.as_str()) {
                found.push((at.clone(), TO_HOST_ONLY.to_owned()));
            }
            if kind == "pods" && rule.enabled == Some(false) {
                found.push((format!("{at}.enabled"), PODS_OFF.to_owned()));
            }
            if kind == SERVICE_ACCOUNTS && rule.selector.is_some() {
                found.push((format!("{at}.selector"), ACCOUNTS_SELECTED.to_owned()));
            }
            if CLASSES.contains(&kind.as_str()) && !rule.namespaces.is_empty() {
                found.push((format!("{at}.namespaces"), CLASSES_PLACED.to_owned()));
            }
            let namespaces = &rule.namespaces;
            if namespaces.len() > MOST_NAMESPACES || !namespaces.iter().all(|name| is_label(name)) {
                found.push((format!("{at}.namespaces"), NAMESPACES.to_owned()));
            }
            found.extend(of_selector(&at, rule.selector.as_ref()));
            found.extend(of_exports(&at, kind, &rule.mappings));
        }
        for (kind, rule) in &self.from_host {
            let at = format!("from_host[{kind}]");
            if !FROM_HOST.contains(&kind.as_str()) {
                found.push((at.clone(), FROM_HOST_ONLY.to_owned()));
            }
            if kind == "nodes" && rule.enabled == Some(false) {
                found.push((format!("{at}.enabled"), NODES_OFF.to_owned()));
            }
            if kind != "nodes" && rule.policy.is_some() {
                found.push((format!("{at}.policy"), POLICY_ELSEWHERE.to_owned()));
            }
            let narrowed = rule.enabled.is_some() || rule.selector.is_some();
            if MAPPED.contains(&kind.as_str()) && narrowed {
                found.push((at.clone(), MAPPED_ONLY.to_owned()));
            }
            found.extend(of_mappings(&at, kind, &rule.mappings));
            if kind == "events" && rule.selector.is_some() {
                found.push((format!("{at}.selector"), EVENTS_SELECTED.to_owned()));
            }
            found.extend(of_selector(&at, rule.selector.as_ref()));
        }
        found
    }
}

fn of_selector(at: &str, selector: Option<&Selector>) -> Vec<(String, String)> {
    selector.map_or_else(Vec::new, |selector| selector::violations(at, selector))
}

fn of_exports(at: &str, kind: &str, exports: &[Export]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let field = format!("{at}.mappings");
    if kind != "services" && !exports.is_empty() {
        found.push((field.clone(), NOT_EXPORTED.to_owned()));
    }
    let once = |export: &Export| exports.iter().filter(|other| other.to == export.to).count() == 1;
    if exports.len() > MOST_MAPPINGS || !exports.iter().all(once) {
        found.push((field.clone(), PLACES.to_owned()));
    }
    for (index, export) in exports.iter().enumerate() {
        let name = export.to.name.as_str();
        let at = format!("{field}[{index}].to.name");
        let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
        if !begins || !is_label(name) || name.contains("-x-") {
            found.push((at.clone(), HOST_NAME.to_owned()));
        }
        if is_reserved(name) {
            found.push((at, RESERVED.to_owned()));
        }
        found.extend(of_place(&format!("{field}[{index}].from"), &export.from));
    }
    found
}

fn of_mappings(at: &str, kind: &str, mappings: &[Mapping]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let field = format!("{at}.mappings");
    if !MAPPED.contains(&kind) && !mappings.is_empty() {
        found.push((field.clone(), NOT_MAPPED.to_owned()));
    }
    let once = |mapping: &Mapping| {
        let same = |other: &&Mapping| other.to == mapping.to || other.from == mapping.from;
        mappings.iter().filter(same).count() == 1
    };
    if mappings.len() > MOST_MAPPINGS || !mappings.iter().all(once) {
        found.push((field.clone(), PLACES.to_owned()));
    }
    for (index, mapping) in mappings.iter().enumerate() {
        let at = format!("{field}[{index}]");
        let HostObject { namespace, name } = &mapping.from;
        if namespace.as_deref().is_some_and(|name| !is_label(name)) {
            found.push((format!("{at}.from.namespace"), NAMES.to_owned()));
        }
        if !is_subdomain(name) {
            found.push((format!("{at}.from.name"), NAMES.to_owned()));
        }
        if is_reserved(name) {
            found.push((format!("{at}.from.name"), RESERVED.to_owned()));
        }
        found.extend(of_place(&format!("{at}.to"), &mapping.to));
    }
    found
}

fn of_place(at: &str, place: &VirtualObject) -> Vec<(String, String)> {
    let namespace = (!is_label(&place.namespace)).then(|| format!("{at}.namespace"));
    let name = (!is_subdomain(&place.name)).then(|| format!("{at}.name"));
    let fields = namespace.into_iter().chain(name);
    fields.map(|field| (field, NAMES.to_owned())).collect()
}

/// Whether it can be the name of an object (RFC 1123).
fn is_subdomain(text: &str) -> bool {
    let ends = |byte: Option<u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let (first, last) = (text.bytes().next(), text.bytes().last());
    let inner = |byte: u8| ends(Some(byte)) || byte == b'-' || byte == b'.';
    text.len() <= 253 && ends(first) && ends(last) && text.bytes().all(inner)
}

/// Whether it is a DNS label (RFC 1123).
fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_segment(text)
}

/// Whether it is a part of a DNS name, however long.
pub(super) fn is_segment(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}
