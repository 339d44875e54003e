//! Volumes: what each source becomes.

use serde_json::{Map, Value, json};

use super::{
    downward,
    scope::{ReferenceKind, Scope, Token},
    security,
};
use crate::{
    HostAccess, Refusal,
    json::{array, is_set, text},
    name,
};

/// Life of a token if the pod does not say; the API server's own default.
const TOKEN_SECONDS: i64 = 3600;

/// Rewrites one volume at `field`.
pub(super) fn rewrite(volume: &mut Value, field: &str, scope: &mut Scope<'_>) {
    let name = text(volume, "/name").unwrap_or_default().to_owned();
    let Some(volume) = volume.as_object_mut() else {
        return scope.refuse(Refusal::invalid(field, "must be an object"));
    };
    own_claim(volume, &name, scope);
    for (kind, source) in volume.iter_mut().filter(|(kind, _)| *kind != "name") {
        if !source.is_null() {
            rewrite_source(kind, source, &name, &format!("{field}.{kind}"), scope);
        }
    }
}

/// A generic ephemeral volume's claim is made inside, by the virtual cluster's own controller: the
/// host must find an ordinary claim, and not make a second one.
fn own_claim(volume: &mut Map<String, Value>, name: &str, scope: &Scope<'_>) {
    if volume
        .remove("ephemeral")
        .is_some_and(|source| !source.is_null())
    {
        let claim = ephemeral_claim(&scope.owner.name, name);
        volume.insert(
            "persistentVolumeClaim".to_owned(),
            json!({ "claimName": claim }),
        );
    }
}

/// Name of the claim of a generic ephemeral volume.
fn ephemeral_claim(pod: &str, volume: &str) -> String {
    format!("{pod}-{volume}")
}

/// Names of the claims of the pod's generic ephemeral volumes. The pod must not start with one that
/// was not made for it: see [`is_of_pod`](crate::persistent_volume_claim::is_of_pod).
pub fn ephemeral_claims(pod: &Value) -> Vec<String> {
    let name = text(pod, "/metadata/name").unwrap_or_default();
    array(pod, "/spec/volumes")
        .iter()
        .filter(|volume| is_set(volume, "/ephemeral"))
        .map(|volume| ephemeral_claim(name, text(volume, "/name").unwrap_or_default()))
        .collect()
}

fn rewrite_source(
    kind: &str,
    source: &mut Value,
    volume: &str,
    field: &str,
    scope: &mut Scope<'_>,
) {
    match kind {
        // Nothing outside the pod and its images.
        "emptyDir" | "image" => {}
        "configMap" => scope.refer(ReferenceKind::ConfigMap, source, "name"),
        "secret" => scope.refer(ReferenceKind::Secret, source, "secretName"),
        "downwardAPI" => downward_items(source, field, scope),
        "projected" => projected(source, volume, field, scope),
        "hostPath" | "nfs" if scope.context.host_access == HostAccess::Granted => {}
        "hostPath" => scope.refuse(security::refusal(
            field,
            "shows files of the host's node",
            "use emptyDir",
        )),
        "nfs" => scope.refuse(security::refusal(
            field,
            "is reached from the address of the host's node",
            "use a PersistentVolumeClaim",
        )),
        "persistentVolumeClaim" => {
            scope.refer(ReferenceKind::PersistentVolumeClaim, source, "claimName");
        }
        "csi" => scope.refuse(Refusal::not_supported(
            field,
            "inline CSI volumes are not translated to the host yet; use a PersistentVolumeClaim",
        )),
        // Storage reached with the rights or from the address of the host's node: whoever may name
        // it, may name a neighbour's.
        "awsElasticBlockStore"
        | "azureDisk"
        | "azureFile"
        | "cephfs"
        | "cinder"
        | "fc"
        | "flexVolume"
        | "flocker"
        | "gcePersistentDisk"
        | "gitRepo"
        | "glusterfs"
        | "iscsi"
        | "photonPersistentDisk"
        | "portworxVolume"
        | "quobyte"
        | "rbd"
        | "scaleIO"
        | "storageos"
        | "vsphereVolume" => scope.refuse(Refusal::host_access(
            field,
            "is reached with the rights of the host's node, which virtual clusters may not use; \
             allowed are configMap, downwardAPI, emptyDir, ephemeral, image, \
             persistentVolumeClaim, projected and secret",
        )),
        _ => scope.refuse(Refusal::not_supported(
            field,
            "this kind of volume is not known here; allowed are configMap, downwardAPI, emptyDir, \
             ephemeral, image, persistentVolumeClaim, projected and secret",
        )),
    }
}

