//! A user's machine: a home folder with a kubeconfig, a host cluster and a gateway.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::process::Command;

use super::{
    gateway::{Authority, Gateway},
    host,
};

pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) address: String,
    pub(crate) authority: Authority,
    pub(crate) home: TempDir,
}

/// How a run of the command ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    /// Everything in its place.
    pub(crate) async fn new() -> Self {
        Self::build(true).await
    }

    /// A host cluster that names no gateway.
    pub(crate) async fn without_gateway() -> Self {
        Self::build(false).await
    }

    async fn build(installed: bool) -> Self {
        // tonic's server takes the process's provider.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let authority = Authority::new();
        let host_authority = Authority::new();
        let gateway = Gateway::default();
        let address = gateway.serve(&authority, &host_authority).await;
        let map = installed.then(|| (address.clone(), authority.pem()));
        let server = host::serve(&host_authority, map).await;
        let home = tempfile::tempdir().expect("a temporary folder");
        let world = Self {
            gateway,
            address,
            authority,
            home,
        };
        world.write_kubeconfig(&server, &host_authority);
        world
    }

    fn write_kubeconfig(&self, server: &str, authority: &Authority) {
        let folder = self.home.path().join(".kube");
        fs::create_dir_all(&folder).expect("it can be made");
        fs::write(folder.join("ca.crt"), authority.pem()).expect("it can be written");
        let (chain, key) = authority.sign("alice");
        fs::write(folder.join("alice.crt"), chain).expect("it can be written");
        fs::write(folder.join("alice.key"), key).expect("it can be written");
        let token = host::TOKEN;
        let text = format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: host\n  cluster: {{server: '{server}', certificate-authority: ca.crt}}\n\
             contexts:\n\
             - {{name: dev, context: {{cluster: host, user: me}}}}\n\
             - {{name: cert, context: {{cluster: host, user: alice}}}}\n\
             users:\n\
             - {{name: me, user: {{token: {token}}}}}\n\
             - {{name: alice, user: {{client-certificate: alice.crt, client-key: alice.key}}}}\n\
             current-context: dev\n"
        );
        fs::write(self.kubeconfig(), text).expect("it can be written");
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.home.path().join(".kube/config")
    }

    /// The kubeconfig as it is now.
    pub(crate) fn kubeconfig_json(&self) -> serde_json::Value {
        read_yaml(&self.kubeconfig())
    }

    pub(crate) fn current_context(&self) -> String {
        self.kubeconfig_json()["current-context"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The gateway's CA in a file.
    pub(crate) fn ca_file(&self) -> String {
        let path = self.home.path().join("gateway-ca.crt");
        fs::write(&path, self.authority.pem()).expect("it can be written");
        path.display().to_string()
    }

    /// The command with nothing of this process's environment but the path of programs.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.home.path())
            .env("TMPDIR", self.temporary())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Where the command puts temporary files.
    pub(crate) fn temporary(&self) -> PathBuf {
        let path = self.home.path().join("tmp");
        fs::create_dir_all(&path).expect("it can be made");
        path
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Ended {
        let mut command = self.command(env!("CARGO_BIN_EXE_vcluster"));
        finish(command.args(args)).await
    }
}

pub(crate) fn read_yaml(path: &Path) -> serde_json::Value {
    let text = fs::read_to_string(path).expect("it exists");
    serde_saphyr::from_str(&text).expect("it is YAML")
}

pub(crate) async fn finish(command: &mut Command) -> Ended {
    let run = command.output();
    let output: Output = tokio::time::timeout(Duration::from_mins(1), run)
        .await
        .expect("it ends within a minute")
        .expect("it starts");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Ended {
    /// What it printed, if it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// What it printed, if it ended with this code.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }
}
