//! Is anything but this virtual cluster in its host namespace?
//!
//! Asked before control removes a namespace that it made. Every namespaced kind that the host's API
//! serves is listed; one that cannot be listed is a reason to keep the namespace, because what
//! cannot be seen may be somebody's.

use futures::StreamExt as _;
use kube::api::{ApiResource, ListParams, ObjectMeta};
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Api, Client};
use vcluster_resources::{label, layout};

use crate::observe::doubt;
use crate::observed::Contents;
use crate::observed::Doubt;
use crate::subject::Subject;

/// Lists that run at once.
const CONCURRENCY: usize = 8;
/// Objects in one answer.
const PAGE: u32 = 100;
/// Answers that are read of one kind; a namespace with more is in use.
const PAGES: usize = 20;

/// What one object means for the namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Kubernetes puts it into every namespace, or it says nothing.
    Nothing,
    /// It is on its way out.
    Leaving,
    /// Somebody's.
    Somebodys,
}

/// Looks at everything in the host namespace.
pub async fn survey(client: &Client, subject: &Subject) -> Contents {
    let discovery = match Discovery::new(client.clone()).run().await {
        Ok(discovery) => discovery,
        Err(error) => {
            return Contents::Unsure(format!(
                "what kinds of objects the host cluster has cannot be found out: {}",
                why(&error)
            ));
        }
    };
    let kinds: Vec<ApiResource> = discovery
        .groups()
        // Not only those of a group's preferred version: a kind may exist in another one alone.
        .flat_map(kube::discovery::ApiGroup::resources_by_stability)
        .filter(|(_, capabilities)| {
            capabilities.scope == Scope::Namespaced && capabilities.supports_operation(verbs::LIST)
        })
        .map(|(resource, _)| resource)
        .filter(|resource| !says_nothing(resource))
        .collect();
    let answers: Vec<Contents> = futures::stream::iter(kinds)
        .map(|kind| look(client, kind, subject))
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await;
    answers.into_iter().fold(Contents::Empty, graver)
}

/// Events outlive what they tell of, and metrics are made up when they are asked for.
fn says_nothing(resource: &ApiResource) -> bool {
    resource.kind == "Event" || resource.group == "metrics.k8s.io"
}

async fn look(client: &Client, kind: ApiResource, subject: &Subject) -> Contents {
    let api: Api<kube::api::DynamicObject> =
        Api::namespaced_with(client.clone(), subject.namespace().as_str(), &kind);
    let mut contents = Contents::Empty;
    let mut params = ListParams::default().limit(PAGE);
    for _ in 0..PAGES {
        let list = match api.list_metadata(&params).await {
            Ok(list) => list,
            // Known to discovery and not there: it has just been removed.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 405) => return contents,
            Err(error) => {
                let text = format!("{} cannot be listed: {}", full_name(&kind), why(&error));
                return graver(contents, Contents::Unsure(text));
            }
        };
        for object in &list.items {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            let named = || format!("{} {name}", kind.kind);
            contents = graver(
                contents,
                match meaning(&kind, &object.metadata, subject) {
                    Meaning::Nothing => Contents::Empty,
                    Meaning::Leaving => Contents::Leaving(named()),
                    Meaning::Somebodys => Contents::Occupied(format!("it holds {}", named())),
                },
            );
        }
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return contents,
        }
    }
    graver(
        contents,
        Contents::Occupied(format!("it holds many {}", kind.plural)),
    )
}

