//! Ports of pods and Services on this machine's loopback, by `kubectl port-forward`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

/// A port-forward that ends when dropped.
#[derive(Debug)]
pub struct Forward {
    child: Child,
    port: u16,
    /// kubectl ends when nobody reads what it says of each connection.
    _output: BufReader<ChildStdout>,
}

impl Forward {
    /// Starts `kubectl port-forward` with `args`, over WebSockets or not ("true", "false"), and waits for its port.
    ///
    /// # Panics
    /// It does not say a port.
    #[track_caller]
    pub fn to(kubeconfig: &Path, websocket: &str, args: &[&str]) -> Self {
        let mut child = std::process::Command::new("kubectl")
            .args(["port-forward", "--address=127.0.0.1"])
            .args(args)
            .env("KUBECONFIG", kubeconfig)
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websocket)
            .stdout(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("kubectl says its port");
        let port = line
            .strip_prefix("Forwarding from 127.0.0.1:")
            .and_then(|rest| rest.split_once(' '))
            .and_then(|(port, _)| port.parse().ok());
        Self {
            port: port.expect("kubectl says the port"),
            child,
            _output: output,
        }
    }

    /// The port of 127.0.0.1 that leads there.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
