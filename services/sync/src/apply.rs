//! Requests to both sides, and what their answers mean.
//!
//! One function per kind of request; each has a deadline, and its failure is sorted by what the caller can do about it.
//! Writes take from the tenant's allowance and are counted; every request goes through the gate of its server
//! ([`crate::tenant`]'s `passage`), so that neither a busy nor a broken server is asked for more than it bears. Every
//! delete and patch names a UID, so that it cannot meet a stranger of the same name. Writes to the host go by the
//! tenant's own ServiceAccount.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::ACCEPT;
use http::{HeaderValue, Method, Request};
use kube::Client;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use tracing::Instrument;
use vcluster_translate::Patch;
use vcluster_translate::patch::Subresource;
use vcluster_translate::plan::Delete;
use vcluster_translate::pod::Binding;

use crate::gate::Class;
use crate::guard::{self, Guard};
use crate::object::page::{Listed, Page};
use crate::object::{Kind, Name, Object, Side};
use crate::tenant::Tenant;

mod failure;
mod request;

pub use failure::Failure;
pub(crate) use failure::with_causes;
use failure::{heeding, judge, let_go, unread, unserved};
pub(crate) use request::collection;
use request::{SELECTOR, UNLABELLED, manager, path, request, span};

/// How long one request may take, its answer read.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// How long a write that was begun before its tenant was let go may take from then on. Another replica serves the tenant
/// at the earliest when the Lease of this one has run out, which is longer after the end of its term.
const GRACE: Duration = Duration::from_secs(4);

/// An object that is there, and when we last wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// When; nothing if that was never.
    pub at: Option<jiff::Timestamp>,
}

/// Asks for nothing but an object's metadata.
const METADATA: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
/// The same of a list.
const METADATA_LIST: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");

/// Asks for all groups, versions and kinds in one answer (KEP-3352).
const DISCOVERY: HeaderValue = HeaderValue::from_static(
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
);

