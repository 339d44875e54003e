//! The walk-through: create, connect, deploy, use, look from both sides, be refused, delete.

mod use_it;

use anyhow::{Context as _, Result, ensure};

use super::{
    table,
    terminal::{Terminal, holds, names, processes, succeeded, with_token},
};
use crate::{
    output,
    wait::{Deadline, Stopwatch},
};

/// Name of the virtual cluster.
pub(super) const CLUSTER: &str = "my-vcluster";
/// Its host namespace.
pub(super) const NAMESPACE: &str = "host-namespace-1";

const APP: &str = "demo-nginx";
const DEPLOYMENT: &str = "nginx-deployment";
const PATIENCE: u64 = 120;
/// What the Secrets begin with in which control keeps the keys of virtual clusters.
const ROOTS: &str = "vcluster-ca-";

const MANIFEST: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: nginx-deployment
spec:
  replicas: 2
  selector:
    matchLabels: {app: nginx}
  template:
    metadata:
      labels: {app: nginx}
    spec:
      containers:
        - name: nginx
          image: docker.io/library/nginx:latest
          imagePullPolicy: IfNotPresent
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {app: nginx}
  ports:
    - port: 80
";

/// The way there, up to the last look.
pub(super) fn tell(user: &mut Terminal) -> Result<()> {
    remove_earlier(user)?;
    create(user)?;
    connect(user)?;
    deploy(user)?;
    use_it::find_by_name(user)?;
    use_it::see_logs(user)?;
    use_it::keep_data(user)?;
    look_from_the_host(user)?;
    be_admin_inside_and_a_stranger_outside(user)?;
    be_refused(user)
}

/// Removes what a demo that was told before has kept.
fn remove_earlier(user: &Terminal) -> Result<()> {
    let line = format!("vcluster get {CLUSTER} -n {NAMESPACE} --quiet");
    if !user
        .quietly(&line, &user.kubeconfig, None)?
        .status
        .success()
    {
        return Ok(());
    }
    output::note(format_args!(
        "\n{CLUSTER} of an earlier demo is removed first, with what is in it"
    ));
    user.ok(&format!(
        "vcluster delete {CLUSTER} -n {NAMESPACE} --ignore-not-found"
    ))
    .map(drop)
}

fn create(user: &mut Terminal) -> Result<()> {
    user.title("A virtual cluster for one tenant");
    let clock = Stopwatch::start();
    user.ok(&format!(
        "vcluster create {CLUSTER} -n {NAMESPACE} --timeout 180s"
    ))?;
    holds(format_args!(
        "it is ready, {:.1} s after the command",
        clock.seconds()
    ));
    Ok(())
}

fn connect(user: &mut Terminal) -> Result<()> {
    user.title("Into it, through the gateway: no port-forward");
    user.ok(&format!("vcluster connect {CLUSTER} -n {NAMESPACE}"))?;
    let left = processes()?;
    ensure!(left.is_empty(), "vcluster left processes behind: {left:?}");
    holds("no process of vcluster is left running");
    user.ok("kubectl get namespaces")?;
    let namespaces = names(&user.inside("kubectl get namespaces -o json")?);
    let fresh = ["default", "kube-node-lease", "kube-public", "kube-system"];
    ensure!(
        namespaces == fresh,
        "a fresh cluster has {fresh:?}, this one {namespaces:?}"
    );
    holds("it is a fresh cluster with its own namespaces");
    Ok(())
}

fn deploy(user: &mut Terminal) -> Result<()> {
    user.title("A deployment and a Service in it, with plain kubectl");
    user.ok(&format!("kubectl create namespace {APP}"))?;
    user.ok(&format!(
        "kubectl config set-context --current --namespace={APP}"
    ))?;
    let clock = Stopwatch::start();
    user.apply(MANIFEST)?;
    user.ok(&format!(
        "kubectl rollout status deployment/{DEPLOYMENT} --timeout={PATIENCE}s"
    ))?;
    holds(format_args!(
        "two replicas run, {:.1} s after they were applied",
        clock.seconds()
    ));
    user.ok("kubectl get pods,services -o wide")?;
    Ok(())
}

