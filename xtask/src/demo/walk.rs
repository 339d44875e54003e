//! The walk-through: create, connect, deploy, look from both sides, be refused, delete.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::table;
use crate::{
    cluster::Cluster,
    output,
    wait::{Deadline, Stopwatch},
    workspace,
};

/// Name of the virtual cluster.
pub(super) const CLUSTER: &str = "my-vcluster";
/// Its host namespace.
pub(super) const NAMESPACE: &str = "host-namespace-1";

const APP: &str = "demo-nginx";
const DEPLOYMENT: &str = "nginx-deployment";
const PATIENCE: u64 = 120;

const MANIFEST: &str = r#"{"apiVersion":"apps/v1","kind":"Deployment",
"metadata":{"name":"nginx-deployment","namespace":"demo-nginx"},
"spec":{"replicas":2,"selector":{"matchLabels":{"app":"nginx"}},
"template":{"metadata":{"labels":{"app":"nginx"}},
"spec":{"containers":[{"name":"nginx","image":"docker.io/library/nginx:latest","imagePullPolicy":"IfNotPresent"}]}}}}"#;

/// A user at a terminal: a kubeconfig of their own, and the programs on the PATH.
#[derive(Debug)]
pub(super) struct Walk {
    cluster: Cluster,
    path: std::ffi::OsString,
    /// Begins as the host administrator's; `vcluster connect` edits it as it would a user's.
    kubeconfig: PathBuf,
    step: u32,
}

impl Walk {
    pub(super) fn begin(cluster: &Cluster) -> Result<Self> {
        let kubeconfig = cluster.layout.state.join("demo.kubeconfig");
        fs::copy(&cluster.kubeconfig, &kubeconfig)
            .with_context(|| format!("cannot write {}", kubeconfig.display()))?;
        let old = env::var_os("PATH").unwrap_or_default();
        let mut folders = vec![
            cluster.layout.programs(),
            workspace::target()?.join("debug"),
        ];
        folders.extend(env::split_paths(&old));
        let path = env::join_paths(folders).context("a folder's name holds a colon")?;
        Ok(Self {
            cluster: cluster.clone(),
            path,
            kubeconfig,
            step: 0,
        })
    }

    fn title(&mut self, what: &str) {
        self.step += 1;
        output::note(format_args!("\n── {}. {what}", self.step));
    }

    /// Shows the command and runs it as the user would.
    fn run(&self, line: &str) -> Result<Output> {
        output::note(format_args!("   $ {line}"));
        self.quietly(line, &self.kubeconfig, None)
    }

    fn quietly(&self, line: &str, kubeconfig: &PathBuf, input: Option<&str>) -> Result<Output> {
        // As a shell would, of which no command here needs more.
        let mut words = line.split_whitespace().map(|word| word.trim_matches('\''));
        let program = words.next().context("an empty command")?;
        let mut command = Command::new(program);
        command
            .args(words)
            .env("PATH", &self.path)
            .env("KUBECONFIG", kubeconfig);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot run {program}"))?;
        if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
            // A program that ends early is judged by its exit code.
            let _ = std::io::Write::write_all(&mut pipe, input.as_bytes());
        }
        child
            .wait_with_output()
            .with_context(|| format!("cannot wait for {program}"))
    }

    /// Runs a command that must succeed, shows what it printed, and returns that.
    fn ok(&self, line: &str) -> Result<String> {
        let text = succeeded(line, &self.run(line)?)?;
        show(&text);
        Ok(text)
    }

    /// What the host's administrator sees; not part of what is told.
    fn host(&self, line: &str) -> Result<Value> {
        let output = self.quietly(line, &self.cluster.kubeconfig, None)?;
        let text = succeeded(line, &output)?;
        serde_json::from_str(&text).with_context(|| format!("`{line}` printed no JSON: {text}"))
    }

    fn inside(&self, line: &str) -> Result<Value> {
        let text = succeeded(line, &self.quietly(line, &self.kubeconfig, None)?)?;
        serde_json::from_str(&text).with_context(|| format!("`{line}` printed no JSON: {text}"))
    }

    /// Runs a command that must be refused with these words, and shows the refusal.
    fn refused(&self, line: &str, kubeconfig: &PathBuf, words: &[&str]) -> Result<()> {
        output::note(format_args!("   $ {line}"));
        let output = self.quietly(line, kubeconfig, None)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        show(&said);
        ensure!(
            !output.status.success(),
            "this should have been refused: {line}"
        );
        for word in words {
            ensure!(said.contains(word), "the refusal should say {word:?}");
        }
        Ok(())
    }
}

