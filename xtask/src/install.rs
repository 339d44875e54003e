//! `install`: puts the product on a running cluster with its own chart.

use anyhow::{Context as _, Result};

use crate::{
    cluster::{Cluster, GATEWAY_NODE_PORT},
    command,
    images::{self, Tags},
    output::{self, Progress},
    wait::Deadline,
    workspace,
};

/// Where the product is installed.
pub const NAMESPACE: &str = "vcluster-system";
/// The release's name.
pub const RELEASE: &str = "vcluster";
const PATIENCE: u64 = 120;
/// The provisioner of the dev cluster's class of storage.
const PROVISIONER: &str = "rancher.io/local-path";
/// Custom resources that virtual clusters of the dev cluster may sync: group, plural, and whether they are only shown.
const CUSTOM_RESOURCES: [(&str, &str, bool); 4] = [
    ("cert-manager.io", "certificates", false),
    ("cert-manager.io", "issuers", false),
    ("test.vcluster.dev", "gadgets", false),
    ("test.vcluster.dev", "shelves", true),
];

/// What is installed other than by default.
#[derive(Debug, Default, clap::Args)]
pub struct Options {
    /// A value for the chart, as of `helm --set`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub values: Vec<String>,
}

/// Builds, imports, installs or upgrades, and waits until every service is available.
///
/// # Errors
/// A build, helm, or a Deployment that does not become available: pods, events and logs are printed.
pub fn install(cluster: &Cluster, options: &Options, progress: &Progress) -> Result<Tags> {
    let tags = images::services(cluster, progress)?;
    progress.step("images are in the cluster");
    take_back_a_refused_uninstall(cluster)?;
    let chart = workspace::root().join("deploy/chart").display().to_string();
    let values = values(cluster, &tags);
    let mut args = vec!["upgrade", "--install", RELEASE, &chart, "-n", NAMESPACE];
    args.push("--create-namespace");
    for value in values.iter().chain(&options.values) {
        args.extend(["--set", value]);
    }
    command::run(&mut cluster.helm(&args)?).context("helm cannot install the chart")?;
    progress.step("the chart is installed");
    let available = wait(cluster);
    if available.is_err() {
        explain(cluster);
    }
    available?;
    progress.step(format_args!("the gateway is {}", cluster.gateway_address()));
    Ok(tags)
}

/// helm marks a release as `uninstalling` before the chart's hook refuses, and then knows no release
/// to upgrade; rolling back to what runs is the cure that `docs/operations.md` names.
fn take_back_a_refused_uninstall(cluster: &Cluster) -> Result<()> {
    let mut helm = cluster.helm(&["status", RELEASE, "-n", NAMESPACE, "-o", "json"])?;
    let Ok(status) = command::stdout(&mut helm) else {
        // There is no release yet.
        return Ok(());
    };
    let release: serde_json::Value = serde_json::from_str(&status)?;
    if release["info"]["status"] == "uninstalling" {
        let revision = release["version"].to_string();
        command::run(&mut cluster.helm(&["rollback", RELEASE, &revision, "-n", NAMESPACE])?)
            .context("helm cannot take a refused uninstall back")?;
    }
    Ok(())
}

fn values(cluster: &Cluster, tags: &Tags) -> Vec<String> {
    let mut values = vec![
        format!("image.registry={}", images::REGISTRY),
        "connect.service.type=NodePort".to_owned(),
        format!("connect.service.nodePort={GATEWAY_NODE_PORT}"),
        format!("gateway.address={}", cluster.gateway_address()),
        // Its nodes do not tell: the bridges get their ranges by file.
        format!("sync.endpoints.podCIDRs={{{}}}", cluster.layout.pods()),
        "sync.fromHost.storageCapacities=true".to_owned(),
        "sync.toHost.priorityClasses.enabled=true".to_owned(),
        "sync.toHost.priorityClasses.highest=100".to_owned(),
        format!("sync.toHost.storageClasses.provisioners={{{PROVISIONER}}}"),
    ];
    for (n, (group, plural, read_only)) in CUSTOM_RESOURCES.iter().enumerate() {
        let at = format!("sync.customResources[{n}]");
        values.push(format!("{at}.group={group}"));
        values.push(format!("{at}.plural={plural}"));
        values.push(format!("{at}.readOnly={read_only}"));
    }
    for (service, tag) in tags.each() {
        values.push(format!("{service}.image.name={service}"));
        values.push(format!("{service}.image.tag={tag}"));
    }
    values
}

fn wait(cluster: &Cluster) -> Result<()> {
    let deadline = Deadline::seconds(PATIENCE);
    for service in ["control", "sync", "connect"] {
        let deployment = format!("deployment/vcluster-{service}");
        let timeout = format!("--timeout={}s", deadline.left());
        let args = ["-n", NAMESPACE, "rollout", "status", &deployment, &timeout];
        command::run(&mut cluster.kubectl(&args)?)
            .with_context(|| format!("vcluster-{service} does not become available"))?;
    }
    Ok(())
}

/// Prints pods, events and the services' logs to stderr. An error here is one more line and hides nothing.
pub fn explain(cluster: &Cluster) {
    let show = |args: &[&str]| {
        output::note(format_args!("\n== kubectl {}", args.join(" ")));
        let said = cluster
            .kubectl(args)
            .and_then(|mut kubectl| command::stdout(&mut kubectl));
        output::note(said.unwrap_or_else(|error| format!("{error:#}")));
    };
    show(&["-n", NAMESPACE, "get", "pods", "-o", "wide"]);
    show(&["-n", NAMESPACE, "get", "events", "--sort-by=.lastTimestamp"]);
    for service in ["control", "sync", "connect"] {
        let deployment = format!("deployment/vcluster-{service}");
        show(&[
            "-n",
            NAMESPACE,
            "logs",
            &deployment,
            "--all-containers",
            "--tail=40",
        ]);
    }
}
