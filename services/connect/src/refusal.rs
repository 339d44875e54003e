//! Why a request is not served, and how each kind of client is told.
//!
//! The one place that turns a refusal into a status: a Kubernetes `Status` for HTTP, so that kubectl prints
//! sense, and a trailers-only answer with `google.rpc.ErrorInfo` for gRPC. Messages are made for users:
//! they say what is allowed and what to do, and hold nothing of the inside (addresses, certificates, upstream text).

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;
use tonic_types::{ErrorDetails, StatusExt};
use vcluster_chassis::access;

use crate::body::{self, Body};

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of refusal, by what a client can do about it.
    pub kind: Kind,
    /// What is wrong and what to do, for users.
    pub message: String,
    /// When the same request may work.
    pub retry_after: Option<Duration>,
}

/// Kinds of refusals, one per reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is malformed.
    Bad,
    /// The caller is not known.
    Unauthenticated,
    /// The caller is known and may not.
    Forbidden,
    /// There is nothing.
    NotFound,
    /// The connection is for another host.
    Misdirected,
    /// The caller has too many requests under way.
    TooMany,
    /// The other end gave no usable answer.
    BadGateway,
    /// The other end, or something needed to decide, cannot be reached now.
    Unavailable,
    /// The other end did not answer in time.
    Timeout,
    /// The gateway is not set up right.
    Internal,
}

impl Kind {
    /// Status code in HTTP.
    pub const fn code(self) -> StatusCode {
        match self {
            Self::Bad => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Reason as Kubernetes' clients know it (`metav1.StatusReason`).
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Bad => "BadRequest",
            Self::Unauthenticated => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::Misdirected => "MisdirectedRequest",
            Self::TooMany => "TooManyRequests",
            Self::BadGateway => "BadGateway",
            Self::Unavailable => "ServiceUnavailable",
            Self::Timeout => "Timeout",
            Self::Internal => "InternalError",
        }
    }

    /// Code in gRPC.
    pub const fn grpc(self) -> tonic::Code {
        match self {
            Self::Bad | Self::Misdirected => tonic::Code::InvalidArgument,
            Self::Unauthenticated => tonic::Code::Unauthenticated,
            Self::Forbidden => tonic::Code::PermissionDenied,
            Self::NotFound => tonic::Code::Unimplemented,
            Self::TooMany => tonic::Code::ResourceExhausted,
            Self::BadGateway | Self::Unavailable => tonic::Code::Unavailable,
            Self::Timeout => tonic::Code::DeadlineExceeded,
            Self::Internal => tonic::Code::Internal,
        }
    }

    /// Reason in `google.rpc.ErrorInfo`.
    const fn error_info(self) -> &'static str {
        match self {
            Self::Bad => "BAD_REQUEST",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::Misdirected => "MISDIRECTED",
            Self::TooMany => "TOO_MANY_REQUESTS",
            Self::BadGateway => "BAD_GATEWAY",
            Self::Unavailable => "UNAVAILABLE",
            Self::Timeout => "TIMEOUT",
            Self::Internal => "INTERNAL",
        }
    }
}

impl Refusal {
    /// Makes a refusal.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_after: None,
        }
    }

    /// Adds when the same request may work.
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The answer to a Kubernetes client.
    pub fn into_http(self) -> Response<Body> {
        let code = self.kind.code();
        let seconds = self.retry_after.map(|delay| delay.as_secs().max(1));
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.kind.reason(),
            "code": code.as_u16(),
        });
        if let Some(seconds) = seconds {
            status["details"] = json!({ "retryAfterSeconds": seconds });
        }
        let mut response = Response::new(body::full(status.to_string()));
        *response.status_mut() = code;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, private"),
        );
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        if let Some(seconds) = seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind == Kind::Unauthenticated {
            let bearer = HeaderValue::from_static("Bearer realm=\"vcluster\"");
            headers.insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }

    /// The answer to a request of kubectl for what kinds there are: it shows the words of an error there only if they
    /// are plain text, and "unknown" instead of a `Status`.
    pub fn into_text(self) -> Response<Body> {
        let text = body::full(self.message.clone());
        let mut response = self.into_http().map(|_status| text);
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
        response
    }

    /// The answer to a gRPC client: trailers only, never an HTTP error.
    pub fn into_grpc(self) -> Response<Body> {
        let (parts, ()) = tonic::Status::from(self).into_http::<()>().into_parts();
        Response::from_parts(parts, body::empty())
    }
}

impl From<Refusal> for tonic::Status {
    fn from(refusal: Refusal) -> Self {
        let mut details = ErrorDetails::new();
        details.set_error_info(
            refusal.kind.error_info(),
            vcluster_proto::ERROR_DOMAIN,
            std::collections::HashMap::<String, String>::new(),
        );
        if let Some(delay) = refusal.retry_after {
            details.set_retry_info(Some(delay));
        }
        Self::with_error_details(refusal.kind.grpc(), refusal.message, details)
    }
}

/// Whether the answer must be one for gRPC.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// A review that failed, seen by a caller; who is not allowed is told by whoever knows what was asked for.
impl From<access::Error> for Refusal {
    fn from(error: access::Error) -> Self {
        match error {
            access::Error::Unauthenticated { .. } => Self::new(
                Kind::Unauthenticated,
                "the host cluster does not know the bearer token",
            ),
            access::Error::Denied(denied) => Self::new(Kind::Forbidden, denied.to_string()),
            access::Error::Unavailable(cause) => {
                tracing::warn!(error = %cause, "the host API server cannot be asked for access");
                Self::new(
                    Kind::Unavailable,
                    "the host cluster cannot be asked for access now: try again in a moment",
                )
                .retry_after(Duration::from_secs(1))
            }
            access::Error::Misconfigured(cause) => {
                tracing::error!(error = %cause, "the gateway may not ask for access: check its RBAC");
                Self::new(
                    Kind::Internal,
                    "the gateway may not ask the host cluster for access: tell its administrator",
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn kubernetes_clients_get_a_status_object() {
        let refusal = Refusal::new(Kind::TooMany, "slow down").retry_after(Duration::from_secs(3));
        let response = refusal.into_http();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "3");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let status: kube::core::Status = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (status.code, status.reason.as_str()),
            (429, "TooManyRequests")
        );
        assert_eq!(status.message, "slow down");
        assert_eq!(status.details.unwrap().retry_after_seconds, 3);
    }

    #[test]
    fn grpc_clients_get_trailers_with_an_http_success() {
        let response = Refusal::new(Kind::Unauthenticated, "who are you?").into_grpc();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "16");
        assert!(!response.headers().contains_key("www-authenticate"));
        let status = tonic::Status::from_header_map(response.headers()).unwrap();
        assert_eq!(
            status.get_details_error_info().unwrap().reason,
            "UNAUTHENTICATED"
        );
    }

    #[test]
    fn who_is_not_known_is_told_how_to_authenticate() {
        let response = Refusal::new(Kind::Unauthenticated, "who are you?").into_http();
        assert_eq!(
            response.headers()["www-authenticate"],
            "Bearer realm=\"vcluster\""
        );
    }
}
