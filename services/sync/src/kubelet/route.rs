//! What a path of the kubelet API asks for. No I/O.
//!
//! Answered is what API servers ask kubelets for. The rest would show the node, which is not the tenant's.

use http::Method;
use vcluster_translate::reach::Asked;

use crate::reply::{Kind, Refusal};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Whether anybody is there.
    Healthz,
    /// The logs of a container.
    Logs(Asked),
    /// A stream to a container, or to a port of a pod.
    Stream(Verb, Asked),
    /// What the pods of a node use.
    Summary,
}

/// What is done with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Reading logs.
    Logs,
    /// Running a command.
    Exec,
    /// Attaching to the first process.
    Attach,
    /// Forwarding ports.
    PortForward,
}

impl Verb {
    /// Name in audit lines, and of the host pod's subresource.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logs => "log",
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
        }
    }
}

/// Reads a path.
pub(super) fn route(method: &Method, path: &str) -> Result<Route, Refusal> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let route = match segments.as_slice() {
        ["healthz"] => Route::Healthz,
        ["stats", "summary"] => Route::Summary,
        ["containerLogs", namespace, pod, container] => {
            Route::Logs(asked(namespace, pod, None, Some(container))?)
        }
        [verb @ ("exec" | "attach"), namespace, pod, container] => {
            Route::Stream(stream(verb), asked(namespace, pod, None, Some(container))?)
        }
        [verb @ ("exec" | "attach"), namespace, pod, uid, container] => Route::Stream(
            stream(verb),
            asked(namespace, pod, Some(uid), Some(container))?,
        ),
        ["portForward", namespace, pod] => {
            Route::Stream(Verb::PortForward, asked(namespace, pod, None, None)?)
        }
        ["portForward", namespace, pod, uid] => {
            Route::Stream(Verb::PortForward, asked(namespace, pod, Some(uid), None)?)
        }
        _ => return Err(refused(&segments)),
    };
    let allowed: &[Method] = match route {
        Route::Healthz | Route::Logs(_) | Route::Summary => &[Method::GET],
        Route::Stream(..) => &[Method::GET, Method::POST],
    };
    if allowed.contains(method) {
        Ok(route)
    } else {
        Err(Refusal::new(
            Kind::Method,
            format!("{method} is not served on this path"),
        ))
    }
}

/// The node that is meant, as the proxy to nodes says it: all virtual nodes lead here, and paths of the kubelet API
/// name none. The API server itself sets the header to the path that it was asked for. It decides no more than which of
/// the tenant's own pods are told of.
pub(super) fn node(forwarded_uri: Option<&str>) -> Result<&str, Refusal> {
    let unsaid = || {
        let message =
            "which node is meant is not said: ask by /api/v1/nodes/NAME/proxy/stats/summary";
        Refusal::new(Kind::Bad, message)
    };
    let path = forwarded_uri.ok_or_else(unsaid)?;
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match segments.as_slice() {
        ["api", "v1", "nodes", name, "proxy", ..] if is_name(name) => Ok(name),
        _ => Err(unsaid()),
    }
}

fn stream(verb: &str) -> Verb {
    if verb == "exec" {
        Verb::Exec
    } else {
        Verb::Attach
    }
}

fn asked(
    namespace: &str,
    pod: &str,
    uid: Option<&str>,
    container: Option<&str>,
) -> Result<Asked, Refusal> {
    let valid = |what: &str, value: &str| {
        if is_name(value) {
            Ok(value.to_owned())
        } else {
            Err(Refusal::new(
                Kind::Bad,
                format!("{value:?} is not the {what} of a pod"),
            ))
        }
    };
    Ok(Asked {
        namespace: valid("namespace", namespace)?,
        pod: valid("name", pod)?,
        uid: uid.map(|uid| valid("UID", uid)).transpose()?,
        container: container.map(|name| valid("container", name)).transpose()?,
    })
}

/// What a path can name: no escapes, no way up.
fn is_name(value: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    !value.is_empty() && value.len() <= 253 && value.bytes().all(allowed) && !value.starts_with('.')
}

