//! The host cluster with the chart installed.

use std::{
    env,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use serde_json::Value;

use crate::Command;

/// Names the kubeconfig of the running cluster's administrator.
pub const KUBECONFIG: &str = "VCLUSTER_TEST_KUBECONFIG";
/// Namespace of the release.
pub const RELEASE: &str = "vcluster-system";
/// The three services.
pub const SERVICES: [&str; 3] = ["vcluster-control", "vcluster-sync", "vcluster-connect"];

/// The host cluster, seen by its administrator or by a user.
#[derive(Debug, Clone)]
pub struct Host {
    kubeconfig: PathBuf,
}

impl Host {
    /// The cluster that `cargo xtask test` brought up.
    pub fn get() -> Self {
        static HOST: OnceLock<Host> = OnceLock::new();
        HOST.get_or_init(|| {
            let Some(path) = env::var_os(KUBECONFIG) else {
                panic!("{KUBECONFIG} is not set: run this test by `cargo xtask test`");
            };
            Self {
                kubeconfig: path.into(),
            }
        })
        .clone()
    }

    /// A cluster by another kubeconfig.
    pub fn by(kubeconfig: PathBuf) -> Self {
        Self { kubeconfig }
    }

    /// Path of the kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// kubectl with these arguments, separated by spaces.
    pub fn kubectl(&self, args: &str) -> Command {
        self.program("kubectl", &words(args))
    }

    /// kubectl with these arguments.
    pub fn kubectl_args(&self, args: &[&str]) -> Command {
        self.program("kubectl", args)
    }

    /// The vcluster command with these arguments, separated by spaces.
    pub fn vcluster(&self, args: &str) -> Command {
        self.program("vcluster", &words(args))
    }

    /// Any program with this kubeconfig.
    pub fn program(&self, program: &str, args: &[&str]) -> Command {
        Command::new(program, &self.kubeconfig, args)
    }

    /// Items of a list of host objects.
    #[track_caller]
    pub fn list(&self, args: &str) -> Vec<Value> {
        items(&self.kubectl(&format!("get -o json {args}")).json())
    }

    /// Applies these objects.
    #[track_caller]
    pub fn apply(&self, objects: &str) {
        self.kubectl("apply -f -").input(objects).ok();
    }

    /// A kubeconfig in `folder` by which the ServiceAccount `name` of `namespace`, made if missing,
    /// reaches this cluster: a user with an identity and no rights of its own.
    #[track_caller]
    pub fn service_account(&self, namespace: &str, name: &str, folder: &Path) -> Self {
        self.apply(&format!(
            r#"{{"apiVersion":"v1","kind":"ServiceAccount","metadata":{{"name":"{name}","namespace":"{namespace}"}}}}"#
        ));
        let token = self
            .kubectl(&format!("-n {namespace} create token {name}"))
            .ok();
        let config = self.kubectl("config view --raw --flatten -o json").json();
        let cluster = &config["clusters"][0]["cluster"];
        let user = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": name,
            "clusters": [{"name": "host", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token.trim()}}],
            "contexts": [{"name": name, "context": {"cluster": "host", "user": name}}],
        });
        let path = folder.join(format!("{name}.kubeconfig"));
        std::fs::write(&path, user.to_string()).expect("the folder was made for this");
        Self::by(path)
    }

    /// What a person would look at first when a test has failed.
    pub fn report(&self, namespace: &str) -> String {
        let mut report = String::new();
        let mut add = |title: &str, command: Command| {
            // Writing to a String does not fail.
            let _ = writeln!(report, "=== {title}\n{}", command.run());
        };
        add(
            "virtual clusters",
            self.kubectl("get virtualclusters -A -o wide"),
        );
        add(
            "host pods",
            self.kubectl(&format!("-n {namespace} get pods -o wide")),
        );
        add(
            "events",
            self.kubectl(&format!(
                "-n {namespace} get events --sort-by=.lastTimestamp"
            )),
        );
        for service in SERVICES {
            let args = format!("-n {RELEASE} logs deploy/{service} --all-pods --tail=60");
            add(service, self.kubectl(&args));
        }
        report
    }
}

/// The `items` of a list.
pub fn items(list: &Value) -> Vec<Value> {
    list["items"].as_array().cloned().unwrap_or_default()
}

/// `metadata.name` of an object.
pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn words(args: &str) -> Vec<&str> {
    args.split_whitespace().collect()
}