fn look_from_the_host(user: &mut Terminal) -> Result<()> {
    user.title("The same from the host");
    let namespaces = names(&user.host("kubectl get namespaces -o json")?);
    ensure!(
        !namespaces.iter().any(|name| name == APP),
        "the host has a namespace {APP}"
    );
    holds(format_args!("there is no namespace {APP}"));
    let deployments = names(&user.host("kubectl get deployments -A -o json")?);
    ensure!(
        !deployments.iter().any(|name| name == DEPLOYMENT),
        "the host has {DEPLOYMENT}"
    );
    holds(format_args!("there is no deployment {DEPLOYMENT}"));

    let (inside, outside) = both_sides(user, "pods")?;
    let mut expected: Vec<String> = inside.iter().map(|name| translated(name)).collect();
    expected.push(format!("{CLUSTER}-0"));
    expected.sort_unstable();
    let (dns, others): (Vec<_>, Vec<_>) = outside
        .iter()
        .cloned()
        .partition(|name| name.starts_with("vcluster-dns-"));
    ensure!(
        others == expected && dns.len() == 1,
        "the host namespace holds {outside:?}, not {expected:?} and one DNS server"
    );
    holds(
        "the pods are, under rewritten names, beside the control plane's pod, its DNS server and \
         nothing else",
    );
    let (mut left, mut right) = (titled("pod", &inside), titled("pod", &outside));
    for (kind, collection) in [("service", "services"), ("claim", "persistentvolumeclaims")] {
        let (inside, outside) = both_sides(user, collection)?;
        let missing = inside
            .iter()
            .find(|name| !outside.contains(&translated(name)));
        ensure!(
            missing.is_none() && !inside.is_empty(),
            "{missing:?} of {inside:?} is not among {outside:?}"
        );
        left.extend(titled(kind, &inside));
        right.extend(titled(kind, &outside));
    }
    holds("and so are the Service and the volume claim");
    output::note("");
    output::note(table::side_by_side(
        (&format!("in {CLUSTER}, namespace {APP}"), &left),
        (&format!("on the host, namespace {NAMESPACE}"), &right),
    ));
    Ok(())
}

/// Names of a collection inside, and in the host namespace.
fn both_sides(user: &Terminal, collection: &str) -> Result<(Vec<String>, Vec<String>)> {
    let inside = user.inside(&format!("kubectl -n {APP} get {collection} -o json"))?;
    let outside = user.host(&format!("kubectl -n {NAMESPACE} get {collection} -o json"))?;
    Ok((names(&inside), names(&outside)))
}

fn translated(name: &str) -> String {
    format!("{name}-x-{APP}-x-{CLUSTER}")
}

fn titled(kind: &str, names: &[String]) -> Vec<String> {
    names.iter().map(|name| format!("{kind}/{name}")).collect()
}

fn be_admin_inside_and_a_stranger_outside(user: &mut Terminal) -> Result<()> {
    user.title("Admin inside, a stranger outside");
    let may = user.ok("kubectl auth can-i '*' '*'")?;
    ensure!(
        may.trim() == "yes",
        "the creator is no administrator inside"
    );
    holds("you may do everything inside");
    let config = user.inside("kubectl config view --raw --minify -o json")?;
    let plugin = &config["users"][0]["user"]["exec"];
    let mut line = plugin["command"]
        .as_str()
        .context("no exec plugin in the context")?
        .to_owned();
    for arg in plugin["args"]
        .as_array()
        .context("the exec plugin has no arguments")?
    {
        line.push(' ');
        line.push_str(arg.as_str().context("an argument is no string")?);
    }
    let credential = user.inside(&line)?;
    let token = credential["status"]["token"]
        .as_str()
        .context("no token in the credential")?;
    let stranger = with_token(user, "stranger", token)?;
    user.refused("kubectl get pods", &stranger, &["You must be logged in"])?;
    holds("the host does not know the credential that is good inside");
    Ok(())
}

fn be_refused(user: &mut Terminal) -> Result<()> {
    user.title("Another user, without the right");
    let make = "kubectl -n default create serviceaccount jane";
    let made = user.quietly(make, &user.cluster.kubeconfig, None)?;
    // Told before, on a cluster that was kept.
    if !String::from_utf8_lossy(&made.stderr).contains("already exists") {
        succeeded(make, &made)?;
    }
    let mint = "kubectl -n default create token jane";
    let token = succeeded(mint, &user.quietly(mint, &user.cluster.kubeconfig, None)?)?;
    let jane = with_token(user, "jane", token.trim())?;
    let line = format!("vcluster connect {CLUSTER} -n {NAMESPACE}");
    user.refused(&line, &jane, &["jane", CLUSTER])?;
    holds("she is refused, and told what she lacks");
    Ok(())
}

/// Deletes the virtual cluster, and sees that nothing of it is left.
pub(super) fn remove(user: &mut Terminal) -> Result<()> {
    user.title("Deleted, and nothing is left");
    user.ok("vcluster disconnect")?;
    user.ok(&format!(
        "vcluster delete {CLUSTER} -n {NAMESPACE} --timeout {PATIENCE}s"
    ))?;
    Deadline::seconds(PATIENCE).poll("everything of it is gone", || {
        let namespaces = names(&user.host("kubectl get namespaces -o json")?);
        let volumes = user.host("kubectl get persistentvolumes -o json")?;
        let clusters = names(&user.host("kubectl get virtualclusters -A -o json")?);
        let keys = names(&user.host("kubectl get secrets -n vcluster-system -o json")?);
        let gone = !namespaces.iter().any(|name| name == NAMESPACE)
            && !keys.iter().any(|name| name.starts_with(ROOTS))
            && names(&volumes).is_empty()
            && clusters.is_empty();
        Ok(gone.then_some(()))
    })?;
    holds("its namespace, pods, secrets and volumes are gone");
    let config = "kubectl config view --raw -o json";
    ensure!(
        user.inside(config)? == user.host(config)?,
        "the kubeconfig still tells of it: {}",
        user.kubeconfig.display()
    );
    holds("and your kubeconfig is as it was");
    Ok(())
}
