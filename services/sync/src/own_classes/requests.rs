//! Requests about classes, to either side: each by itself, with a deadline. What they mean is decided elsewhere.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};
use vcluster_resources::ownership;
use vcluster_translate::mapping::Step;
use vcluster_translate::own_class::Class;

use super::Error;
use crate::apply::with_causes;

/// How long one request may take.
const DEADLINE: Duration = Duration::from_secs(15);
/// Objects per page of a list.
const PAGE: usize = 250;

fn collection(of: Class) -> String {
    let api = of.kind().description().api;
    format!("/apis/{}/{}", api.version(), api.plural)
}

/// All of them, or an error: what is missing here may be taken for gone.
///
/// # Errors
/// The server does not answer, or has more than `most`.
pub(super) async fn list(client: &Client, of: Class, most: usize) -> Result<Vec<Value>, Error> {
    let (mut all, mut next) = (Vec::new(), String::new());
    loop {
        let mut path = format!("{}?limit={PAGE}", collection(of));
        if !next.is_empty() {
            // It is base64url: it needs no escape.
            path.push_str("&continue=");
            path.push_str(&next);
        }
        let mut page = send(client, Method::GET, &path, None, None)
            .await
            .map_err(|error| failed(&error))?;
        let plural = of.kind().plural();
        let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) else {
            return Err(Error::Failed(format!("the list of {plural} has no items")));
        };
        all.extend(items);
        if all.len() > most {
            let message = format!("there are more than {most} {plural}: none is looked at");
            return Err(Error::Failed(message));
        }
        let token = page.pointer("/metadata/continue").and_then(Value::as_str);
        match token.filter(|token| !token.is_empty()) {
            Some(token) => token.clone_into(&mut next),
            None => return Ok(all),
        }
    }
}

/// The one of that name, if it is there.
///
/// # Errors
/// The server does not answer.
pub(super) async fn get(client: &Client, of: Class, name: &str) -> Result<Option<Value>, Error> {
    let found = find(client, of, name).await;
    found.map_err(|error| failed(&error))
}

/// The same, with the error as it came.
///
/// # Errors
/// The server does not answer.
pub(super) async fn find(
    client: &Client,
    of: Class,
    name: &str,
) -> Result<Option<Value>, kube::Error> {
    let path = format!("{}/{name}", collection(of));
    match send(client, Method::GET, &path, None, None).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if code(&error) == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Does a step about the one of that name; false if somebody else did something in between: it is to be looked at again.
///
/// # Errors
/// The server does not answer, or refuses.
pub(super) async fn write(
    client: &Client,
    of: Class,
    name: &str,
    step: Step,
) -> Result<bool, Error> {
    let (path, manager) = (collection(of), ownership::SYNC_TO_HOST);
    let at = format!("{path}/{name}");
    let done = match step {
        Step::Nothing => return Ok(true),
        Step::Create(object) => {
            let path = format!("{path}?fieldManager={manager}");
            send(client, Method::POST, &path, None, Some(&object)).await
        }
        Step::Patch(patch) => {
            let path = format!("{at}?fieldManager={manager}");
            let media = Some(patch.format.content_type());
            send(client, Method::PATCH, &path, media, Some(&patch.body)).await
        }
        Step::Delete(delete) => {
            let options = json!({
                "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": delete.uid},
            });
            send(client, Method::DELETE, &at, None, Some(&options)).await
        }
    };
    match done {
        Ok(_) => Ok(true),
        Err(error) if matches!(code(&error), Some(404 | 409)) => Ok(false),
        Err(error) => Err(failed(&error)),
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    if let kube::Error::Api(status) = error {
        Some(status.code)
    } else {
        None
    }
}

/// What an error means for a class.
pub(super) fn failed(error: &kube::Error) -> Error {
    let said = with_causes(error);
    match code(error) {
        Some(403) => Error::NoRight(said),
        Some(_) | None => Error::Failed(said),
    }
}

async fn send(
    client: &Client,
    method: Method,
    path: &str,
    media: Option<&str>,
    body: Option<&Value>,
) -> Result<Value, kube::Error> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(CONTENT_TYPE, media.unwrap_or("application/json"))
        .body(body.into_bytes())
        .map_err(|error| kube::Error::Service(Box::new(error)))?;
    tokio::time::timeout(DEADLINE, client.request::<Value>(request))
        .await
        .unwrap_or_else(|elapsed| Err(kube::Error::Service(Box::new(elapsed))))
}
