//! What a path of the resource metrics API asks for. No I/O.

use http::Method;
use serde::Serialize;
use serde_json::{Value, json};
use vcluster_chassis::access::Attributes;
use vcluster_translate::resource_metrics::{GROUP_VERSION, list};

use super::discovery;
use crate::reply::{Kind, Refusal};

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Route {
    /// What there is; this.
    Discovery(Value),
    /// Metrics.
    Metrics(Asked),
}

/// Metrics that are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// Of what.
    pub(super) of: Of,
    /// Of the one of this name only.
    pub(super) name: Option<String>,
    /// Selectors, as they came.
    pub(super) query: Vec<String>,
}

/// Of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Of {
    /// Pods, of one namespace or of all.
    Pods {
        /// The namespace.
        namespace: Option<String>,
    },
    /// Nodes.
    Nodes,
}

/// Parameters by which objects are selected.
const SELECTORS: [&str; 2] = ["labelSelector", "fieldSelector"];

/// Reads a request.
pub(super) fn route(method: &Method, path: &str, query: Option<&str>) -> Result<Route, Refusal> {
    if method != Method::GET {
        let message = format!("{method} is not allowed: metrics can only be read");
        return Err(Refusal::new(Kind::Method, message));
    }
    let pairs = || query.unwrap_or_default().split('&');
    if pairs().any(|pair| matches!(pair, "watch=true" | "watch=1" | "watch")) {
        return Err(Refusal::new(Kind::Method, "metrics cannot be watched"));
    }
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let rest = match segments.as_slice() {
        ["healthz" | "livez" | "readyz"] => return Ok(Route::Discovery(json!("ok"))),
        ["apis", "metrics.k8s.io"] => return Ok(Route::Discovery(discovery::group())),
        ["apis", "metrics.k8s.io", "v1beta1"] => {
            return Ok(Route::Discovery(discovery::resources()));
        }
        ["apis", "metrics.k8s.io", "v1beta1", rest @ ..] => rest,
        _ => return Err(unknown()),
    };
    let (of, name) = match rest {
        ["nodes"] => (Of::Nodes, None),
        ["nodes", name] => (Of::Nodes, Some(named(name)?)),
        ["pods"] => (Of::Pods { namespace: None }, None),
        ["namespaces", namespace, "pods"] => (of_namespace(namespace)?, None),
        ["namespaces", namespace, "pods", name] => (of_namespace(namespace)?, Some(named(name)?)),
        _ => return Err(unknown()),
    };
    let is_selector = |pair: &&str| {
        let key = pair.split_once('=').map(|(key, _)| key);
        key.is_some_and(|key| SELECTORS.contains(&key))
    };
    let query = pairs().filter(is_selector).map(str::to_owned).collect();
    Ok(Route::Metrics(Asked { of, name, query }))
}

fn unknown() -> Refusal {
    Refusal::new(Kind::NotFound, "the resource metrics API has no such path")
}

fn of_namespace(namespace: &str) -> Result<Of, Refusal> {
    let namespace = Some(named(namespace)?);
    Ok(Of::Pods { namespace })
}

/// What a path can name: no escapes, no way up.
fn named(name: &str) -> Result<String, Refusal> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    if !name.is_empty() && name.len() <= 253 && name.bytes().all(allowed) && !name.starts_with('.')
    {
        Ok(name.to_owned())
    } else {
        Err(Refusal::new(Kind::Bad, format!("{name:?} is not a name")))
    }
}

impl Asked {
    /// What the user must be allowed.
    pub(super) fn attributes(&self) -> Attributes {
        let (resource, namespace) = match &self.of {
            Of::Pods { namespace } => ("pods", namespace.clone()),
            Of::Nodes => ("nodes", None),
        };
        let verb = if self.name.is_some() { "get" } else { "list" };
        Attributes {
            group: "metrics.k8s.io".to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.unwrap_or_default(),
            name: self.name.clone().unwrap_or_default(),
            verb: verb.to_owned(),
            ..Attributes::default()
        }
    }

