//! ConfigMaps that synced pods use.

use serde_json::{Map, Value, json};

use crate::{
    Context, Owner, Refusal,
    change::{Change, change},
    kind::{Api, Description, Need, Outside, Scope, Successor, ToHost},
    name,
    owner::metadata,
};

/// Its row in the table of kinds. Sync never watches ConfigMaps of the host: nobody else writes
/// ours.
pub const KIND: Description = Description {
    need: Need::Used,
    outside: Outside::Scanned,
    ..Description::to_host(
        Api::core("ConfigMap", "configmaps", Scope::Namespaced).short(&["cm"]),
        ToHost {
            successor: Successor::TakesOver,
            ..ToHost::new(to_host, update_host)
        },
    )
};

/// The host ConfigMap of a virtual one: its data and immutability. Its labels and annotations stay
/// behind, as nothing of the host may act on them.
///
/// # Errors
/// It has no name, namespace or UID.
pub fn to_host(config_map: &Value, context: &Context) -> Result<Value, Refusal> {
    let owner = Owner::of_virtual(config_map, "ConfigMap", context)?;
    let host_name = name::of(&owner.namespace, &owner.name, context);
    let mut host = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(&owner, &host_name, Map::new(), Map::new(), context),
    });
    for key in ["data", "binaryData", "immutable"] {
        if let Some(value) = config_map.get(key).filter(|value| !value.is_null()) {
            host[key] = value.clone();
        }
    }
    Ok(host)
}

/// What must change on the host ConfigMap of a virtual one.
///
/// # Errors
/// As [`to_host`].
pub fn update_host(config_map: &Value, host: &Value, context: &Context) -> Result<Change, Refusal> {
    let wanted = to_host(config_map, context)?;
    Ok(change(host, &wanted, &["data", "binaryData", "immutable"]))
}
