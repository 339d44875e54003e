//! Which DNS server a pod's containers ask, and in which domains.
//!
//! What kubelet would make of the virtual pod for the virtual cluster's DNS (`dns.Configurer`), said
//! outright: kubelet of the host knows only the host's DNS server, which answers with strangers'
//! addresses, and only the host namespace. The search path of the node, which kubelet adds at the
//! end, is not known here and left out.

use serde_json::{Map, Value, json};

use super::scope::Scope;
use crate::Refusal;
use crate::json::{array, is_true, text};
use crate::refusal::Reason;

/// Most servers, search domains and characters of these that kubelet passes on.
const SERVERS: usize = 3;
const DOMAINS: usize = 32;
const CHARACTERS: usize = 2048;

/// Says the policy and configuration in `spec`; a policy that is not known is refused.
pub(super) fn set(spec: &mut Map<String, Value>, scope: &mut Scope<'_>) {
    let policy = text(scope.pod, "/spec/dnsPolicy").unwrap_or("ClusterFirst");
    let on_node = is_true(scope.pod, "/spec/hostNetwork");
    match (policy, on_node) {
        // As kubelet takes it.
        ("ClusterFirst", true) => {
            spec.insert("dnsPolicy".to_owned(), "Default".into());
        }
        ("ClusterFirst", false) | ("ClusterFirstWithHostNet", _) => {
            spec.insert("dnsPolicy".to_owned(), "None".into());
            spec.insert("dnsConfig".to_owned(), merged(scope));
        }
        ("None" | "Default", _) => {}
        // What it would make of the host's DNS is not known.
        (_unknown, _) => scope.refuse(Refusal::new(
            Reason::NotSupported,
            "spec.dnsPolicy",
            "must be one of ClusterFirst, ClusterFirstWithHostNet, Default, None",
        )),
    }
}

/// The virtual cluster's configuration with the pod's own merged in, as kubelet merges it.
fn merged(scope: &Scope<'_>) -> Value {
    let own = scope.pod.pointer("/spec/dnsConfig").unwrap_or(&Value::Null);
    let own_texts = |pointer: &str| {
        let texts = array(own, pointer).iter().filter_map(Value::as_str);
        texts.map(str::to_owned)
    };
    let (namespace, domain) = (&scope.owner.namespace, &scope.context.cluster_domain);
    let mut servers = vec![scope.context.dns.to_string()];
    add(&mut servers, own_texts("/nameservers"));
    servers.truncate(SERVERS);
    let mut searches = vec![
        format!("{namespace}.svc.{domain}"),
        format!("svc.{domain}"),
        domain.clone(),
    ];
    add(&mut searches, own_texts("/searches"));
    searches.truncate(DOMAINS);
    while searches.join(" ").len() > CHARACTERS {
        searches.pop();
    }
    let mut config = own.as_object().cloned().unwrap_or_default();
    config.insert("nameservers".to_owned(), servers.into());
    config.insert("searches".to_owned(), searches.into());
    config.insert("options".to_owned(), options(array(own, "/options")).into());
    config.into()
}

fn add(all: &mut Vec<String>, more: impl Iterator<Item = String>) {
    for text in more {
        if !all.contains(&text) {
            all.push(text);
        }
    }
}

/// `ndots:5` unless the pod has its own, and the pod's options.
fn options(own: &[Value]) -> Vec<Value> {
    let has_dots = own
        .iter()
        .any(|option| text(option, "/name") == Some("ndots"));
    let dots = (!has_dots).then(|| json!({"name": "ndots", "value": "5"}));
    dots.into_iter().chain(own.iter().cloned()).collect()
}
