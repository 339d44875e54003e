//! Definitions on the host: cert-manager's as its release has them, and two of the tests' own.

use std::path::{Path, PathBuf};
use std::process;

use integration_tests::{Host, host};
use serde_json::{Value, json};

/// The module that holds cert-manager's definitions, as Go's module proxy has it.
const MODULE: &str = "github.com/cert-manager/cert-manager@v1.11.5";

/// Its folder in Go's module cache.
fn module(folder: &Path) -> PathBuf {
    let mut go = process::Command::new("go");
    go.args(["mod", "download", "-json", MODULE])
        .current_dir(folder);
    let output = go.output().expect("go runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let found: Value = serde_json::from_slice(&output.stdout).expect("go prints JSON");
    found["Dir"].as_str().expect("it is there").into()
}

/// Has cert-manager's definitions on the host, as its release has them.
pub(super) fn define_certificates(host: &Host, folder: &Path) {
    for name in ["certificates", "issuers"] {
        let definition = format!("{name}.cert-manager.io");
        if host
            .kubectl(&format!("get crd {definition}"))
            .run()
            .succeeded()
        {
            continue;
        }
        let file = module(folder).join(format!("deploy/crds/crd-{name}.yaml"));
        let read = format!(
            "create --dry-run=client --validate=false -o json -f {}",
            file.display()
        );
        let mut definition = host.kubectl(&read).json();
        // Its labels are a template of its chart.
        definition["metadata"]["labels"] = Value::Null;
        define(host, &definition);
    }
}

pub(super) fn define(host: &Host, definition: &Value) {
    host.kubectl("apply --server-side -f -")
        .input(definition.to_string())
        .ok();
    let name = host::name(definition);
    host.kubectl(&format!(
        "wait --for=condition=Established crd/{name} --timeout=60s"
    ))
    .ok();
}

pub(super) fn definition(kind: &str, plural: &str, scope: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.test.vcluster.dev")},
        "spec": {
            "group": "test.vcluster.dev", "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}
