//! Logs: the host's `pods/log`, as it comes.

use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use vcluster_translate::reach::Asked;

use super::answer::{self, MOST, Refused};
use super::record::{self, Record};
use super::{Admitted, query};
use crate::apply::with_causes;
use crate::reply::{self, Body, Kind, Refusal};

/// How long the host may take to say why there are none.
const REFUSAL: Duration = Duration::from_secs(10);

/// Serves the logs of a container. A followed log ends with the container, or when its client goes.
pub(super) async fn serve(
    admitted: Admitted,
    asked: &Asked,
    query: Option<&str>,
    record: Record,
) -> Response<Body> {
    let Admitted {
        access,
        pods,
        permit,
    } = admitted;
    let container = asked.container.as_deref().unwrap_or_default();
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}/log?{}",
        access.tenant.namespace,
        pods.host_name,
        query::logs(query.unwrap_or_default(), container)
    );
    let sent = match Request::get(path).body(kube::client::Body::empty()) {
        Ok(request) => access.streams.send(request).await,
        Err(_malformed) => {
            let refusal = Refusal::new(Kind::Bad, "the query is malformed");
            return record::refused(answer::text(refusal), record);
        }
    };
    let response = match sent {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!(tenant = %access.tenant, error = with_causes(&error), "logs cannot be had");
            let refusal = Refusal::new(Kind::Unavailable, "the host's API server gave no logs");
            return record::refused(answer::text(refusal), record);
        }
    };
    let (head, body) = response.into_parts();
    if !head.status.is_success() {
        let said = tokio::time::timeout(REFUSAL, Limited::new(body, MOST).collect()).await;
        let said = said.ok().and_then(Result::ok);
        let said = said
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        let refused = Refused::read(head.status, &said, asked, &pods);
        return record::refused(refused.into_text(), record);
    }
    let body = body.map_err(reply::BoxError::from).boxed_unsync();
    let mut response = record::streamed(reply::hold(body, permit), record);
    let kind = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