fn refused(segments: &[&str]) -> Refusal {
    let why = match segments {
        ["run", ..] => "run is not served: use exec",
        ["pods" | "runningpods" | "allocatedPods" | "podsFeed", ..] => {
            "the pods of a node are not shown, for it runs other tenants' too: list pods by the field selector \
             spec.nodeName at the API server instead"
        }
        ["metrics" | "stats" | "spec", ..] => {
            "what a node measures is not shown, for it covers other tenants' pods too: ask /stats/summary or \
             metrics.k8s.io for your own, as kubectl top does"
        }
        [
            "configz" | "flagz" | "statusz" | "logs" | "debug" | "checkpoint" | "cri",
            ..,
        ] => "the node is not this virtual cluster's: nothing of it is shown",
        _ => {
            return Refusal::new(
                Kind::NotFound,
                "the kubelet API of a virtual node has no such path",
            );
        }
    };
    Refusal::new(Kind::Forbidden, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Result<Route, Kind> {
        route(&Method::GET, path).map_err(|refusal| refusal.kind)
    }

    fn pod(uid: Option<&str>, container: Option<&str>) -> Asked {
        Asked {
            namespace: "shop".to_owned(),
            pod: "web.0".to_owned(),
            uid: uid.map(str::to_owned),
            container: container.map(str::to_owned),
        }
    }

    #[test]
    fn what_api_servers_ask_for_is_served_with_and_without_uid() {
        let main = Some("main");
        for (path, expected) in [
            ("/healthz", Route::Healthz),
            ("/stats/summary", Route::Summary),
            (
                "/containerLogs/shop/web.0/main",
                Route::Logs(pod(None, main)),
            ),
            (
                "/exec/shop/web.0/main",
                Route::Stream(Verb::Exec, pod(None, main)),
            ),
            (
                "/exec/shop/web.0/u-1/main",
                Route::Stream(Verb::Exec, pod(Some("u-1"), main)),
            ),
            (
                "/attach/shop/web.0/main",
                Route::Stream(Verb::Attach, pod(None, main)),
            ),
            (
                "/attach/shop/web.0/u-1/main",
                Route::Stream(Verb::Attach, pod(Some("u-1"), main)),
            ),
            (
                "/portForward/shop/web.0",
                Route::Stream(Verb::PortForward, pod(None, None)),
            ),
            (
                "/portForward/shop/web.0/u-1",
                Route::Stream(Verb::PortForward, pod(Some("u-1"), None)),
            ),
        ] {
            assert_eq!(get(path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn what_would_show_the_node_is_refused_and_what_is_not_there_is_not_found() {
        for (path, expected) in [
            ("/run/shop/web/main", Kind::Forbidden),
            ("/pods", Kind::Forbidden),
            ("/runningpods/", Kind::Forbidden),
            ("/metrics", Kind::Forbidden),
            ("/metrics/cadvisor", Kind::Forbidden),
            ("/metrics/resource", Kind::Forbidden),
            ("/stats", Kind::Forbidden),
            ("/stats/container", Kind::Forbidden),
            ("/stats/summary/more", Kind::Forbidden),
            ("/configz", Kind::Forbidden),
            ("/logs/syslog", Kind::Forbidden),
            ("/debug/pprof/heap", Kind::Forbidden),
            ("/checkpoint/shop/web/main", Kind::Forbidden),
            ("/", Kind::NotFound),
            ("/containerLogs/shop/web", Kind::NotFound),
            ("/api/v1/pods", Kind::NotFound),
            ("/containerLogs/shop/../main", Kind::Bad),
            ("/containerLogs/shop/%2e%2e/main", Kind::Bad),
            ("/containerLogs/shop//main", Kind::Bad),
            ("/exec/shop/web%2Fexec/main", Kind::Bad),
        ] {
            assert_eq!(get(path), Err(expected), "{path}");
        }
    }

    #[test]
    fn streams_are_asked_for_by_get_or_post_and_the_rest_by_get() {
        let kind = |method, path| route(&method, path).map_err(|refusal| refusal.kind);
        assert!(kind(Method::POST, "/exec/a/b/c").is_ok());
        assert_eq!(kind(Method::POST, "/stats/summary"), Err(Kind::Method));
        assert_eq!(kind(Method::PUT, "/exec/a/b/c"), Err(Kind::Method));
        assert_eq!(
            kind(Method::POST, "/containerLogs/a/b/c"),
            Err(Kind::Method)
        );
    }

    #[test]
    fn the_node_is_the_one_that_the_api_server_was_asked_for() {
        let long = format!("/api/v1/nodes/{}/proxy/stats/summary", "n".repeat(254));
        for (uri, expected) in [
            (
                Some("/api/v1/nodes/node-1.example/proxy/stats/summary"),
                Ok("node-1.example"),
            ),
            (Some("/api/v1/nodes/node-1/proxy"), Ok("node-1")),
            (
                Some("/api/v1/nodes/https:node-1:10250/proxy/stats/summary"),
                Err(Kind::Bad),
            ),
            (Some("/api/v1/nodes/../proxy/stats/summary"), Err(Kind::Bad)),
            (
                Some("/api/v1/nodes/%2e%2e/proxy/stats/summary"),
                Err(Kind::Bad),
            ),
            (Some("/api/v1/nodes//proxy/stats/summary"), Err(Kind::Bad)),
            (Some("/api/v1/namespaces/a/pods/b/proxy"), Err(Kind::Bad)),
            (Some(long.as_str()), Err(Kind::Bad)),
            (Some(""), Err(Kind::Bad)),
            (None, Err(Kind::Bad)),
        ] {
            assert_eq!(
                node(uri).map_err(|refusal| refusal.kind),
                expected,
                "{uri:?}"
            );
        }
    }
}
