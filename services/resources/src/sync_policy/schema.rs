//! Schemas of the maps by kind, with the rules that hold over their keys.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{
    ACCOUNTS_SELECTED, CLASSES_PLACED, EVENTS_SELECTED, FROM_HOST, FROM_HOST_ONLY, FromHost,
    MAPPED_ONLY, NODES_OFF, NOT_EXPORTED, NOT_MAPPED, PODS_OFF, POLICY_ELSEWHERE, TO_HOST,
    TO_HOST_ONLY, ToHost,
};

fn listed(kinds: &[&str]) -> String {
    let kinds: Vec<_> = kinds.iter().map(|kind| format!("'{kind}'")).collect();
    format!("self.all(k, k in [{}])", kinds.join(", "))
}

pub(super) fn to_host(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": generator.subschema_for::<ToHost>(),
        "x-kubernetes-validations": [
            { "rule": listed(&TO_HOST), "message": TO_HOST_ONLY },
            {
                "rule": "self.all(k, k != 'pods' || !has(self[k].enabled) || self[k].enabled)",
                "message": PODS_OFF,
            },
            {
                "rule": "self.all(k, k != 'serviceaccounts' || !has(self[k].selector))",
                "message": ACCOUNTS_SELECTED,
            },
            {
                "rule": "self.all(k, !(k in ['priorityclasses', 'storageclasses']) || !has(self[k].namespaces))",
                "message": CLASSES_PLACED,
            },
            {
                "rule": "self.all(k, k == 'services' || !has(self[k].mappings))",
                "message": NOT_EXPORTED,
            },
        ],
    })
}

pub(super) fn from_host(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": generator.subschema_for::<FromHost>(),
        "x-kubernetes-validations": [
            { "rule": listed(&FROM_HOST), "message": FROM_HOST_ONLY },
            {
                "rule": "self.all(k, k != 'nodes' || !has(self[k].enabled) || self[k].enabled)",
                "message": NODES_OFF,
            },
            {
                "rule": "self.all(k, k == 'nodes' || !has(self[k].policy))",
                "message": POLICY_ELSEWHERE,
            },
            {
                "rule": "self.all(k, k in ['configmaps', 'secrets', 'services'] || !has(self[k].mappings))",
                "message": NOT_MAPPED,
            },
            {
                "rule": "self.all(k, !(k in ['configmaps', 'secrets', 'services']) || (!has(self[k].enabled) && !has(self[k].selector)))",
                "message": MAPPED_ONLY,
            },
            {
                "rule": "self.all(k, k != 'events' || !has(self[k].selector))",
                "message": EVENTS_SELECTED,
            },
        ],
    })
}
