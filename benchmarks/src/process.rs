//! Programs that a run starts, and what the kernel says they cost.
//!
//! Each is the leader of a process group that is killed when its value is dropped, and dies with this process
//! however that ends (`setpriv --pdeathsig`).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::time::Instant;

/// How long a program may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// A program that runs.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it says goes to `NAME.log` in `folder`.
    pub(crate) fn start(
        name: &str,
        program: &Path,
        args: impl IntoIterator<Item = String>,
        folder: &Path,
    ) -> Result<Self> {
        use std::os::unix::process::CommandExt as _;
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(args)
            // The end of its log is to say why it ended, not from where.
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails with the end of its log if it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else {
            return Ok(());
        };
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = said.lines().rev().take(15).collect();
        let said: Vec<&str> = lines.into_iter().rev().collect();
        anyhow::bail!("{} has ended ({status}):\n{}", self.name, said.join("\n"))
    }

    /// Asks it to end and waits; kills it if that takes long.
    pub(crate) async fn stop(mut self) {
        self.signal(Signal::TERM);
        let until = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Has it do nothing at all until [`Self::resume`].
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Has it go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it without a chance to say farewell.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended.
            let _ended = kill_process_group(group, signal);
        }
    }

    fn end(&mut self) {
        // A group whose leader was waited for may be another's by now.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::KILL);
            drop(self.child.wait());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Seconds of CPU that a process has used; nothing if it is gone.
pub(crate) fn cpu_of(pid: u32) -> f64 {
    cpu(&fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default())
}

/// Bytes of memory that are a process's own or shared in proportion (PSS).
pub(crate) fn memory_of(pid: u32) -> u64 {
    memory(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default())
}

/// The most bytes of memory that a process has had.
pub(crate) fn peak_of(pid: u32) -> u64 {
    kib(
        &fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(),
        "VmHWM:",
    ) * 1024
}

/// Open descriptors of a process.
pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

fn cpu(stat: &str) -> f64 {
    // The name in brackets may hold anything, even brackets.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks = |index| -> f64 {
        let field = after.split_whitespace().nth(index);
        field.and_then(|field| field.parse().ok()).unwrap_or(0.0)
    };
    #[expect(clippy::cast_precision_loss, reason = "it is 100")]
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    (ticks(11) + ticks(12)) / per_second
}

fn memory(rollup: &str) -> u64 {
    kib(rollup, "Pss:") * 1024
}

/// The number of a line such as `Pss:  7 kB`.
fn kib(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_whatever_the_program_is_called() {
        let stat = "12 (a) b (c) S 1 12 12 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 9 0 1 1 1";
        assert!((cpu(stat) - 2.0).abs() < 1e-9);
        assert!(cpu("").abs() < 1e-9);
    }

    #[test]
    fn memory_is_the_proportional_share() {
        assert_eq!(
            memory("Rss: 9 kB\nPss:     7 kB\nPss_Dirty: 1 kB\n"),
            7 * 1024
        );
    }
}