fn downward_items(source: &mut Value, field: &str, scope: &mut Scope<'_>) {
    let items = source.get_mut("items").and_then(Value::as_array_mut);
    for (index, item) in items.into_iter().flatten().enumerate() {
        if let Some(field_ref) = item.get_mut("fieldRef") {
            let field = format!("{field}.items[{index}].fieldRef");
            downward::redirect(field_ref, &field, scope);
        }
    }
}

fn projected(source: &mut Value, volume: &str, field: &str, scope: &mut Scope<'_>) {
    let sources = source.get_mut("sources").and_then(Value::as_array_mut);
    for (index, source) in sources.into_iter().flatten().enumerate() {
        let field = format!("{field}.sources[{index}]");
        let Some(members) = source.as_object_mut() else {
            scope.refuse(Refusal::invalid(field, "must be an object"));
            continue;
        };
        projection(members, volume, index, &field, scope);
    }
}

fn projection(
    members: &mut Map<String, Value>,
    volume: &str,
    index: usize,
    field: &str,
    scope: &mut Scope<'_>,
) {
    members.retain(|_, source| !source.is_null());
    for (kind, source) in members.iter_mut() {
        let field = format!("{field}.{kind}");
        let refusal = match kind.as_str() {
            "configMap" => {
                scope.refer(ReferenceKind::ConfigMap, source, "name");
                continue;
            }
            "secret" => {
                scope.refer(ReferenceKind::Secret, source, "name");
                continue;
            }
            "downwardAPI" => {
                downward_items(source, &field, scope);
                continue;
            }
            "serviceAccountToken" => continue,
            "clusterTrustBundle" => {
                "ClusterTrustBundles are not translated to the host yet; use a ConfigMap"
            }
            "podCertificate" => "pod certificates are not translated to the host yet; use a Secret",
            _ => {
                "this kind of projection is not known here; allowed are configMap, downwardAPI, \
                 secret and serviceAccountToken"
            }
        };
        scope.refuse(Refusal::not_supported(field, refusal));
    }
    if let Some(token) = members.remove("serviceAccountToken") {
        let secret = token_as_secret(&token, volume, index, scope);
        members.insert("secret".to_owned(), secret);
    }
}

/// The projection of the pod's token Secret that stands for a token. One key per volume and
/// source, as a volume may have several tokens.
fn token_as_secret(token: &Value, volume: &str, index: usize, scope: &mut Scope<'_>) -> Value {
    let key = format!("{volume}.{index}");
    scope.tokens.push(Token {
        key: key.clone(),
        service_account: scope.service_account().to_owned(),
        audience: text(token, "/audience").map(str::to_owned),
        expiration_seconds: token
            .get("expirationSeconds")
            .and_then(Value::as_i64)
            .unwrap_or(TOKEN_SECONDS),
    });
    let mut item = json!({"key": key, "path": token.get("path").unwrap_or(&Value::Null)});
    if let Some(user) = token.get("user") {
        item["user"] = user.clone();
    }
    if let Some(mode) = token_mode(scope.pod) {
        item["mode"] = mode.into();
    }
    let secret = name::of_tokens(&scope.owner.namespace, &scope.owner.name, scope.context);
    json!({"name": secret, "items": [item]})
}

/// The mode of a token's file where the volume's own does not count: a kubelet gives the file to the one user of all
/// containers, and to nobody else. A file of a Secret stays root's, so that another user must be let read it.
fn token_mode(pod: &Value) -> Option<u32> {
    let has_group = is_set(pod, "/spec/securityContext/fsGroup");
    let user = user_of_all(pod);
    // The kubelet adds the group's right.
    if has_group || user == Some(0) {
        return Some(0o600);
    }
    user.map(|_other| 0o444)
}

/// The user as which every container runs, if all say the same.
fn user_of_all(pod: &Value) -> Option<i64> {
    let of_pod = pod.pointer("/spec/securityContext/runAsUser");
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    let mut users = lists.iter().flat_map(|list| {
        array(pod, &format!("/spec/{list}"))
            .iter()
            .map(|container| {
                let own = container.pointer("/securityContext/runAsUser");
                own.filter(|own| !own.is_null()).or(of_pod)?.as_i64()
            })
    });
    let first = users.next()??;
    users.all(|user| user == Some(first)).then_some(first)
}