/// The way there, up to the last look.
pub(super) fn tell(walk: &mut Walk) -> Result<()> {
    remove_earlier(walk)?;
    create(walk)?;
    connect(walk)?;
    deploy(walk)?;
    look_from_the_host(walk)?;
    be_admin_inside_and_a_stranger_outside(walk)?;
    be_refused(walk)
}

/// Removes what a demo that was told before has kept.
fn remove_earlier(walk: &Walk) -> Result<()> {
    let line = format!("vcluster get {CLUSTER} -n {NAMESPACE} --quiet");
    if !walk
        .quietly(&line, &walk.kubeconfig, None)?
        .status
        .success()
    {
        return Ok(());
    }
    output::note(format_args!(
        "\n{CLUSTER} of an earlier demo is removed first, with what is in it"
    ));
    walk.ok(&format!(
        "vcluster delete {CLUSTER} -n {NAMESPACE} --ignore-not-found"
    ))
    .map(drop)
}

fn create(walk: &mut Walk) -> Result<()> {
    walk.title("A virtual cluster for one tenant");
    let clock = Stopwatch::start();
    walk.ok(&format!(
        "vcluster create {CLUSTER} -n {NAMESPACE} --timeout 180s"
    ))?;
    holds(format_args!(
        "it is ready, {:.1} s after the command",
        clock.seconds()
    ));
    Ok(())
}

fn connect(walk: &mut Walk) -> Result<()> {
    walk.title("Into it, through the gateway: no port-forward, no process left behind");
    walk.ok(&format!("vcluster connect {CLUSTER} -n {NAMESPACE}"))?;
    walk.ok("kubectl get namespaces")?;
    let namespaces = names(&walk.inside("kubectl get namespaces -o json")?);
    let fresh = ["default", "kube-node-lease", "kube-public", "kube-system"];
    ensure!(
        namespaces == fresh,
        "a fresh cluster has {fresh:?}, this one {namespaces:?}"
    );
    holds("it is a fresh cluster with its own namespaces");
    Ok(())
}

fn deploy(walk: &mut Walk) -> Result<()> {
    walk.title("A deployment in it, with plain kubectl");
    walk.ok(&format!("kubectl create namespace {APP}"))?;
    output::note(format_args!(
        "   $ kubectl apply -f - <<'EOF'\n{MANIFEST}\nEOF"
    ));
    let clock = Stopwatch::start();
    let applied = walk.quietly("kubectl apply -f -", &walk.kubeconfig, Some(MANIFEST))?;
    show(&succeeded("kubectl apply -f -", &applied)?);
    walk.ok(&format!(
        "kubectl -n {APP} rollout status deployment/{DEPLOYMENT} --timeout={PATIENCE}s"
    ))?;
    holds(format_args!(
        "two replicas run, {:.1} s after they were applied",
        clock.seconds()
    ));
    walk.ok(&format!("kubectl -n {APP} get pods -o wide"))?;
    Ok(())
}

fn look_from_the_host(walk: &mut Walk) -> Result<()> {
    walk.title("The same from the host");
    let namespaces = names(&walk.host("kubectl get namespaces -o json")?);
    ensure!(
        !namespaces.iter().any(|name| name == APP),
        "the host has a namespace {APP}"
    );
    holds(format_args!("there is no namespace {APP}"));
    let deployments = names(&walk.host("kubectl get deployments -A -o json")?);
    ensure!(
        !deployments.iter().any(|name| name == DEPLOYMENT),
        "the host has {DEPLOYMENT}"
    );
    holds(format_args!("there is no deployment {DEPLOYMENT}"));

    let inside = names(&walk.inside(&format!("kubectl -n {APP} get pods -o json"))?);
    let outside = names(&walk.host(&format!("kubectl -n {NAMESPACE} get pods -o json"))?);
    let mut expected: Vec<String> = inside
        .iter()
        .map(|name| format!("{name}-x-{APP}-x-{CLUSTER}"))
        .collect();
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
        "their pods are, under rewritten names, beside the control plane's pod, its DNS server and \
         nothing else",
    );
    let titled = |text: &[String]| {
        text.iter()
            .map(|name| format!("pod/{name}"))
            .collect::<Vec<_>>()
    };
    output::note("");
    output::note(table::side_by_side(
        (&format!("in {CLUSTER}, namespace {APP}"), &titled(&inside)),
        (
            &format!("on the host, namespace {NAMESPACE}"),
            &titled(&outside),
        ),
    ));
    Ok(())
}

