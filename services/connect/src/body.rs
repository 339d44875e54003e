//! The one body type of the gateway: streamed, never collected.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};

/// An error of a body that is being relayed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A streamed body, of a request or an answer.
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
