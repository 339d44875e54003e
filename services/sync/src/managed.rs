//! Lists what sync keeps inside a virtual cluster that is no translation of anything there.

use http::Request;
use serde_json::Value;
use vcluster_resources::label::{MANAGED, MANAGED_VALUE};

use crate::apply::{collection, with_causes};
use crate::deadline::{REQUEST, within};
use crate::object::{Kind, Object};
use crate::tenant::Tenant;

/// One page, and where the next begins: `limit` objects of a kind in a namespace, or in all of them where it is empty.
///
/// # Errors
/// The virtual API server does not answer, or its answer is no list.
pub async fn page(
    tenant: &Tenant,
    kind: Kind,
    namespace: &str,
    limit: usize,
    next: Option<&str>,
) -> Result<(Vec<Object>, Option<String>), String> {
    let mut path = format!(
        "{}?limit={limit}&labelSelector={}%3D{MANAGED_VALUE}",
        collection(kind, namespace),
        MANAGED.replace('/', "%2F"),
    );
    if let Some(next) = next {
        // A continue token is base64url: it needs no escape.
        path.push_str("&continue=");
        path.push_str(next);
    }
    let request = Request::get(path)
        .body(Vec::new())
        .map_err(|error| with_causes(&error))?;
    let answer = tenant.clients.virtual_.request.request::<Value>(request);
    let list = within(REQUEST, answer).await;
    let mut list = list.map_err(|error| with_causes(&error))?;
    let Some(Value::Array(items)) = list.get_mut("items").map(Value::take) else {
        return Err(format!("the list of {} has no items", kind.plural()));
    };
    let following = list.pointer("/metadata/continue").and_then(Value::as_str);
    let following = following.filter(|next| !next.is_empty());
    Ok((
        items.into_iter().map(Object::new).collect(),
        following.map(str::to_owned),
    ))
}
