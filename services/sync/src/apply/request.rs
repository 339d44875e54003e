//! Requests as they go over the wire: paths, names of writers, spans.

use http::header::CONTENT_TYPE;
use http::{Method, Request};
use serde_json::Value;
use tracing::Span;
use vcluster_resources::ownership;

use crate::object::{Kind, Name, Side};

/// Finds the translated objects of a namespace.
pub(super) const SELECTOR: &str = "vcluster.dev%2Fpart%3Dworkload";
/// Finds everything else.
pub(super) const UNLABELLED: &str = "vcluster.dev%2Fpart%21%3Dworkload";

/// The name under which we write to one side.
pub(super) fn manager(side: Side) -> &'static str {
    match side {
        Side::Virtual => ownership::SYNC_FROM_HOST,
        Side::Host => ownership::SYNC_TO_HOST,
    }
}

/// The span of a write.
pub(super) fn span(verb: &'static str, kind: Kind, side: Side) -> Span {
    let side = match side {
        Side::Virtual => "in the virtual cluster",
        Side::Host => "on the host",
    };
    tracing::info_span!("write", otel.name = %format_args!("{verb} {kind} {side}"), otel.kind = "client")
}

/// A request with a body of JSON, or of the media type that is given.
pub(super) fn request(
    side: Side,
    method: Method,
    path: &str,
    media: Option<&str>,
    body: Option<&Value>,
) -> http::Result<Request<Vec<u8>>> {
    let manager = manager(side);
    let managed = matches!(method, Method::POST | Method::PATCH);
    let uri = if managed {
        format!("{path}?fieldManager={manager}")
    } else {
        path.to_owned()
    };
    let body = body.map(Value::to_string).unwrap_or_default();
    Request::builder()
        .method(method)
        .uri(uri)
        .header(CONTENT_TYPE, media.unwrap_or("application/json"))
        .body(body.into_bytes())
}

/// The path of all objects of a kind in a namespace, or of those that are in none.
pub(crate) fn collection(kind: Kind, namespace: &str) -> String {
    let api = kind.description().api;
    let root = if api.group.is_empty() {
        "/api"
    } else {
        "/apis"
    };
    let (version, plural) = (api.version(), api.plural);
    if namespace.is_empty() {
        format!("{root}/{version}/{plural}")
    } else {
        format!("{root}/{version}/namespaces/{namespace}/{plural}")
    }
}

/// The path of an object, or of a subresource of it.
pub(super) fn path(kind: Kind, name: &Name, subresource: Option<&str>) -> String {
    let mut path = format!("{}/{}", collection(kind, &name.namespace), name.name);
    if let Some(subresource) = subresource {
        path.push('/');
        path.push_str(subresource);
    }
    path
}