    /// The list of those objects of the virtual cluster of which metrics are asked for.
    pub(super) fn in_virtual(&self, collection: &str, namespace: Option<&str>) -> String {
        let within = namespace.map(|namespace| format!("namespaces/{namespace}/"));
        let mut query = self.query.clone();
        if let Some(name) = &self.name {
            query = vec![format!("fieldSelector=metadata.name%3D{name}")];
        }
        let within = within.unwrap_or_default();
        format!("/api/v1/{within}{collection}?{}", query.join("&"))
    }

    /// The answer in JSON: a list, or the one that was asked for.
    pub(super) fn answer<T: Serialize>(&self, kind: &str, found: &[T]) -> Result<String, Refusal> {
        let text = match &self.name {
            None => serde_json::to_string(&list(kind, found)),
            Some(name) => {
                let first = found.first().ok_or_else(|| {
                    let message = format!(
                        "{GROUP_VERSION}: the host has not measured {name:?} yet, or there is none"
                    );
                    Refusal::new(Kind::NotFound, message)
                })?;
                serde_json::to_string(first)
            }
        };
        text.map_err(|error| Refusal::new(Kind::Internal, error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, query: Option<&str>) -> Result<Asked, Kind> {
        let path = format!("/apis/metrics.k8s.io/v1beta1/{path}");
        match route(&Method::GET, &path, query) {
            Ok(Route::Metrics(asked)) => Ok(asked),
            Ok(Route::Discovery(document)) => panic!("{document}"),
            Err(refusal) => Err(refusal.kind),
        }
    }

    #[test]
    fn paths_ask_for_pods_and_nodes_with_their_selectors() {
        for (path, query, attributes, inside) in [
            (
                "pods",
                None,
                "list pods.metrics.k8s.io at the cluster scope",
                "/api/v1/pods?",
            ),
            (
                "namespaces/shop/pods",
                Some("labelSelector=app%3Dweb&limit=5&fieldSelector=metadata.name%3Da"),
                "list pods.metrics.k8s.io in namespace \"shop\"",
                "/api/v1/namespaces/shop/pods?labelSelector=app%3Dweb&fieldSelector=metadata.name%3Da",
            ),
            (
                "namespaces/shop/pods/web-0",
                None,
                "get pods.metrics.k8s.io \"web-0\" in namespace \"shop\"",
                "/api/v1/namespaces/shop/pods?fieldSelector=metadata.name%3Dweb-0",
            ),
            (
                "nodes",
                None,
                "list nodes.metrics.k8s.io at the cluster scope",
                "/api/v1/nodes?",
            ),
            (
                "nodes/node-1",
                None,
                "get nodes.metrics.k8s.io \"node-1\" at the cluster scope",
                "/api/v1/nodes?fieldSelector=metadata.name%3Dnode-1",
            ),
        ] {
            let asked = get(path, query).unwrap();
            assert_eq!(asked.attributes().to_string(), attributes);
            let found = match &asked.of {
                Of::Pods { namespace } => asked.in_virtual("pods", namespace.as_deref()),
                Of::Nodes => asked.in_virtual("nodes", None),
            };
            assert_eq!(found, inside);
        }
    }

    #[test]
    fn what_is_no_name_leads_nowhere_and_nothing_is_written_or_watched() {
        for (path, query, kind) in [
            ("namespaces/a%2Fb/pods", None, Kind::Bad),
            ("namespaces/../pods", None, Kind::Bad),
            ("namespaces/shop/pods/a?b", None, Kind::Bad),
            ("namespaces/shop", None, Kind::NotFound),
            ("secrets", None, Kind::NotFound),
            ("pods", Some("limit=1&watch=true"), Kind::Method),
        ] {
            assert_eq!(get(path, query), Err(kind), "{path}");
        }
        let deleted = route(&Method::DELETE, "/apis/metrics.k8s.io/v1beta1/pods", None);
        assert_eq!(deleted.unwrap_err().kind, Kind::Method);
    }

    #[test]
    fn discovery_and_health_answer_without_the_host() {
        for path in [
            "/healthz",
            "/apis/metrics.k8s.io",
            "/apis/metrics.k8s.io/v1beta1",
        ] {
            assert!(matches!(
                route(&Method::GET, path, None),
                Ok(Route::Discovery(_))
            ));
        }
        for path in ["/apis", "/openapi/v2", "/openapi/v3", "/"] {
            assert_eq!(
                route(&Method::GET, path, None).unwrap_err().kind,
                Kind::NotFound
            );
        }
    }
}
