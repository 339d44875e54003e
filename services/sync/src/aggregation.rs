//! The APIService by which a virtual API server leads requests for `metrics.k8s.io` to sync.
//!
//! An APIService that does not answer breaks discovery, and with it the deletion of namespaces. So this one is there
//! only while the host serves metrics and the virtual API server gets through to sync. It is not guarded as
//! other objects of sync are: a tenant with a metrics server of its own points it there, and sync steps aside.
//!
//! | found inside | the host serves metrics | it does not |
//! |---|---|---|
//! | nothing | made | nothing |
//! | ours | kept as it should be; taken away if it stays unavailable | taken away |
//! | another's | left, and said once | left |

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};
use tokio::time::Instant;
use vcluster_resources::label::CLUSTER_UID;
use vcluster_resources::layout::{METRICS_PORT, METRICS_SERVICE};
use vcluster_resources::ownership::SYNC_FROM_HOST;
use vcluster_translate::resource_metrics::GROUP_VERSION;

use crate::apply::with_causes;
use crate::deadline::{REQUEST, within};
use crate::engine::Engine;
use crate::provision::{Kept, holds, send};
use crate::tenant::{About, Tenant};
use crate::tenants::platform_authority;

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_secs(30);
/// How long it may stay unavailable.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long it stays away after it was taken away for being unavailable.
const AWAY: Duration = Duration::from_mins(15);

const COLLECTION: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const NAME: &str = "v1beta1.metrics.k8s.io";

/// The APIService, for an authority (PEM) that vouches for sync.
fn api_service(authority: &str, cluster_uid: &str) -> Value {
    let (namespace, name) = METRICS_SERVICE;
    json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {
            "name": NAME,
            "annotations": {CLUSTER_UID: cluster_uid},
        },
        "spec": {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": false,
            "caBundle": STANDARD.encode(authority),
            "service": {"namespace": namespace, "name": name, "port": METRICS_PORT},
        },
    })
}

/// The Service that leads to sync, and who may read metrics: kept with everything else inside.
pub(crate) fn kept(sync_host: &str) -> [Kept; 2] {
    let (namespace, name) = METRICS_SERVICE;
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        // An aggregator takes the name as it is, and resolves it where it runs: on the host.
        "spec": {"type": "ExternalName", "externalName": sync_host},
    });
    let aggregate = |role: &str| format!("rbac.authorization.k8s.io/aggregate-to-{role}");
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {
            "name": "system:vcluster:metrics-reader",
            "labels": {aggregate("admin"): "true", aggregate("edit"): "true", aggregate("view"): "true"},
        },
        "rules": [{
            "apiGroups": ["metrics.k8s.io"], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"],
        }],
    });
    [
        Kept::new("/api/v1/namespaces/kube-system/services", service),
        Kept::new("/apis/rbac.authorization.k8s.io/v1/clusterroles", role),
    ]
}

/// Whether the host serves metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Serves {
    Yes,
    No,
    /// It cannot be asked, or its metrics server is in trouble: what is there stays.
    Unknown,
}

/// What is to be done about it.
#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    Create,
    Patch(Value),
    /// Deletes it, by its UID.
    Remove(String),
    /// It is another's.
    Aside,
}

fn step(wanted: &Value, found: Option<&Value>, serves: Serves) -> Step {
    match (found, serves) {
        (None, Serves::Yes) => Step::Create,
        (None, Serves::No | Serves::Unknown) => Step::Nothing,
        (Some(found), _) if !is_ours(wanted, found) => Step::Aside,
        (Some(found), Serves::No) => Step::Remove(uid(found)),
        (Some(found), Serves::Yes | Serves::Unknown) => {
            if holds(found, wanted) {
                return Step::Nothing;
            }
            let mut patch = wanted.clone();
            patch["metadata"]["uid"] = uid(found).into();
            Step::Patch(patch)
        }
    }
}

fn uid(found: &Value) -> String {
    let uid = found.pointer("/metadata/uid").and_then(Value::as_str);
    uid.unwrap_or_default().to_owned()
}

/// Whoever points it elsewhere makes it his.
fn is_ours(wanted: &Value, found: &Value) -> bool {
    let annotation = |object: &Value| {
        let all = object.pointer("/metadata/annotations");
        all.and_then(|all| all.get(CLUSTER_UID)).cloned()
    };
    let leads = |object: &Value| {
        let part = |key: &str| object.pointer(&format!("/spec/service/{key}")).cloned();
        (part("namespace"), part("name"))
    };
    annotation(wanted) == annotation(found) && leads(wanted) == leads(found)
}

/// Why it is unavailable, if its virtual API server says so.
fn unavailable(found: &Value) -> Option<&str> {
    let conditions = found
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let said = conditions.into_iter().flatten().find(|condition| {
        condition.get("type") == Some(&json!("Available"))
            && condition.get("status") == Some(&json!("False"))
    })?;
    let message = said.get("message").and_then(Value::as_str);
    Some(message.unwrap_or("it does not say why"))
}

/// What is remembered between two looks.
#[derive(Debug, Default)]
struct Memory {
    /// Since when it is unavailable.
    unavailable: Option<Instant>,
    /// Until when it stays away.
    away: Option<Instant>,
    /// The authority that vouches for sync, PEM.
    authority: Option<String>,
    said: bool,
}