fn meaning(kind: &ApiResource, metadata: &ObjectMeta, subject: &Subject) -> Meaning {
    let name = metadata.name.as_deref().unwrap_or_default();
    let own_label = |map: Option<&std::collections::BTreeMap<String, String>>| {
        map.and_then(|map| map.get(label::CLUSTER_UID))
            .is_some_and(|uid| uid == subject.uid())
    };
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "ConfigMap") if name == "kube-root-ca.crt" => Meaning::Nothing,
        ("", "ServiceAccount") if name == "default" => Meaning::Nothing,
        ("vcluster.dev", "VirtualCluster") if metadata.uid.as_deref() == Some(subject.uid()) => {
            Meaning::Nothing
        }
        _ if metadata.deletion_timestamp.is_some() => Meaning::Leaving,
        // What control sees the others by; it goes with the cluster or with the namespace.
        (_, "RoleBinding")
            if name == layout::TENANT_BINDING && own_label(metadata.labels.as_ref()) =>
        {
            Meaning::Nothing
        }
        // Kept on purpose: whatever else of ours had to go is gone by now.
        ("", "PersistentVolumeClaim") => Meaning::Somebodys,
        // What Kubernetes derives from our objects bears their labels and follows them.
        _ if own_label(metadata.labels.as_ref()) => Meaning::Leaving,
        _ => Meaning::Somebodys,
    }
}

/// The one that says more against removing the namespace.
fn graver(one: Contents, other: Contents) -> Contents {
    const fn weight(contents: &Contents) -> u8 {
        match contents {
            Contents::Empty => 0,
            Contents::Leaving(_) => 1,
            Contents::Unsure(_) => 2,
            Contents::Occupied(_) => 3,
        }
    }
    if weight(&other) > weight(&one) {
        other
    } else {
        one
    }
}

fn full_name(kind: &ApiResource) -> String {
    if kind.group.is_empty() {
        kind.plural.clone()
    } else {
        format!("{}.{}", kind.plural, kind.group)
    }
}

fn why(error: &kube::Error) -> String {
    match doubt(error) {
        Doubt::Forbidden => "control may not".to_owned(),
        Doubt::Failed(text) => text,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::GroupVersionKind;
    use serde_json::{Value, json};

    use super::*;

    fn of(group: &str, kind: &str, metadata: Value) -> Meaning {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
        meaning(
            &kind,
            &serde_json::from_value(metadata).unwrap(),
            &Subject::sample(),
        )
    }

    #[test]
    fn what_kubernetes_puts_into_every_namespace_means_nothing() {
        assert_eq!(
            of("", "ConfigMap", json!({ "name": "kube-root-ca.crt" })),
            Meaning::Nothing
        );
        assert_eq!(
            of("", "ServiceAccount", json!({ "name": "default" })),
            Meaning::Nothing
        );
        let own = json!({ "name": "demo", "uid": Subject::sample().uid() });
        assert_eq!(of("vcluster.dev", "VirtualCluster", own), Meaning::Nothing);
    }

    #[test]
    fn everything_else_is_somebodys() {
        assert_eq!(
            of("", "ConfigMap", json!({ "name": "default" })),
            Meaning::Somebodys
        );
        assert_eq!(of("", "Pod", json!({ "name": "web" })), Meaning::Somebodys);
        let other = json!({ "name": "other", "uid": "another" });
        assert_eq!(
            of("vcluster.dev", "VirtualCluster", other),
            Meaning::Somebodys
        );
    }

    #[test]
    fn what_follows_our_objects_is_leaving_and_a_kept_claim_is_not() {
        let labels = json!({ (label::CLUSTER_UID): Subject::sample().uid() });
        let slice = json!({ "name": "demo-x", "labels": labels });
        assert_eq!(
            of("discovery.k8s.io", "EndpointSlice", slice.clone()),
            Meaning::Leaving
        );
        assert_eq!(of("", "PersistentVolumeClaim", slice), Meaning::Somebodys);
        let gone = json!({ "name": "x", "deletionTimestamp": "2026-01-01T00:00:00Z" });
        assert_eq!(of("", "PersistentVolumeClaim", gone), Meaning::Leaving);
    }

    #[test]
    fn one_thing_of_somebodys_outweighs_all_else() {
        let occupied = Contents::Occupied("x".to_owned());
        assert_eq!(
            graver(Contents::Unsure("y".to_owned()), occupied.clone()),
            occupied
        );
        assert_eq!(graver(occupied.clone(), Contents::Empty), occupied);
    }
}
