//! Answers over HTTP: bodies, and refusals as Kubernetes' clients know them.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use serde_json::json;

/// An error of a body that is passed on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A streamed body of an answer.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// A body without content.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that is known as a whole.
pub fn full(content: impl Into<Bytes>) -> Body {
    Full::new(content.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A body that is handed on in pieces, as fast as it is taken: so what it [`hold`]s is held for as long as it is in memory.
pub fn in_pieces(content: impl Into<Bytes>) -> Body {
    let mut rest: Bytes = content.into();
    let pieces = std::iter::from_fn(move || {
        let piece = rest.split_to(rest.len().min(PIECE));
        (!piece.is_empty()).then(|| Ok(Frame::data(piece)))
    });
    StreamBody::new(futures::stream::iter(pieces)).boxed_unsync()
}

/// Bytes of a piece.
const PIECE: usize = 64 << 10;

/// Keeps a value until the body has ended or nobody wants it any more.
pub fn hold<T: Send + Unpin + 'static>(body: Body, held: T) -> Body {
    Held { body, _held: held }.boxed_unsync()
}

struct Held<T> {
    body: Body,
    _held: T,
}

impl<T: Unpin> http_body::Body for Held<T> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer in JSON.
pub fn json(code: StatusCode, content: &serde_json::Value) -> Response<Body> {
    json_body(code, full(content.to_string()))
}

/// An answer whose body is JSON.
pub fn json_body(code: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of refusal, by what a client can do about it.
    pub kind: Kind,
    /// What is wrong and what to do, for users.
    pub message: String,
}

/// Kinds of refusals, one per reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is malformed.
    Bad,
    /// The caller may not.
    Forbidden,
    /// There is nothing.
    NotFound,
    /// The method is not the path's.
    Method,
    /// The caller has too many requests under way.
    TooMany,
    /// The other end cannot be reached now.
    Unavailable,
    /// The other end did not answer in time.
    Timeout,
    /// Something here is broken.
    Internal,
}

impl Kind {
    /// Status code in HTTP.
    pub const fn code(self) -> StatusCode {
        match self {
            Self::Bad => StatusCode::BAD_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Reason as Kubernetes' clients know it (`metav1.StatusReason`).
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Bad => "BadRequest",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::Method => "MethodNotAllowed",
            Self::TooMany => "TooManyRequests",
            Self::Unavailable => "ServiceUnavailable",
            Self::Timeout => "Timeout",
            Self::Internal => "InternalError",
        }
    }
}

impl Refusal {
    /// Makes a refusal.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// The answer: a `Status`.
    pub fn into_response(self) -> Response<Body> {
        let code = self.kind.code();
        let status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.kind.reason(),
            "code": code.as_u16(),
        });
        json(code, &status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refusal_is_a_status_that_kubernetes_clients_read() {
        let response = Refusal::new(Kind::NotFound, "there is no pod \"a\"").into_response();
        assert_eq!(response.status(), 404);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let status: kube::core::Status = serde_json::from_slice(&body).unwrap();
        assert_eq!((status.code, status.reason.as_str()), (404, "NotFound"));
        assert_eq!(status.message, "there is no pod \"a\"");
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_whole_in_the_end() {
        let content = vec![7; 2 * PIECE + 1];
        let mut body = in_pieces(content.clone());
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first.len(), PIECE);
        let rest = body.collect().await.unwrap().to_bytes();
        assert_eq!([first, rest].concat(), content);
        assert!(in_pieces("").frame().await.is_none());
    }
}
