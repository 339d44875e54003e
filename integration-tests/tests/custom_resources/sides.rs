//! What is on the host and what is inside.

use integration_tests::{Tenant, eventually};
use serde_json::Value;

pub(super) fn outside(tenant: &Tenant, collection: &str, name: &str) -> Value {
    eventually(&format!("{collection} {name} reaches the host"), || {
        let all = tenant
            .host()
            .list(&format!("-n {} {collection}", tenant.namespace));
        let named =
            |object: &&Value| object["metadata"]["annotations"]["vcluster.dev/name"] == name;
        all.iter()
            .find(named)
            .cloned()
            .ok_or_else(|| format!("not among {}", all.len()))
    })
}

pub(super) fn gone(tenant: &Tenant, collection: &str, name: &str) {
    eventually(&format!("{collection} {name} leaves the host"), || {
        let all = tenant
            .host()
            .list(&format!("-n {} {collection}", tenant.namespace));
        let named =
            |object: &&Value| object["metadata"]["annotations"]["vcluster.dev/name"] == name;
        all.iter()
            .find(named)
            .map_or(Ok(()), |left| Err(left.to_string()))
    });
}

pub(super) fn inside(tenant: &Tenant, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("{what} is as it should be inside"), || {
        let output = tenant.kubectl(&format!("get {what} -o json")).run();
        let found: Value =
            serde_json::from_str(&output.stdout).map_err(|_none| output.to_string())?;
        if is(&found) {
            Ok(found)
        } else {
            Err(found.to_string())
        }
    })
}
