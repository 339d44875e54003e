//! What kind of request to an API server one is, told by its target: whether it stays, and who answers it.

use http::header::{self, HeaderMap};
use http::uri::PathAndQuery;

use crate::metrics::Class;

/// Whether a request ends by itself or stays.
pub(super) fn class(target: &PathAndQuery) -> Class {
    let stays = is_watch(target) || is_set(target, "follow") || is_proxied(target);
    if stays { Class::Long } else { Class::Short }
}

/// Whether it is a watch.
pub(super) fn is_watch(target: &PathAndQuery) -> bool {
    is_set(target, "watch")
        || segments(target).nth(2) == Some("watch") && segments(target).next() == Some("api")
}

/// Whether a workload answers it rather than the API server: `…/pods/NAME/proxy`, and services and nodes.
pub(super) fn is_proxied(target: &PathAndQuery) -> bool {
    let mut segments = segments(target);
    segments.any(|segment| matches!(segment, "pods" | "services" | "nodes"))
        && segments.nth(1) == Some("proxy")
}

/// Whether a workload or a kubelet answers it rather than the API server: also `…/pods/NAME/log` and what is
/// streamed to and from containers.
pub(super) fn is_answered_elsewhere(target: &PathAndQuery) -> bool {
    let mut segments = segments(target);
    let streamed = |segment| matches!(segment, "attach" | "exec" | "log" | "portforward");
    is_proxied(target)
        || segments.any(|segment| segment == "pods") && segments.nth(1).is_some_and(streamed)
}

/// Whether a client asks what kinds there are, in the form that kubectl asks for since 1.26.
pub(super) fn is_discovery(target: &PathAndQuery, headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().any(|line| {
        let name = b"APIGroupDiscoveryList";
        line.as_bytes()
            .windows(name.len())
            .any(|window| window == name)
    });
    accepts && matches!(target.path(), "/api" | "/apis")
}

fn segments(target: &PathAndQuery) -> impl Iterator<Item = &str> {
    target
        .path()
        .split('/')
        .filter(|segment| !segment.is_empty())
}

/// Whether a boolean of Kubernetes' query is set: there, and not one of its words for no.
fn is_set(target: &PathAndQuery, name: &str) -> bool {
    let pairs = target.query().unwrap_or_default().split('&');
    let mut values = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    values.any(|(key, value)| {
        key == name && !matches!(value, "0" | "f" | "F" | "false" | "FALSE" | "False")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_container_or_a_kubelet_answers_is_known() {
        for (target, expected) in [
            ("/api/v1/namespaces/a/pods/b/log", true),
            ("/api/v1/namespaces/a/pods/b/exec?command=sh", true),
            ("/api/v1/namespaces/a/pods/b/proxy/x", true),
            ("/api/v1/nodes/n/proxy/metrics", true),
            ("/api/v1/namespaces/a/pods/b", false),
            ("/api/v1/namespaces/a/pods/log", false),
            ("/api/v1/namespaces/a/configmaps/log", false),
        ] {
            assert_eq!(
                is_answered_elsewhere(&target.parse().unwrap()),
                expected,
                "{target}"
            );
        }
    }

    #[test]
    fn watches_followed_logs_and_proxied_requests_stay() {
        for (target, expected) in [
            ("/api/v1/pods", Class::Short),
            ("/api/v1/pods?watch=true", Class::Long),
            ("/api/v1/pods?limit=1&watch=1", Class::Long),
            ("/api/v1/pods?watch", Class::Long),
            ("/api/v1/pods?watch=false", Class::Short),
            ("/api/v1/pods?watch=0", Class::Short),
            ("/api/v1/pods?labelSelector=watch", Class::Short),
            ("/api/v1/watch/pods", Class::Long),
            ("/api/v1/namespaces/watch/pods", Class::Short),
            ("/api/v1/namespaces/a/pods/b/log?follow=true", Class::Long),
            ("/api/v1/namespaces/a/pods/b/log", Class::Short),
            ("/api/v1/namespaces/a/services/b:80/proxy/x", Class::Long),
            ("/api/v1/namespaces/a/pods/b/proxy", Class::Long),
            ("/api/v1/nodes/n/proxy/metrics", Class::Long),
            ("/api/v1/namespaces/a/configmaps/proxy", Class::Short),
        ] {
            assert_eq!(class(&target.parse().unwrap()), expected, "{target}");
        }
    }
}
