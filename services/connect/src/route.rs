//! Where a request goes, decided on the bytes of its target alone.
//!
//! Pure. A virtual API server is named by path (`/clusters/HOST-NAMESPACE/NAME/…`, everywhere) or by host
//! (`NAME.HOST-NAMESPACE.DOMAIN`, where wildcard DNS exists). The naming part follows a strict alphabet: what is
//! encoded, dotted or doubled there is refused, never interpreted. What follows it belongs to the virtual
//! API server and is kept byte for byte, encoded slashes and query included.
//!
//! gRPC goes by the service's full name. Nothing here knows whether a cluster exists.

use std::fmt;
use std::str::FromStr;

use http::request::Parts;
use http::uri::PathAndQuery;
use vcluster_resources::layout::CLUSTERS_PATH;
use vcluster_resources::{ClusterName, HostNamespace};

mod host;

pub use host::Domain;

/// A virtual cluster as the host cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterKey {
    /// Host namespace.
    pub namespace: HostNamespace,
    /// Name.
    pub name: ClusterName,
}

impl ClusterKey {
    /// Reads both names; tells which is wrong and how.
    pub fn parse(namespace: &str, name: &str) -> Result<Self, String> {
        Ok(Self {
            namespace: HostNamespace::from_str(namespace)
                .map_err(|error| format!("host namespace {error}"))?,
            name: ClusterName::from_str(name)
                .map_err(|error| format!("name of the virtual cluster {error}"))?,
        })
    }

    /// Path of its API server at the gateway.
    pub fn path(&self) -> String {
        format!("{CLUSTERS_PATH}/{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To a virtual API server.
    Cluster(ClusterRoute),
    /// To a gRPC service behind the gateway, or of it.
    Grpc(Service),
    /// To the gateway's own answer for load balancers.
    Health,
    /// Nowhere: nothing is served there.
    NotFound,
    /// Nowhere: the target is malformed, in words that a user can act on.
    Bad(String),
    /// Nowhere: the connection was opened for another host.
    Misdirected,
}

/// A virtual API server and what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRoute {
    /// Which one.
    pub cluster: ClusterKey,
    /// Path and query as they came, without the prefix.
    pub rest: PathAndQuery,
    /// The prefix that was taken off; empty where the host named the cluster.
    pub prefix: String,
}

/// Who serves a gRPC path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// The control service.
    Control,
    /// The sync service.
    Sync,
    /// The gateway itself, for authenticated callers.
    Connect,
    /// The gateway's own health, for everybody.
    Health,
}

/// Decides where a request goes. `server_name` is what the connection's SNI named.
pub fn route(request: &Parts, server_name: Option<&str>, domain: Option<&Domain>) -> Route {
    let authority = match host::authority(request) {
        Ok(authority) => authority,
        Err(reason) => return Route::Bad(reason.to_owned()),
    };
    let Some(target) = request.uri.path_and_query() else {
        return Route::Bad("the request target must be a path".to_owned());
    };
    let by_host = match host::named(authority.as_deref(), server_name, domain) {
        host::Named::Cluster(cluster) => Some(cluster),
        host::Named::Gateway => None,
        host::Named::Bad(reason) => return Route::Bad(reason),
        host::Named::Misdirected => return Route::Misdirected,
    };
    match by_host {
        Some(cluster) if target.path().starts_with('/') => Route::Cluster(ClusterRoute {
            cluster,
            rest: target.clone(),
            prefix: String::new(),
        }),
        Some(_) => Route::Bad("the request target must be a path".to_owned()),
        None => by_path(target),
    }
}

fn by_path(target: &PathAndQuery) -> Route {
    let path = target.path();
    let Some(inner) = path.strip_prefix('/') else {
        return Route::Bad("the request target must be a path".to_owned());
    };
    if let Some(inner) = path
        .strip_prefix(CLUSTERS_PATH)
        .and_then(|rest| rest.strip_prefix('/'))
    {
        return cluster(inner, target);
    }
    let first = inner.split('/').next().unwrap_or_default();
    let ambiguous = first.is_empty() && !inner.is_empty();
    if ambiguous || first == "." || first == ".." || first.contains(['%', '\\', ';']) {
        return Route::Bad("the first segment of the path is encoded, dotted or empty".to_owned());
    }
    if let Some(service) = grpc(inner) {
        return Route::Grpc(service);
    }
    match inner {
        "healthz" | "livez" | "readyz" => Route::Health,
        _ => Route::NotFound,
    }
}

/// Reads `HOST-NAMESPACE/NAME[/rest]`.
fn cluster(inner: &str, target: &PathAndQuery) -> Route {
    let (namespace, inner) = inner.split_once('/').unwrap_or((inner, ""));
    let (name, rest) = match inner.find('/') {
        Some(slash) => inner.split_at(slash),
        None => (inner, "/"),
    };
    let cluster = match ClusterKey::parse(namespace, name) {
        Ok(cluster) => cluster,
        Err(reason) => {
            return Route::Bad(format!("in {CLUSTERS_PATH}/HOST-NAMESPACE/NAME: {reason}"));
        }
    };
    let rest = match target.query() {
        Some(query) => PathAndQuery::try_from(format!("{rest}?{query}")),
        None => PathAndQuery::try_from(rest),
    };
    match rest {
        Ok(rest) => Route::Cluster(ClusterRoute {
            prefix: cluster.path(),
            cluster,
            rest,
        }),
        Err(_) => Route::Bad("the path within the virtual cluster is malformed".to_owned()),
    }
}

/// Reads `package.Service/Method`.
fn grpc(inner: &str) -> Option<Service> {
    let (service, method) = inner.split_once('/')?;
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if !is_word(method) || !service.split('.').all(is_word) {
        return None;
    }
    let within = |package: &str| {
        service
            .strip_prefix(package)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    match service {
        "grpc.health.v1.Health" => Some(Service::Health),
        "grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection" => {
            Some(Service::Connect)
        }
        _ if within("vcluster.control") => Some(Service::Control),
        _ if within("vcluster.sync") => Some(Service::Sync),
        _ if within("vcluster.connect") => Some(Service::Connect),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