fn be_admin_inside_and_a_stranger_outside(walk: &mut Walk) -> Result<()> {
    walk.title("Admin inside, a stranger outside");
    let may = walk.ok("kubectl auth can-i '*' '*'")?;
    ensure!(
        may.trim() == "yes",
        "the creator is no administrator inside"
    );
    holds("you may do everything inside");
    let config = walk.inside("kubectl config view --raw --minify -o json")?;
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
    let credential = walk.inside(&line)?;
    let token = credential["status"]["token"]
        .as_str()
        .context("no token in the credential")?;
    let stranger = with_token(walk, "stranger", token)?;
    walk.refused("kubectl get pods", &stranger, &["You must be logged in"])?;
    holds("the host does not know the credential that is good inside");
    Ok(())
}

fn be_refused(walk: &mut Walk) -> Result<()> {
    walk.title("Another user, without the right");
    let make = "kubectl -n default create serviceaccount jane";
    let made = walk.quietly(make, &walk.cluster.kubeconfig, None)?;
    // Told before, on a cluster that was kept.
    if !String::from_utf8_lossy(&made.stderr).contains("already exists") {
        succeeded(make, &made)?;
    }
    let mint = "kubectl -n default create token jane";
    let token = succeeded(mint, &walk.quietly(mint, &walk.cluster.kubeconfig, None)?)?;
    let jane = with_token(walk, "jane", token.trim())?;
    let line = format!("vcluster connect {CLUSTER} -n {NAMESPACE}");
    walk.refused(&line, &jane, &["jane", CLUSTER])?;
    holds("she is refused, and told what she lacks");
    Ok(())
}

/// Deletes the virtual cluster, and sees that nothing of it is left.
pub(super) fn remove(walk: &mut Walk) -> Result<()> {
    walk.title("Deleted, and nothing is left");
    walk.ok("vcluster disconnect")?;
    walk.ok(&format!(
        "vcluster delete {CLUSTER} -n {NAMESPACE} --timeout {PATIENCE}s"
    ))?;
    Deadline::seconds(PATIENCE).poll("everything of it is gone", || {
        let namespaces = names(&walk.host("kubectl get namespaces -o json")?);
        let volumes = walk.host("kubectl get persistentvolumes -o json")?;
        let clusters = names(&walk.host("kubectl get virtualclusters -A -o json")?);
        let gone = !namespaces.iter().any(|name| name == NAMESPACE)
            && names(&volumes).is_empty()
            && clusters.is_empty();
        Ok(gone.then_some(()))
    })?;
    holds("its namespace, pods, secrets and volume are gone");
    let contexts = succeeded(
        "kubectl config get-contexts -o name",
        &walk.quietly(
            "kubectl config get-contexts -o name",
            &walk.kubeconfig,
            None,
        )?,
    )?;
    ensure!(
        !contexts.contains(CLUSTER),
        "the kubeconfig still has a context of it: {contexts}"
    );
    holds("and your kubeconfig is as it was");
    Ok(())
}

/// The host's address with another token.
fn with_token(walk: &Walk, name: &str, token: &str) -> Result<PathBuf> {
    let mut config = walk.host("kubectl config view --raw --flatten --minify -o json")?;
    config["users"][0]["user"] = serde_json::json!({"token": token});
    let path = walk.cluster.layout.state.join(format!("{name}.kubeconfig"));
    fs::write(&path, config.to_string())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn succeeded(line: &str, output: &Output) -> Result<String> {
    if !output.status.success() {
        bail!(
            "`{line}`: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut names: Vec<String> = items
        .iter()
        .filter_map(|item| Some(item["metadata"]["name"].as_str()?.to_owned()))
        .collect();
    names.sort_unstable();
    names
}

fn show(text: &str) {
    for line in text.trim_end().lines() {
        output::note(format_args!("     {line}"));
    }
}

fn holds(statement: impl std::fmt::Display) {
    output::note(format_args!("   ✓ {statement}"));
}
