//! Brings archives into a cluster's containerd: only those whose names it lacks, two at a time.

use std::{collections::BTreeSet, process::Command, sync::Mutex, thread};

use anyhow::{Context as _, Result, anyhow};

use super::Archived;
use crate::{cluster::Runtime, command, output::Progress};

/// As many as there are cores to unpack on in the smallest machine this is for.
const AT_ONCE: usize = 2;

/// Imports what is missing.
///
/// # Errors
/// containerd does not answer, or refuses an archive.
pub fn import(runtime: &Runtime, images: &[Archived], progress: &Progress) -> Result<()> {
    let present = names(runtime)?;
    let missing = |image: &&Archived| !image.names.iter().all(|name| present.contains(name));
    let queue = Mutex::new(images.iter().filter(missing).collect::<Vec<_>>());
    let next = || queue.lock().ok()?.pop();
    let work = || -> Result<()> {
        while let Some(image) = next() {
            let mut ctr = ctr(runtime);
            ctr.args(["images", "import"]).arg(&image.path);
            command::run(&mut ctr).with_context(|| format!("cannot import {:?}", image.names))?;
            progress.step(format_args!("imported {}", image.names.join(", ")));
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, Result<()>>| {
            worker
                .join()
                .map_err(|_panic| anyhow!("an import panicked"))?
        };
        workers.into_iter().map(join).collect::<Result<Vec<()>>>()
    })?;
    Ok(())
}

/// Every name containerd knows.
fn names(runtime: &Runtime) -> Result<BTreeSet<String>> {
    let listed = command::stdout(ctr(runtime).args(["images", "ls", "-q"]))?;
    Ok(listed.lines().map(str::to_owned).collect())
}

fn ctr(runtime: &Runtime) -> Command {
    let mut ctr = Command::new(&runtime.ctr);
    ctr.arg("--address")
        .arg(&runtime.socket)
        .args(["--namespace", "k8s.io"]);
    ctr
}
