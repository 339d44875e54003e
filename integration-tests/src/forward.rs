//! Ports of pods and Services on this machine's loopback, by `kubectl port-forward`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::eventually::DEADLINE;

/// A port-forward that ends when dropped.
#[derive(Debug)]
pub struct Forward {
    /// Its end is the end of the process: from the first moment on, whatever comes of it.
    _child: Running,
    port: u16,
    /// kubectl ends when nobody reads what it says of each connection.
    _output: BufReader<ChildStdout>,
}

/// A process that is killed when dropped.
#[derive(Debug)]
struct Running(Child);

impl Forward {
    /// Starts `kubectl port-forward` with `args`, over WebSockets or not ("true", "false"), and waits for its port.
    ///
    /// # Panics
    /// It does not say a port.
    #[track_caller]
    pub fn to(kubeconfig: &Path, websocket: &str, args: &[&str]) -> Self {
        let mut kubectl = Command::new("kubectl");
        kubectl
            .args(["port-forward", "--address=127.0.0.1"])
            .args(args)
            .env("KUBECONFIG", kubeconfig)
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websocket);
        Self::by(&mut kubectl, DEADLINE)
            .unwrap_or_else(|error| panic!("port-forward {args:?}: {error}"))
    }

    fn by(command: &mut Command, deadline: Duration) -> Result<Self, String> {
        let started = command.stdout(Stdio::piped()).spawn();
        let mut child = Running(started.map_err(|error| error.to_string())?);
        let mut output = BufReader::new(child.0.stdout.take().ok_or("it has no output")?);
        let (said, line) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let read = output.read_line(&mut line);
            // Nobody listens any more where it was too late.
            let _ = said.send(read.map(|_| (line, output)));
        });
        let (line, output) = line
            .recv_timeout(deadline)
            .map_err(|_late| format!("says nothing for {deadline:?}"))?
            .map_err(|error| error.to_string())?;
        let port = line
            .strip_prefix("Forwarding from 127.0.0.1:")
            .and_then(|rest| rest.split_once(' '))
            .and_then(|(port, _)| port.parse().ok());
        Ok(Self {
            port: port.ok_or_else(|| format!("says no port, but {line:?}"))?,
            _child: child,
            _output: output,
        })
    }

    /// The port of 127.0.0.1 that leads there.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A shell that notes its process id, and then does this.
    fn shell(folder: &Path, script: &str) -> (Command, std::path::PathBuf) {
        let file = folder.join("pid");
        let mut command = Command::new("sh");
        command.args(["-c", &format!("echo $$ > {}; {script}", file.display())]);
        (command, file)
    }

    #[test]
    fn one_that_says_no_port_or_nothing_is_told_and_ended() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let says = |script: &str, deadline: Duration, told: &str| {
            let (mut command, file) = shell(folder.path(), script);
            let error = Forward::by(&mut command, deadline).expect_err("it is no port-forward");
            assert!(error.contains(told), "{error}");
            let pid = fs::read_to_string(&file).unwrap_or_default();
            if !pid.is_empty() {
                assert!(!Path::new("/proc").join(pid.trim()).exists(), "{pid} runs");
            }
        };
        says(
            "echo Unauthorized; exec sleep 600",
            DEADLINE,
            "says no port",
        );
        says("exec sleep 600", Duration::from_millis(300), "says nothing");
        says("exit 1", DEADLINE, "says no port");
    }

    #[test]
    fn one_that_says_its_port_runs_until_it_is_dropped() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = "echo 'Forwarding from 127.0.0.1:4711 -> 80'; exec sleep 600";
        let (mut command, file) = shell(folder.path(), script);
        let forward = Forward::by(&mut command, DEADLINE).expect("it says a port");
        assert_eq!(forward.port(), 4711);
        let pid = fs::read_to_string(&file).expect("written before");
        let process = Path::new("/proc").join(pid.trim());
        assert!(process.exists());
        drop(forward);
        assert!(!process.exists());
    }
}
