//! Requests to the host for one Service, as the tenant's own ServiceAccount.

use http::{Method, Request};
use serde_json::{Value, json};
use vcluster_resources::ownership::SYNC_TO_HOST;
use vcluster_translate::{Patch, name, service::admission::told};

use super::review::Denied;
use super::share::Share;
use crate::directory::Known;

/// Why the host did not do it.
#[derive(Debug)]
pub(super) enum Failure {
    /// A Service of that name is there.
    Exists,
    /// It is not there, or is another one now.
    Gone,
    /// It will not.
    Denied(Denied),
}

/// The host Services of one tenant, about one virtual Service.
#[derive(Debug)]
pub(super) struct Host<'a> {
    pub(super) tenant: &'a Known,
    pub(super) share: &'a Share,
    /// The virtual Service, with its name.
    pub(super) object: &'a Value,
}

impl Host<'_> {
    /// Makes a host Service.
    pub(super) async fn create(&self, host: &Value) -> Result<Value, Failure> {
        self.send(Method::POST, "", "", Some(("application/json", host)))
            .await
    }

    /// The host Service of that name, whosever it is.
    pub(super) async fn read(&self) -> Result<Option<Value>, Denied> {
        match self.send(Method::GET, &self.name(), "", None).await {
            Ok(found) => Ok(Some(found)),
            Err(Failure::Gone | Failure::Exists) => Ok(None),
            Err(Failure::Denied(denied)) => Err(denied),
        }
    }

    /// Changes it, or only asks whether the host would.
    pub(super) async fn patch(&self, patch: &Patch, dry_run: bool) -> Result<Value, Failure> {
        let dry_run = if dry_run { "&dryRun=All" } else { "" };
        let body = Some((patch.format.content_type(), &patch.body));
        self.send(Method::PATCH, &self.name(), dry_run, body).await
    }

    fn name(&self) -> String {
        let text = |key: &str| {
            let text = self
                .object
                .pointer("/metadata")
                .and_then(|all| all.get(key)?.as_str());
            text.unwrap_or_default()
        };
        name::of_service(text("namespace"), text("name"), &self.tenant.context)
    }

    async fn send(
        &self,
        method: Method,
        name: &str,
        query: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Value, Failure> {
        let namespace = self.tenant.context.host_namespace.as_str();
        let mut uri = format!("/api/v1/namespaces/{namespace}/services");
        if !name.is_empty() {
            uri = format!("{uri}/{name}");
        }
        if method != Method::GET {
            self.share.write().map_err(Failure::Denied)?;
            uri = format!("{uri}?fieldManager={SYNC_TO_HOST}{query}");
        }
        let mut request = Request::builder().method(method).uri(uri);
        let mut content = Vec::new();
        if let Some((media, body)) = body {
            request = request.header(http::header::CONTENT_TYPE, media);
            content = body.to_string().into_bytes();
        }
        let request = request.body(content).map_err(|error| {
            Failure::Denied(Denied::new(500, "InternalError", error.to_string()))
        })?;
        let answer = self.tenant.host.0.request::<Value>(request).await;
        answer.map_err(|error| self.judge(&error))
    }

    fn judge(&self, error: &kube::Error) -> Failure {
        let kube::Error::Api(status) = error else {
            let message = crate::apply::with_causes(error);
            let message = format!("the host cluster cannot be reached, try again: {message}");
            return Failure::Denied(Denied::unavailable(message));
        };
        let answer = serde_json::to_value(status.as_ref()).unwrap_or_default();
        match (status.code, status.reason.as_str()) {
            (409, "AlreadyExists") => return Failure::Exists,
            (404, _) => return Failure::Gone,
            _ if vcluster_translate::patch::is_for_another_object(&answer) => return Failure::Gone,
            _ => {}
        }
        let told = |message: &str| told(message, self.object, &self.tenant.context);
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let causes = causes.map(|cause| {
            json!({"reason": cause.reason, "field": cause.field, "message": told(&cause.message)})
        });
        let mut denied = Denied::new(
            status.code,
            &status.reason,
            format!("refused by the host cluster: {}", told(&status.message)),
        );
        denied.causes = causes.collect();
        if matches!(status.code, 401 | 500..) {
            // Nothing that the tenant could change.
            denied.code = 503;
            "ServiceUnavailable".clone_into(&mut denied.reason);
        }
        Failure::Denied(denied)
    }
}
