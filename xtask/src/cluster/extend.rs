//! Gives a running cluster the add-ons that run in it and that it was asked for, one after the other.
//!
//! Each is built and started only when somebody asked, so that a plain `up` stays fast. Whoever is
//! killed here leaves a cluster that is up; the next `up` with the same add-ons takes on where this
//! one ended.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result};

use super::{Cluster, addons::fill, chart, record::Record};
use crate::{
    addon::AddOn,
    cache::Cache,
    command, images,
    output::Progress,
    upstream::{self, Binaries},
    wait::Deadline,
    workspace,
};

/// Seconds until an add-on that was applied must serve.
const PATIENCE: u64 = 180;

/// What of an add-on must be there before it is of use: namespace and object, and what to wait for.
fn wanted(addon: AddOn) -> &'static [(&'static str, &'static str, &'static [&'static str])] {
    const ROLLOUT: &[&str] = &["rollout", "status"];
    /// The kubelet tells of the drivers that it knows.
    const REGISTERED: &[&str] = &["wait", "--for=jsonpath={.spec.drivers[0].name}"];
    match addon {
        AddOn::Metrics => &[
            ("kube-system", "deployment/metrics-server", ROLLOUT),
            (
                "kube-system",
                "apiservice/v1beta1.metrics.k8s.io",
                &["wait", "--for=condition=Available"],
            ),
        ],
        AddOn::Policies => &[("kube-system", "daemonset/network-policies", ROLLOUT)],
        AddOn::Ingress => &[("kube-system", "deployment/ingress", ROLLOUT)],
        AddOn::Csi => &[
            ("kube-system", "deployment/csi", ROLLOUT),
            ("kube-system", "csinode/node-1", REGISTERED),
        ],
        AddOn::SecondNode | AddOn::DualStack | AddOn::CertManager | AddOn::Postgres => &[],
    }
}

/// Adds those of `asked` that the cluster lacks, and brings back missing images of those it has.
///
/// # Errors
/// A build fails, or an add-on does not get ready (with its pods and events).
pub(super) fn extend(
    cache: &Cache,
    cluster: &Cluster,
    record: &mut Record,
    asked: &BTreeSet<AddOn>,
    progress: &Progress,
) -> Result<()> {
    for addon in asked.union(&record.with.clone()).copied() {
        let binaries = Binaries::of(addon, cache, progress)?;
        let images = images::addon(addon, cache, &binaries)?;
        let archived = {
            let _lock = cache.lock("images")?;
            let archive = |(_, image): &(_, images::Image)| image.archive(cache);
            images.iter().map(archive).collect::<Result<Vec<_>>>()?
        };
        for runtime in cluster.runtimes(&record.with)? {
            images::import(&runtime, &archived, progress)?;
        }
        if record.with.contains(&addon) {
            continue;
        }
        match addon {
            AddOn::CertManager => chart::lay(cluster, addon, binaries.version(addon.name())?)?,
            AddOn::SecondNode | AddOn::DualStack | AddOn::Postgres => {}
            AddOn::Metrics | AddOn::Policies | AddOn::Ingress => apply(cluster, addon, &images)?,
            AddOn::Csi => {
                define(cluster, addon)?;
                apply(cluster, addon, &images)?;
            }
        }
        wait(cluster, addon)?;
        record.with.insert(addon);
        record.write(&cluster.layout)?;
        progress.step(format_args!("{} is ready", addon.name()));
    }
    Ok(())
}

/// Applies the kinds of snapshots, as their project publishes them, and waits until they are served: classes of them
/// are applied next.
fn define(cluster: &Cluster, addon: AddOn) -> Result<()> {
    let folder = upstream::sources(addon)?.join("config/crd");
    let mut args = vec!["apply".to_owned(), "--server-side".to_owned()];
    let mut wait = vec![
        "wait".to_owned(),
        "--for=condition=Established".to_owned(),
        "--timeout=30s".to_owned(),
    ];
    for plural in [
        "volumesnapshots",
        "volumesnapshotclasses",
        "volumesnapshotcontents",
    ] {
        let file = folder.join(format!("snapshot.storage.k8s.io_{plural}.yaml"));
        args.extend(["-f".to_owned(), file.to_string_lossy().into_owned()]);
        wait.push(format!("crd/{plural}.snapshot.storage.k8s.io"));
    }
    for args in [args, wait] {
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        command::run(&mut cluster.kubectl(&args)?)?;
    }
    Ok(())
}

fn apply(cluster: &Cluster, addon: AddOn, images: &[(&'static str, images::Image)]) -> Result<()> {
    let path = workspace::own("assets/addons").join(format!("{}.yaml", addon.name()));
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let state = cluster.layout.state.to_string_lossy();
    let mut values: Vec<_> = images
        .iter()
        .filter_map(|(placeholder, image)| Some((*placeholder, image.names.first()?.as_str())))
        .collect();
    values.push(("@STATE@", &state));
    let manifest = fill(&text, &values);
    let args = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    command::stdout_with_input(&mut cluster.kubectl(&args)?, &manifest)?;
    Ok(())
}

fn wait(cluster: &Cluster, addon: AddOn) -> Result<()> {
    let deadline = Deadline::seconds(PATIENCE);
    for (namespace, object, verb) in wanted(addon) {
        let timeout = format!("--timeout={}s", deadline.left());
        let args = [&["-n", namespace], *verb, &[object, &timeout]].concat();
        command::run(&mut cluster.kubectl(&args)?).with_context(|| {
            let pods = cluster.kubectl(&["-n", namespace, "get", "pods,events"]);
            let pods = pods
                .and_then(|mut pods| command::stdout(&mut pods))
                .unwrap_or_default();
            format!("{object} does not get ready\n{pods}")
        })?;
    }
    Ok(())
}
