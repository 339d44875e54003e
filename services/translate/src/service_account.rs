//! ServiceAccounts that synced pods run as: to host, where `spec.sync.toHost.serviceaccounts` turns that on.
//!
//! | field | on the host |
//! |---|---|
//! | `metadata.labels` | under our domain, as every label |
//! | `metadata.annotations` | those that the host's administrator allows ([`annotation`]): by them a cloud gives identities |
//! | `imagePullSecrets[].name` | host names |
//! | `secrets` | stay inside: a controller of the host would read tokens from them |
//! | `automountServiceAccountToken` | `false`: tokens come from the virtual API server |
//!
//! The host account is a name and nothing else: nobody binds a right to it, and no pod is given a token of it by us.
//! The chart's policy keeps the tenant's own identity from touching any other account of the host namespace.

use serde_json::{Value, json};

use crate::{
    Context, Kind, Owner, Refusal, annotation,
    change::{Change, change},
    json::{array, text},
    kind::{Api, Description, Need, Outside, Reference, Scope, Successor, ToHost},
    label, name,
    owner::metadata,
    policy,
};

/// Its row in the table of kinds. Sync never watches accounts of the host: nobody else writes ours.
pub const KIND: Description = Description {
    need: Need::Used,
    outside: Outside::Scanned,
    references: Some(references),
    ..Description::to_host(
        Api::core("ServiceAccount", "serviceaccounts", Scope::Namespaced).short(&["sa"]),
        ToHost {
            wanted,
            successor: Successor::TakesOver,
            ..ToHost::new(to_host, update_host)
        },
    )
};

fn wanted(account: &Value, context: &Context) -> bool {
    let namespace = text(account, "/metadata/namespace").unwrap_or_default();
    policy::sends_accounts(namespace, context)
}

/// The host ServiceAccount of a virtual one.
///
/// # Errors
/// It has no name, namespace or UID.
pub fn to_host(account: &Value, context: &Context) -> Result<Value, Refusal> {
    let owner = Owner::of_virtual(account, "ServiceAccount", context)?;
    let host_name = name::of(&owner.namespace, &owner.name, context);
    let labels = label::OBJECT.translate(account, "/metadata/labels");
    let annotations = annotation::passed(account, &[], &context.annotations.service_accounts);
    let secrets: Vec<_> = pull_secrets(account)
        .map(|secret| json!({"name": name::of(&owner.namespace, secret, context)}))
        .collect();
    let mut host = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(&owner, &host_name, labels, annotations, context),
        "automountServiceAccountToken": false,
    });
    if !secrets.is_empty() {
        host["imagePullSecrets"] = secrets.into();
    }
    Ok(host)
}

fn pull_secrets(account: &Value) -> impl Iterator<Item = &str> {
    let secrets = array(account, "/imagePullSecrets").iter();
    secrets
        .filter_map(|secret| text(secret, "/name"))
        .filter(|name| !name.is_empty())
}

/// What must change on the host ServiceAccount of a virtual one.
///
/// # Errors
/// As [`to_host`].
pub fn update_host(account: &Value, host: &Value, context: &Context) -> Result<Change, Refusal> {
    let wanted = to_host(account, context)?;
    let mut found = host.clone();
    if found["automountServiceAccountToken"].is_null() {
        // Nothing means that tokens are mounted: here it is not the same as false.
        found["automountServiceAccountToken"] = true.into();
    }
    let keys = ["imagePullSecrets", "automountServiceAccountToken"];
    Ok(change(&found, &wanted, &keys))
}

/// The Secrets by which its pods pull images; a node does without one that is missing.
pub fn references(account: &Value, context: &Context) -> Vec<Reference> {
    let namespace = text(account, "/metadata/namespace").unwrap_or_default();
    if !policy::sends_accounts(namespace, context) {
        return Vec::new();
    }
    let reference = |secret: &str| Reference {
        kind: Kind::Secret,
        namespace: namespace.to_owned(),
        name: secret.to_owned(),
        optional: true,
    };
    pull_secrets(account).map(reference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::context;

    fn sending() -> Context {
        let policy =
            json!({"toHost": {"serviceaccounts": {"enabled": true, "namespaces": ["shop"]}}});
        let mut context = context();
        context.policy = serde_json::from_value(policy).unwrap();
        context.annotations.service_accounts = vec!["eks.amazonaws.com/role-arn".to_owned()];
        context
    }

    fn account() -> Value {
        json!({
            "metadata": {
                "name": "builder", "namespace": "shop", "uid": "1", "labels": {"app": "web"},
                "annotations": {
                    "eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/shop",
                    "iam.gke.io/gcp-service-account": "shop@example.iam.gserviceaccount.com",
                    "meta.helm.sh/release-name": "shop",
                },
            },
            "secrets": [{"name": "builder-token"}],
            "imagePullSecrets": [{"name": "registry"}],
        })
    }

    #[test]
    fn an_account_is_a_name_without_tokens_and_with_the_annotations_that_are_allowed() {
        let host = to_host(&account(), &sending()).unwrap();
        assert_eq!(host["metadata"]["name"], "builder-x-shop-x-demo");
        assert_eq!(host["automountServiceAccountToken"], false);
        assert_eq!(host.get("secrets"), None);
        assert_eq!(
            host["imagePullSecrets"],
            json!([{"name": "registry-x-shop-x-demo"}])
        );
        let annotations = host["metadata"]["annotations"].as_object().unwrap();
        let foreign: Vec<_> = annotations
            .keys()
            .filter(|key| !key.starts_with("vcluster.dev/"))
            .collect();
        assert_eq!(foreign, ["eks.amazonaws.com/role-arn"]);
        let kept = annotation::kept(&host).unwrap();
        assert!(kept.contains("iam.gke.io/gcp-service-account"), "{kept}");
        assert!(!kept.contains("helm"), "{kept}");
    }

    #[test]
    fn it_goes_only_where_the_policy_turns_it_on() {
        let mut elsewhere = account();
        elsewhere["metadata"]["namespace"] = "other".into();
        for (account, context, goes) in [
            (account(), sending(), true),
            (elsewhere, sending(), false),
            (account(), context(), false),
        ] {
            assert_eq!(wanted(&account, &context), goes);
            assert_eq!(references(&account, &context).len(), usize::from(goes));
        }
    }

    #[test]
    fn what_somebody_changed_on_the_host_is_changed_back() {
        let made = to_host(&account(), &sending()).unwrap();
        assert_eq!(update_host(&account(), &made, &sending()), Ok(Change::None));
        for (field, value) in [
            ("automountServiceAccountToken", Value::Null),
            ("automountServiceAccountToken", json!(true)),
            ("imagePullSecrets", json!([{"name": "vcluster-pki"}])),
        ] {
            let mut changed = made.clone();
            changed[field] = value;
            let Ok(Change::Patch(patch)) = update_host(&account(), &changed, &sending()) else {
                panic!("{field} is not put right")
            };
            assert_eq!(patch.body[field], made[field]);
        }
    }
}