impl Memory {
    /// Whether it is to stay away because its virtual API server does not get through to sync; `why` is what that
    /// says of it now.
    fn is_given_up(&mut self, tenant: &Tenant, why: Option<&str>) -> bool {
        let now = Instant::now();
        if self.away.is_some_and(|until| now < until) {
            return true;
        }
        let Some(why) = why else {
            self.unavailable = None;
            return false;
        };
        let since = *self.unavailable.get_or_insert(now);
        if now - since < PATIENCE {
            return false;
        }
        tracing::warn!(
            tenant = %tenant.id,
            why,
            "the virtual API server does not get through to sync for metrics: its APIService is taken away"
        );
        self.away = Some(now + AWAY);
        self.unavailable = None;
        true
    }

    /// The authority that vouches for sync, read anew where it may have changed.
    async fn authority(&mut self, tenant: &Tenant, own: &Client) -> Result<&str, String> {
        if self.authority.is_none() || self.unavailable.is_some() {
            let read = platform_authority(own, &tenant.id.namespace).await;
            self.authority = read.map_err(|error| with_causes(&error))?;
        }
        let older = || "control has not said who vouches for sync: it is older".to_owned();
        self.authority.as_deref().ok_or_else(older)
    }
}

/// Keeps it as it should be until the tenant's token is cancelled.
pub async fn keep(engine: Arc<Engine>, tenant: Arc<Tenant>) {
    let token = tenant.token.clone();
    let kept = async {
        let mut memory = Memory::default();
        loop {
            // Not before the Service that it names.
            if tenant.noted(About::Provision).is_none()
                && let Err(failure) = look(&engine, &tenant, &mut memory).await
            {
                tracing::debug!(tenant = %tenant.id, failure, "the APIService of metrics cannot be kept");
            }
            let pause = if tenant.noted(About::Provision).is_none() {
                INTERVAL
            } else {
                Duration::from_secs(1)
            };
            tokio::time::sleep(pause).await;
        }
    };
    token.run_until_cancelled(kept).await;
}

async fn look(engine: &Engine, tenant: &Tenant, memory: &mut Memory) -> Result<(), String> {
    let own = &engine.host.own.request;
    let authority = memory.authority(tenant, own).await?;
    let wanted = api_service(authority, &tenant.context.cluster_uid);
    let path = format!("{COLLECTION}/{NAME}");
    let found = match send(tenant, Method::GET, &path, None).await {
        Ok(found) => Some(found),
        Err(kube::Error::Api(status)) if status.code == 404 => None,
        Err(error) => return Err(with_causes(&error)),
    };
    let ours = found.as_ref().filter(|found| is_ours(&wanted, found));
    let serves = if memory.is_given_up(tenant, ours.and_then(unavailable)) {
        Serves::No
    } else {
        serves(tenant).await
    };
    let step = step(&wanted, found.as_ref(), serves);
    if let (Step::Aside, Some(found)) = (&step, &found) {
        memory.said = memory.said || say_aside(engine, tenant, found).await;
        return Ok(());
    }
    memory.said = false;
    carry_out(tenant, &wanted, step).await
}

async fn carry_out(tenant: &Tenant, wanted: &Value, step: Step) -> Result<(), String> {
    let by = format!("?fieldManager={SYNC_FROM_HOST}");
    let (method, path, body) = match step {
        Step::Nothing | Step::Aside => return Ok(()),
        Step::Create => (Method::POST, format!("{COLLECTION}{by}"), wanted.clone()),
        Step::Patch(patch) => (Method::PATCH, format!("{COLLECTION}/{NAME}{by}"), patch),
        Step::Remove(uid) => {
            let options =
                json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}});
            (Method::DELETE, format!("{COLLECTION}/{NAME}"), options)
        }
    };
    let done = send(tenant, method, &path, Some(&body)).await;
    done.map(drop).map_err(|error| with_causes(&error))
}

/// Says inside, by an Event, that the host's metrics are not used; tells whether that is said.
async fn say_aside(engine: &Engine, tenant: &Tenant, found: &Value) -> bool {
    tracing::info!(
        tenant = %tenant.id,
        "the virtual cluster has a metrics server of its own: the host's metrics are not used"
    );
    let of = ("apiregistration.k8s.io/v1".to_owned(), "APIService");
    let message = "this APIService leads elsewhere than to the host's metrics, which are not used therefore; \
                   delete it to have them back";
    tenant
        .tell_of(engine, of, found, "HostMetricsNotUsed", message)
        .await
}

/// Asks the host, as the tenant, for as little as can be.
async fn serves(tenant: &Tenant) -> Serves {
    let namespace = &tenant.id.namespace;
    let path = format!("/apis/{GROUP_VERSION}/namespaces/{namespace}/pods?limit=1");
    let Ok(request) = Request::get(path).body(Vec::new()) else {
        return Serves::No;
    };
    let asked = tenant.clients.host.0.request::<Value>(request);
    match within(REQUEST, asked).await {
        Ok(_) => Serves::Yes,
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {
            tracing::trace!(tenant = %tenant.id, message = status.message, "the host serves no metrics");
            Serves::No
        }
        Err(_) => Serves::Unknown,
    }
}

#[cfg(test)]
mod tests;
