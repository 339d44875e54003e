//! The host that a request names, and what it means.
//!
//! The authority of the request decides, never SNI, which clients may leave out. But a connection that was
//! opened for one cluster's host serves that host only: a client that reuses it for another is told so
//! (421, RFC 9110 15.5.20) and opens its own.

use http::header;
use http::request::Parts;

use super::ClusterKey;

/// The domain under which each virtual cluster has a host of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Lower case, without a dot at either end.
    name: String,
}

impl Domain {
    /// Reads a domain name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let name = text.trim_matches('.').to_ascii_lowercase();
        let is_label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if name.split('.').all(is_label) && name.len() <= 200 {
            Ok(Self { name })
        } else {
            Err(format!("{text:?} is not a domain name"))
        }
    }

    /// What stands before the domain in `host`, if it lies under it.
    fn before<'a>(&self, host: &'a str) -> Option<&'a str> {
        host.strip_suffix(self.name.as_str())?.strip_suffix('.')
    }

    /// The cluster that `host` names; `None` if it is no host of a cluster.
    fn cluster(&self, host: &str) -> Option<Result<ClusterKey, String>> {
        let labels = self.before(host)?;
        let key = match labels.split_once('.') {
            Some((name, namespace)) => ClusterKey::parse(namespace, name),
            None => Err("hosts of virtual clusters are NAME.HOST-NAMESPACE".to_owned()),
        };
        Some(key.map_err(|reason| format!("in the host name: {reason}")))
    }
}

/// What a host means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    Gateway,
    Cluster(ClusterKey),
    Bad(String),
    Misdirected,
}

/// The authority that a request names: in its target, or else in its one `Host` header.
pub(super) fn authority(request: &Parts) -> Result<Option<String>, &'static str> {
    let mut lines = request.headers.get_all(header::HOST).iter();
    let line = lines.next();
    if lines.next().is_some() {
        return Err("the request has several Host headers");
    }
    let line = match line.map(|value| value.to_str()) {
        Some(Ok(text)) => Some(text.to_ascii_lowercase()),
        Some(Err(_)) => return Err("the Host header is not ASCII"),
        None => None,
    };
    let target = request
        .uri
        .authority()
        .map(|authority| authority.as_str().to_ascii_lowercase());
    let authority = match (target, line) {
        (Some(target), Some(line)) if target != line => {
            return Err("the Host header is not the host of the request target");
        }
        (Some(target), _) => Some(target),
        (None, line) => line,
    };
    match authority {
        Some(text) if text.contains(['@', '/', '\\', '%', ' ']) => Err("the host is malformed"),
        authority => Ok(authority),
    }
}

/// Decides what the host of a request means on a connection whose SNI was `server_name`.
pub(super) fn named(
    authority: Option<&str>,
    server_name: Option<&str>,
    domain: Option<&Domain>,
) -> Named {
    let Some(domain) = domain else {
        return Named::Gateway;
    };
    let asked = authority.and_then(|authority| domain.cluster(bare(authority)));
    let opened_for = server_name
        .map(str::to_ascii_lowercase)
        .and_then(|name| domain.cluster(bare(&name)))
        .and_then(Result::ok);
    match (asked, opened_for) {
        (Some(Err(reason)), _) => Named::Bad(reason),
        (Some(Ok(asked)), Some(opened_for)) if asked != opened_for => Named::Misdirected,
        (None, Some(_)) => Named::Misdirected,
        (Some(Ok(asked)), _) => Named::Cluster(asked),
        (None, None) => Named::Gateway,
    }
}

/// The host without port and without the dot of the root.
fn bare(authority: &str) -> &str {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    host.strip_suffix('.').unwrap_or(host)
}
