//! What the host answered instead of logs or a stream, as it is told inside.

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use vcluster_translate::reach::{Asked, in_own_words};

use super::pods::Pods;
use crate::reply::{self, Body, Kind, Refusal};

/// The most of a refusal that is read.
pub(super) const MOST: usize = 64 << 10;

/// A refusal of the host.
#[derive(Debug)]
pub(super) struct Refused {
    code: StatusCode,
    reason: String,
    message: String,
}

impl Refused {
    /// Reads what the host said: a `Status`, or text.
    pub(super) fn read(code: StatusCode, said: &[u8], asked: &Asked, pods: &Pods) -> Self {
        if matches!(code, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            tracing::warn!(
                host_pod = pods.host_name,
                said = %String::from_utf8_lossy(said),
                "host refuses a pod's subresource"
            );
            // Nothing that the tenant could do about it, and it names the host's accounts.
            return Self {
                code: StatusCode::INTERNAL_SERVER_ERROR,
                reason: Kind::Internal.reason().to_owned(),
                message: "the host does not let sync act for this virtual cluster: tell its administrators"
                    .to_owned(),
            };
        }
        let status: Option<Value> = serde_json::from_slice(said).ok();
        let text = |key: &str| status.as_ref()?.get(key)?.as_str().map(str::to_owned);
        let message = text("message").unwrap_or_else(|| String::from_utf8_lossy(said).into_owned());
        Self {
            code,
            reason: text("reason").unwrap_or_default(),
            message: in_own_words(message.trim(), asked, &pods.host, &pods.inside),
        }
    }

    /// As text, which is what a kubelet says of logs.
    pub(super) fn into_text(self) -> Response<Body> {
        plain(self.code, self.message)
    }

    /// As a `Status`.
    pub(super) fn into_status(self) -> Response<Body> {
        let status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code.as_u16(),
        });
        reply::json(self.code, &status)
    }
}

/// A refusal of our own as text.
pub(super) fn text(refusal: Refusal) -> Response<Body> {
    plain(refusal.kind.code(), refusal.message)
}

fn plain(code: StatusCode, message: String) -> Response<Body> {
    let mut response = Response::new(reply::full(message));
    *response.status_mut() = code;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
