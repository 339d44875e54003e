//! Whether a virtual cluster has a kind of which sync knows nothing.
//!
//! Its API server is asked, and only when somebody asks about such a kind: what it answers is not kept.

use serde_json::Value;

use crate::apply::Failure;
use crate::tenant::Tenant;

/// Whether the virtual cluster serves a kind of that name, in any of kubectl's spellings.
pub(super) async fn has_kind(tenant: &Tenant, text: &str) -> Result<bool, Failure> {
    for root in ["/apis", "/api"] {
        if serves(&tenant.discover(root).await?, text) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether one of these groups has a kind of that name, alone or with `.GROUP` or `.VERSION.GROUP`.
fn serves(discovered: &Value, text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let (name, rest) = text.split_once('.').unwrap_or((&text, ""));
    each(&discovered["items"]).any(|group| {
        let group_name = group["metadata"]["name"].as_str().unwrap_or_default();
        each(&group["versions"]).any(|version| {
            let of = version["version"].as_str().unwrap_or_default();
            let qualified = format!("{of}.{group_name}");
            (rest.is_empty() || rest == group_name || rest == qualified.trim_end_matches('.'))
                && each(&version["resources"]).any(|resource| is_called(resource, name))
        })
    })
}

fn is_called(resource: &Value, name: &str) -> bool {
    let is = |found: &Value| {
        found
            .as_str()
            .is_some_and(|found| found.eq_ignore_ascii_case(name))
    };
    is(&resource["resource"])
        || is(&resource["singularResource"])
        || is(&resource["responseKind"]["kind"])
        || each(&resource["shortNames"]).any(is)
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_kind_is_found_in_every_spelling_of_kubectl_and_in_its_own_group_only() {
        let discovered = json!({"kind": "APIGroupDiscoveryList", "items": [
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [
                {"resource": "deployments", "singularResource": "deployment", "shortNames": ["deploy"],
                    "responseKind": {"group": "", "version": "", "kind": "Deployment"}},
            ]}]},
            {"metadata": {}, "versions": [{"version": "v1", "resources": [{"resource": "bindings"}]}]},
        ]});
        for text in [
            "deployment",
            "Deployments",
            "deploy",
            "Deployment",
            "deployments.apps",
            "deploy.v1.apps",
            "bindings",
            "bindings.v1",
        ] {
            assert!(serves(&discovered, text), "{text}");
        }
        for text in [
            "foo",
            "",
            "deployments.example.com",
            "deployment.v2.apps",
            "deploymen",
            ".",
        ] {
            assert!(!serves(&discovered, text), "{text}");
        }
        for odd in [
            json!(null),
            json!({"items": 3}),
            json!({"items": [{"versions": [7]}]}),
        ] {
            assert!(!serves(&odd, "deployment"));
        }
    }
}
