//! What people do with a cluster every day: reach a Service, read logs, run a command, keep data.

use anyhow::{Context as _, Result, ensure};

use super::PATIENCE;
use crate::demo::terminal::{Terminal, holds};

/// A pod that one can work in, and a volume that is not the pod's.
const NOTEBOOK: &str = "\
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: notes
spec:
  accessModes: [ReadWriteOnce]
  resources:
    requests: {storage: 16Mi}
---
apiVersion: v1
kind: Pod
metadata:
  name: notebook
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: shell
      image: docker.io/library/busybox:latest
      imagePullPolicy: IfNotPresent
      command: [sleep, infinity]
      volumeMounts:
        - name: notes
          mountPath: /notes
  volumes:
    - name: notes
      persistentVolumeClaim: {claimName: notes}
";
const NOTE: &str = "buy more nodes";
const READ: &str = "kubectl exec notebook -- cat /notes/todo";

/// Another pod, which reaches the Service by its name.
pub(super) fn find_by_name(user: &mut Terminal) -> Result<()> {
    user.title("Another pod finds the Service by its name");
    user.apply(NOTEBOOK)?;
    ready(user)?;
    let page = user.ok("kubectl exec notebook -- wget -q -O - http://web")?;
    ensure!(
        page.contains("Welcome to nginx"),
        "http://web answers something else: {page}"
    );
    holds("the cluster's own DNS server knows the name, and the Service leads to nginx");
    user.refused(
        "kubectl exec notebook -- nslookup vcluster-sync.vcluster-system.svc.cluster.local",
        &user.kubeconfig,
        &["NXDOMAIN"],
    )?;
    holds("and it knows no name of the host's Services");
    Ok(())
}

/// The request that was just made, in the logs of the replicas.
pub(super) fn see_logs(user: &mut Terminal) -> Result<()> {
    user.title("Logs, as on any cluster");
    user.until(
        "kubectl logs --selector=app=nginx --prefix --tail=1",
        "\"GET / HTTP/1.1\" 200",
    )?;
    holds("the request of a moment ago is in the log of the replica that answered it");
    Ok(())
}

/// What one pod writes, the next one reads.
pub(super) fn keep_data(user: &mut Terminal) -> Result<()> {
    user.title("Data outlive their pod");
    user.ok(&format!(
        "kubectl exec notebook -- sh -c 'echo {NOTE} > /notes/todo'"
    ))?;
    let first = uid(user)?;
    user.ok("kubectl delete pod notebook")?;
    user.apply_again(NOTEBOOK)?;
    ready(user)?;
    ensure!(uid(user)? != first, "it is the same pod");
    let note = user.ok(READ)?;
    ensure!(note.trim() == NOTE, "the new pod reads {note:?}");
    holds("a new pod reads what the old one wrote");
    user.ok("kubectl get persistentvolumeclaims,persistentvolumes")?;
    Ok(())
}

fn ready(user: &Terminal) -> Result<()> {
    user.ok(&format!(
        "kubectl wait --for=condition=Ready pod/notebook --timeout={PATIENCE}s"
    ))
    .map(drop)
}

fn uid(user: &Terminal) -> Result<String> {
    let pod = user.inside("kubectl get pod notebook -o json")?;
    let uid = pod["metadata"]["uid"].as_str();
    Ok(uid.context("the pod has no UID")?.to_owned())
}
