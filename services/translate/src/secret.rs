//! Secrets: those that synced pods use, and those with pods' tokens.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    Context, Owner, Refusal,
    change::{Change, change},
    json::text,
    kind::{Api, Description, Need, Outside, Scope, Successor, ToHost},
    name,
    owner::metadata,
};

/// Its row in the table of kinds. Sync never watches Secrets of the host: nobody else writes ours.
pub const KIND: Description = Description {
    need: Need::Used,
    outside: Outside::Scanned,
    confidential: true,
    ..Description::to_host(
        Api::core("Secret", "secrets", Scope::Namespaced),
        ToHost {
            successor: Successor::TakesOver,
            ..ToHost::new(to_host, update_host)
        },
    )
};

/// Type of a Secret into which a controller writes a token of the account that it names: on the
/// host that would be a token of the *host's*.
const SERVICE_ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";
/// Type of a Secret with a token by which nodes join a cluster.
const BOOTSTRAP_TOKEN: &str = "bootstrap.kubernetes.io/token";
const OPAQUE: &str = "Opaque";

/// Whether a Secret of the host holds a token of the host's, which no tenant is shown.
pub(crate) fn holds_token(host: &Value) -> bool {
    matches!(
        text(host, "/type"),
        Some(SERVICE_ACCOUNT_TOKEN | BOOTSTRAP_TOKEN)
    )
}

/// The host Secret of a virtual one: its data, type and immutability. Its labels and annotations
/// stay behind, as nothing of the host may act on them.
///
/// # Errors
/// It has no name, namespace or UID.
pub fn to_host(secret: &Value, context: &Context) -> Result<Value, Refusal> {
    let owner = Owner::of_virtual(secret, "Secret", context)?;
    let host_name = name::of(&owner.namespace, &owner.name, context);
    let mut host = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(&owner, &host_name, Map::new(), Map::new(), context),
    });
    let type_ = text(secret, "/type").filter(|type_| *type_ != SERVICE_ACCOUNT_TOKEN);
    host["type"] = type_.unwrap_or(OPAQUE).into();
    for key in ["data", "immutable"] {
        if let Some(value) = secret.get(key).filter(|value| !value.is_null()) {
            host[key] = value.clone();
        }
    }
    Ok(host)
}

/// Annotation of a token Secret: when its tokens are to be renewed, in RFC 3339.
const RENEW_AT: &str = "vcluster.dev/renew-at";

/// The host Secret with all tokens of a virtual pod, by [`Token::key`](crate::pod::Token::key).
/// `renew_at` is when the first of them should be renewed, in RFC 3339: kept on the object, so that
/// a restart renews nothing early and nothing late.
///
/// # Errors
/// The pod has no name, namespace or UID.
pub fn of_tokens(
    pod: &Value,
    tokens: &BTreeMap<String, String>,
    renew_at: &str,
    context: &Context,
) -> Result<Value, Refusal> {
    let owner = Owner::of_virtual(pod, "Pod", context)?;
    let host_name = name::of_tokens(&owner.namespace, &owner.name, context);
    let annotations = Map::from_iter([(RENEW_AT.to_owned(), renew_at.into())]);
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(&owner, &host_name, Map::new(), annotations, context),
        "type": OPAQUE,
        // Not `data`: the API server encodes it.
        "stringData": tokens,
    }))
}

/// When the tokens in a host Secret of [`of_tokens`] are to be renewed.
pub fn renew_at(secret: &Value) -> Option<&str> {
    let annotations = secret.pointer("/metadata/annotations")?;
    annotations.get(RENEW_AT)?.as_str()
}

/// What must change on the host Secret of a virtual one.
///
/// # Errors
/// As [`to_host`].
pub fn update_host(secret: &Value, host: &Value, context: &Context) -> Result<Change, Refusal> {
    let wanted = to_host(secret, context)?;
    Ok(change(host, &wanted, &["type", "data", "immutable"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{context, pod};

    #[test]
    fn data_type_and_immutability_pass_and_nothing_else() {
        let secret = json!({
            "metadata": {
                "name": "s", "namespace": "shop", "uid": "1", "labels": {"a": "b"},
                "annotations": {"x": "y"}, "finalizers": ["f"],
            },
            "type": "kubernetes.io/tls",
            "data": {"tls.key": "a2V5"},
            "immutable": true,
        });
        insta::assert_json_snapshot!("secret", to_host(&secret, &context()).unwrap());
    }

    #[test]
    fn a_token_secret_is_opaque_so_that_the_host_puts_no_token_of_its_own_in() {
        let secret = json!({
            "metadata": {"name": "s", "namespace": "shop", "uid": "1",
                "annotations": {"kubernetes.io/service-account.name": "default"}},
            "type": "kubernetes.io/service-account-token",
        });
        let host = to_host(&secret, &context()).unwrap();
        assert_eq!(host["type"], "Opaque");
        let annotations = host["metadata"]["annotations"].as_object().unwrap();
        assert!(
            annotations
                .keys()
                .all(|key| key.starts_with("vcluster.dev/"))
        );
    }

    #[test]
    fn a_pod_s_tokens_have_a_secret_of_their_own() {
        let tokens = BTreeMap::from([("v.0".to_owned(), "ey".to_owned())]);
        let secret = of_tokens(&pod(), &tokens, "2026-01-01T01:00:00Z", &context()).unwrap();
        assert_eq!(secret["metadata"]["name"], "web-x-shop-x-demo.token");
        assert_eq!(secret["stringData"], json!({"v.0": "ey"}));
    }
}