impl Tenant {
    /// Reads an object; nothing if it is not there.
    pub async fn read(
        &self,
        side: Side,
        kind: Kind,
        name: &Name,
    ) -> Result<Option<Object>, Failure> {
        let request = request(side, Method::GET, &path(kind, name, None), None, None);
        match self.get::<Object>(side, kind, request).await {
            Ok(object) => Ok(Some(object.of_kind(kind))),
            Err(Failure::Gone) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// When we last wrote the object of a key on one side, as its server tells; nothing if it is not there or was never
    /// written by us. Reads its metadata only.
    pub async fn written(
        &self,
        side: Side,
        kind: Kind,
        name: &Name,
    ) -> Result<Option<Written>, Failure> {
        let request =
            request(side, Method::GET, &path(kind, name, None), None, None).map(|mut request| {
                request.headers_mut().insert(ACCEPT, METADATA);
                request
            });
        match self.get::<Value>(side, kind, request).await {
            Ok(json) => Ok(Some(Written {
                at: last_write(&json, manager(side)),
            })),
            Err(Failure::Gone) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Creates an object, which names itself.
    pub async fn create(&self, side: Side, kind: Kind, object: &Value) -> Result<Object, Failure> {
        let namespace = object
            .pointer("/metadata/namespace")
            .and_then(Value::as_str);
        let collection = collection(kind, namespace.unwrap_or_default());
        let request = request(side, Method::POST, &collection, None, Some(object));
        let write = self
            .write::<Object>(side, request)
            .instrument(span("create", kind, side));
        Ok(write.await?.of_kind(kind))
    }

    /// Patches an object, or a subresource of it.
    pub async fn patch(
        &self,
        side: Side,
        kind: Kind,
        name: &Name,
        patch: &Patch,
    ) -> Result<Object, Failure> {
        let subresource = patch.subresource.map(Subresource::as_str);
        let path = path(kind, name, subresource);
        let media = Some(patch.format.content_type());
        let request = request(side, Method::PATCH, &path, media, Some(&patch.body));
        let write = self
            .write::<Object>(side, request)
            .instrument(span("patch", kind, side));
        match (write.await, subresource) {
            // An older server has no such endpoint, which must not pass for an object that is gone.
            (Err(Failure::Gone), Some(subresource))
                if self.read(side, kind, name).await?.is_some() =>
            {
                Err(unserved(side, kind, subresource))
            }
            (answer, _) => Ok(answer?.of_kind(kind)),
        }
    }

    /// Deletes the object of that UID; returns it if it is still there, because it ends gracefully.
    pub async fn delete(
        &self,
        side: Side,
        kind: Kind,
        name: &Name,
        delete: &Delete,
    ) -> Result<Option<Object>, Failure> {
        let mut options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": delete.uid},
            "propagationPolicy": "Background",
        });
        if let Some(seconds) = delete.grace_seconds {
            options["gracePeriodSeconds"] = seconds.into();
        }
        let path = path(kind, name, None);
        let request = request(side, Method::DELETE, &path, None, Some(&options));
        // The answer is a Status, or the object as it ends.
        let write = self
            .write::<Object>(side, request)
            .instrument(span("delete", kind, side));
        Ok(Some(write.await?)
            .filter(Object::is_deleting)
            .map(|left| left.of_kind(kind)))
    }

    /// Binds a virtual pod to its node.
    pub async fn bind(&self, name: &Name, binding: &Binding) -> Result<(), Failure> {
        let path = path(Kind::Pod, name, Some("binding"));
        let request = request(
            Side::Virtual,
            Method::POST,
            &path,
            None,
            Some(&binding.body),
        );
        let span = span("bind", Kind::Pod, Side::Virtual);
        self.write::<IgnoredAny>(Side::Virtual, request)
            .instrument(span)
            .await
            .map(drop)
    }

    /// Asks the virtual API server for a token of a ServiceAccount.
    pub async fn request_token(&self, account: &Name, body: &Value) -> Result<Value, Failure> {
        let path = format!(
            "/api/v1/namespaces/{}/serviceaccounts/{}/token",
            account.namespace, account.name
        );
        let request = request(Side::Virtual, Method::POST, &path, None, Some(body));
        self.write(Side::Virtual, request).await
    }

    /// The virtual cluster's namespace `kube-system`, in a list that tells the version of the store as well.
    pub async fn list_store(&self) -> Result<Value, Failure> {
        let only = "fieldSelector=metadata.name%3Dkube-system";
        let path = format!("{}?{only}", collection(Kind::Namespace, ""));
        let request = request(Side::Virtual, Method::GET, &path, None, None);
        self.send(Side::Virtual, request).await
    }

    /// Everything that the virtual API server says of the kinds that it serves, at `/api` or `/apis`.
    pub async fn discover(&self, root: &str) -> Result<Value, Failure> {
        let request = request(Side::Virtual, Method::GET, root, None, None).map(|mut request| {
            request.headers_mut().insert(ACCEPT, DISCOVERY);
            request
        });
        self.send(Side::Virtual, request).await
    }

    /// Lists host objects of ours, one page at a time; returns the page and where the next begins. Of a kind that is
    /// shown inside, all that are in the host namespace. Of those that are known nothing but their metadata is read.
    pub async fn list_page(
        &self,
        kind: Kind,
        continue_at: Option<&str>,
        is_known: &(dyn Fn(&Object) -> bool + Sync),
    ) -> Result<(Vec<Listed>, Option<String>), Failure> {
        let selector = (!kind.is_shown()).then_some(SELECTOR);
        self.page(kind, selector, continue_at, is_known).await
    }

    /// The same of what lacks the label by which ours are found, of which nothing but the metadata is read.
    pub async fn list_unlabelled_page(
        &self,
        kind: Kind,
        continue_at: Option<&str>,
    ) -> Result<(Vec<Listed>, Option<String>), Failure> {
        self.page(kind, Some(UNLABELLED), continue_at, &|_| true)
            .await
    }

    async fn page(
        &self,
        kind: Kind,
        selector: Option<&str>,
        continue_at: Option<&str>,
        is_known: &(dyn Fn(&Object) -> bool + Sync),
    ) -> Result<(Vec<Listed>, Option<String>), Failure> {
        // ConfigMaps and Secrets may have a megabyte each.
        let page = if kind.description().confidential {
            20
        } else {
            250
        };
        let mut path = format!(
            "{}?limit={page}",
            collection(kind, self.context.host_namespace.as_str()),
        );
        if let Some(selector) = selector {
            path.push_str("&labelSelector=");
            path.push_str(selector);
        }
        if let Some(token) = continue_at {
            // A continue token is base64url: it needs no escape.
            path.push_str("&continue=");
            path.push_str(token);
        }
        let request = request(Side::Host, Method::GET, &path, None, None).map(|mut request| {
            if selector == Some(UNLABELLED) {
                request.headers_mut().insert(ACCEPT, METADATA_LIST);
            }
            request
        });
        let text = self
            .exchange(Side::Host, request, kind.custom().is_none())
            .await?;
        let page = Page::read(&text, is_known).map_err(unread)?;
        // Without items it is no list: an empty one would say that everything is gone.
        let Some(items) = page.items else {
            return Err(Failure::Later {
                message: format!("the answer to a list of {} has no items", kind.plural()),
                after: None,
                reached: true,
            });
        };
        Ok((items, page.next))
    }

    /// Waits for the tenant's turn to write.
    pub(crate) async fn allowed(&self, side: Side) {
        let allowance = match side {
            Side::Virtual => &self.virtual_writes,
            Side::Host => &self.host_writes,
        };
        let _aside = self.work.aside();
        if allowance.take().await {
            self.metrics.throttled(side);
        }
    }

    /// Counts a write.
    pub(crate) fn wrote(&self, side: Side) {
        let tally = match side {
            Side::Virtual => &self.tally.virtual_writes,
            Side::Host => &self.tally.host_writes,
        };
        tally.fetch_add(1, Ordering::Relaxed);
        self.metrics.wrote(side);
    }

    async fn write<T: DeserializeOwned>(
        &self,
        side: Side,
        request: http::Result<Request<Vec<u8>>>,
    ) -> Result<T, Failure> {
        self.allowed(side).await;
        let given_up = async {
            self.token.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        let written = async {
            if !guard::passes(Guard::LetGoIsLeft, !self.token.is_cancelled()) {
                return Err(let_go());
            }
            self.wrote(side);
            self.send(side, request).await
        };
        tokio::select! {
            biased;
            answer = written => answer,
            () = given_up => Err(let_go()),
        }
    }

    /// Sends a read. A right to a custom kind is given and taken by itself: it says nothing of the others.
    async fn get<T: DeserializeOwned>(
        &self,
        side: Side,
        kind: Kind,
        request: http::Result<Request<Vec<u8>>>,
    ) -> Result<T, Failure> {
        let text = self
            .exchange(side, request, kind.custom().is_none())
            .await?;
        serde_json::from_str(&text).map_err(unread)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        side: Side,
        request: http::Result<Request<Vec<u8>>>,
    ) -> Result<T, Failure> {
        let text = self.exchange(side, request, true).await?;
        serde_json::from_str(&text).map_err(unread)
    }

    /// Sends a request and returns the text of the answer. Who reads that must not log it, as kube would if it is not
    /// as expected: it may be a Secret.
    async fn exchange(
        &self,
        side: Side,
        request: http::Result<Request<Vec<u8>>>,
        tells_of_rights: bool,
    ) -> Result<String, Failure> {
        let client: &Client = match side {
            Side::Virtual => &self.clients.virtual_.request,
            Side::Host => &self.clients.host.0,
        };
        let request = request.map_err(|error| Failure::Refused {
            code: 0,
            message: error.to_string(),
        })?;
        let is_read = request.method() == Method::GET;
        let class = Class::of(&request);
        // What is its own tenant's takes nobody else's place.
        let _aside = (side == Side::Virtual).then(|| self.work.aside());
        let pass = self.pass(side).await?;
        let answer = self
            .timed(pass, side, class, client.request_text(request))
            .await;
        if let (Side::Host, Ok(answer), true) = (side, &answer, tells_of_rights) {
            self.note_right(answer, is_read);
        }
        let failure = match answer {
            Ok(Ok(text)) => return Ok(text),
            Ok(Err(error)) => heeding(judge(&error), self.quiet(side)),
            Err(_elapsed) => Failure::Later {
                message: format!("no answer within {DEADLINE:?}"),
                after: None,
                reached: false,
            },
        };
        if side == Side::Virtual && matches!(failure, Failure::Later { reached: false, .. }) {
            self.link.suspect();
        }
        Err(failure)
    }
}

/// The last time that a field manager wrote an object.
fn last_write(object: &Value, manager: &str) -> Option<jiff::Timestamp> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let ours = entries.iter().filter(|entry| entry["manager"] == manager);
    ours.filter_map(|entry| entry["time"].as_str()?.parse().ok())
        .max()
}
