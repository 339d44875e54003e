//! The deadline of a request as a whole, its answer read.
//!
//! The pool's own deadline ends with the headers of an answer: a body that never comes would hold its reader for ever.
//! Requests of single objects by [`apply`](crate::apply) have theirs there.

use std::time::Duration;

/// How long a request for one small object may take.
pub(crate) const REQUEST: Duration = Duration::from_secs(15);

/// There was no answer in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
pub(crate) struct Elapsed(pub(crate) Duration);

/// What the request answers, or [`Elapsed`] as a [`kube::Error::Service`].
pub(crate) async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, kube::Error> {
    let answer = tokio::time::timeout(limit, request).await;
    answer.unwrap_or_else(|_elapsed| Err(kube::Error::Service(Box::new(Elapsed(limit)))))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use kube::client::Body;

    use super::*;
    use crate::apply::with_causes;

    /// A server that begins each answer and never ends it.
    pub(crate) fn stalling() -> kube::Client {
        let answer = |_request: Request<Body>| async {
            let never =
                futures::stream::pending::<Result<http_body::Frame<bytes::Bytes>, Infallible>>();
            Ok::<_, Infallible>(Response::new(http_body_util::StreamBody::new(never)))
        };
        kube::Client::new(tower::service_fn(answer), "default")
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_begins_and_does_not_end_is_given_up_in_words() {
        let request = Request::get("/version").body(Vec::new()).unwrap();
        let client = stalling();
        let asked = within(REQUEST, client.request::<serde_json::Value>(request)).await;
        let said = with_causes(&asked.unwrap_err());
        assert!(said.contains("no answer within 15s"), "{said}");
    }
}
