//! ResourceClaims (dynamic resource allocation, KEP-4381): down to the host, whose scheduler allocates the
//! devices, and the allocation back up.
//!
//! | field | on the host |
//! |---|---|
//! | `spec` | as it is; it is immutable. `adminAccess` is the host's to allow, by a label of the host namespace |
//! | `metadata.labels` | as on every object |
//! | `metadata.annotations` | `resource.kubernetes.io/pod-claim-name` |
//! | `status.allocation`, `status.devices` | brought up |
//! | `status.reservedFor` | stays: each side's controller keeps its own pods in it |
//!
//! ResourceClaimTemplates stay inside: the virtual controller makes claims of them, and those go down. DeviceClasses
//! come from the host ([`mirror::device_class`](crate::mirror::device_class)).
//!
//! A host claim that pods still use outlives the virtual one: the host's finalizer holds it.

use serde_json::{Map, Value, json};

use crate::{
    Change, Context, Kind, Owner, Patch, Refusal, annotation,
    change::change,
    json::{merge_patch, object, text},
    kind::{Api, Description, Scope, ToHost},
    label, name,
    owner::metadata,
    patch::{Format, Subresource},
};

/// Its row in the table of kinds.
pub const KIND: Description = Description::to_host(
    Api::new(
        "resource.k8s.io",
        "v1",
        "ResourceClaim",
        "resourceclaims",
        Scope::Namespaced,
    ),
    ToHost {
        status: Some(status_to_virtual),
        ..ToHost::new(to_host, update_host)
    },
);

/// Annotation that passes: for which entry of its pod the claim was made. What drivers of the host read, they do with
/// their own rights.
const OF_POD: &str = "resource.kubernetes.io/pod-claim-name";
/// What the host decides of a claim.
const DECIDED: [&str; 2] = ["allocation", "devices"];

/// The host claim of a virtual one.
///
/// # Errors
/// It lacks a spec, name, namespace or UID.
pub fn to_host(claim: &Value, context: &Context) -> Result<Value, Refusal> {
    let owner = Owner::of_virtual(claim, KIND.api.kind, context)?;
    let Some(spec) = object(claim, "/spec") else {
        return Err(Refusal::invalid("spec", "must be an object"));
    };
    let host_name = name::of_kind(Kind::ResourceClaim, &owner.namespace, &owner.name, context);
    let labels = label::OBJECT.translate(claim, "/metadata/labels");
    let annotations = annotation::passed_of(claim, |key| key == OF_POD);
    Ok(json!({
        "apiVersion": KIND.api.version(),
        "kind": KIND.api.kind,
        "metadata": metadata(&owner, &host_name, labels, annotations, context),
        "spec": spec,
    }))
}

/// How the host claim of a virtual one comes to be as it is wanted: its labels and annotations, as the rest never
/// changes.
///
/// # Errors
/// As [`to_host`].
pub fn update_host(claim: &Value, host: &Value, context: &Context) -> Result<Change, Refusal> {
    Ok(change(host, &to_host(claim, context)?, &[]))
}

/// What the virtual claim must be told: which devices it got, and what their drivers say of them.
pub fn status_to_virtual(host: &Value, claim: &Value, _context: &Context) -> Option<Patch> {
    let of = |object: &Value| -> Value {
        let status = object.get("status").and_then(Value::as_object);
        let decided = status.into_iter().flatten();
        let decided = decided.filter(|(key, _)| DECIDED.contains(&key.as_str()));
        let decided = decided.map(|(key, value)| (key.clone(), value.clone()));
        decided.collect::<Map<_, _>>().into()
    };
    let status = merge_patch(&of(claim), &of(host))?;
    let uid = text(claim, "/metadata/uid").unwrap_or_default();
    let body = json!({ "status": status });
    Some(Patch::new(
        Some(Subresource::Status),
        Format::Merge,
        uid,
        body,
    ))
}

#[cfg(test)]
mod tests {
    //! What goes down of a claim and what comes up.

    use super::*;
    use crate::fixture::context;

    fn claim() -> Value {
        json!({
            "metadata": {
                "name": "gpu", "namespace": "shop", "uid": "1", "labels": {"app": "web"},
                "annotations": {"resource.kubernetes.io/pod-claim-name": "gpu"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "2"}],
            },
            "spec": {"devices": {
                "requests": [{"name": "one", "exactly": {"deviceClassName": "gpu.example.com", "count": 1}}],
                "config": [{"requests": ["one"], "opaque": {"driver": "gpu.example.com", "parameters": {"a": 1}}}],
            }},
        })
    }

    fn allocated() -> Value {
        json!({
            "allocation": {"devices": {"results": [
                {"request": "one", "driver": "gpu.example.com", "pool": "n1", "device": "gpu-0"},
            ]}},
            "reservedFor": [{"resource": "pods", "name": "web-x-shop-x-demo", "uid": "h2"}],
            "devices": [{"driver": "gpu.example.com", "pool": "n1", "device": "gpu-0"}],
        })
    }

    #[test]
    fn a_claim_goes_down_with_all_that_it_asks_for_and_without_its_owners() {
        let host = to_host(&claim(), &context()).unwrap();
        insta::assert_json_snapshot!("resource_claim", host);
    }

    #[test]
    fn its_spec_is_never_written_again() {
        let mut host = to_host(&claim(), &context()).unwrap();
        host["metadata"]["uid"] = "h1".into();
        assert_eq!(update_host(&claim(), &host, &context()), Ok(Change::None));
        // What a newer host filled in.
        host["spec"]["devices"]["requests"][0]["exactly"]["allocationMode"] = "ExactCount".into();
        assert_eq!(update_host(&claim(), &host, &context()), Ok(Change::None));
        let mut relabelled = claim();
        relabelled["metadata"]["labels"]["tier"] = "front".into();
        let Ok(Change::Patch(patch)) = update_host(&relabelled, &host, &context()) else {
            panic!("a label is not news")
        };
        assert_eq!(patch.body.get("spec"), None);
    }

    #[test]
    fn devices_come_up_and_reservations_stay_on_their_side() {
        let mut virtual_ = claim();
        let host = json!({ "status": allocated() });
        let patch = status_to_virtual(&host, &virtual_, &context()).unwrap();
        let status = &patch.body["status"];
        assert_eq!(status["allocation"], allocated()["allocation"]);
        assert_eq!(status["devices"], allocated()["devices"]);
        assert_eq!(status.get("reservedFor"), None);

        virtual_["status"] = allocated();
        virtual_["status"]["reservedFor"] =
            json!([{"resource": "pods", "name": "web", "uid": "2"}]);
        assert_eq!(status_to_virtual(&host, &virtual_, &context()), None);

        let freed = status_to_virtual(&json!({}), &virtual_, &context()).unwrap();
        assert_eq!(
            freed.body["status"],
            json!({"allocation": null, "devices": null})
        );
    }
}
