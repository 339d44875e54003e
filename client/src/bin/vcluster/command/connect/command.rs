//! `vcluster connect NAME -- COMMAND`: one command with a kubeconfig of its own.
//!
//! The kubeconfig lives in a private folder as long as the command does. The command's exit code
//! becomes ours; signals that reach us are passed on, and we leave only after the command.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    io::{self, IsTerminal as _, Write as _},
    os::unix::{fs::OpenOptionsExt as _, process::ExitStatusExt as _},
    process::ExitStatus,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

use crate::{
    exit::Exit,
    failure::{Failure, Result},
};

/// Runs it with `kubeconfig` as its only kubeconfig.
pub(super) async fn run(command: &[OsString], kubeconfig: &str) -> Result {
    let Some((program, args)) = command.split_first() else {
        return Ok(());
    };
    // Its mode is 0700, and dropping it removes it.
    let folder = tempfile::Builder::new().prefix("vcluster-").tempdir()?;
    let path = folder.path().join("kubeconfig");
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?
        .write_all(kubeconfig.as_bytes())?;
    // Caught before the child exists, so that no signal can end us and leave the folder.
    let signals = Signals::new()?;
    let child = Command::new(program)
        .args(args)
        .env("KUBECONFIG", &path)
        .spawn()
        .map_err(|error| {
            let exit = if error.kind() == io::ErrorKind::NotFound {
                Exit::CommandNotFound
            } else {
                Exit::NotExecutable
            };
            Failure::of(exit, error)
                .context(format!("the command {} cannot be run", program.display()))
        })?;
    let status = signals.wait(child).await?;
    folder.close()?;
    match code(status) {
        0 => Ok(()),
        code => Err(Failure::silent(code)),
    }
}

/// As a shell: the command's own code, or 128 and the signal's number.
fn code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(Exit::Unexpected.code())
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    async fn wait(mut self, mut child: Child) -> io::Result<ExitStatus> {
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        // What is typed at a terminal reaches the command as well as us: both are in the
        // foreground group. Passing it on would interrupt the command twice.
        let typed = io::stdin().is_terminal();
        loop {
            let passed_on = tokio::select! {
                status = child.wait() => return status,
                _ = self.terminate.recv() => Some(Signal::TERM),
                _ = self.hang_up.recv() => Some(Signal::HUP),
                _ = self.interrupt.recv() => (!typed).then_some(Signal::INT),
                _ = self.quit.recv() => (!typed).then_some(Signal::QUIT),
            };
            if let (Some(pid), Some(signal)) = (pid, passed_on) {
                // The child has not been waited for, so the id is still its own.
                let _ = kill_process(pid, signal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        for (raw, expected) in [(0, 0), (3 << 8, 3), (15, 143), (9, 137)] {
            assert_eq!(code(ExitStatus::from_raw(raw)), expected);
        }
    }
}
