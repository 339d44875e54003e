//! etcd and kube-apiserver, as processes on loopback with real TLS.

use std::fs;
use std::net::TcpListener;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustls::ClientConfig;
use tokio::time::Instant;

use crate::args::Programs;
use crate::client::Client;
use crate::pki::{self, Authority};
use crate::process::Process;

/// How long a server may take to start: many do at once.
const STARTING: Duration = Duration::from_mins(4);
/// How often it is asked whether it has.
const AGAIN: Duration = Duration::from_millis(200);

/// What every server of a run shares.
pub(crate) struct Ground {
    pub(crate) programs: Programs,
    pub(crate) folder: PathBuf,
    pub(crate) authority: Authority,
    pub(crate) admin_tls: Arc<ClientConfig>,
    pub(crate) anonymous_tls: Arc<ClientConfig>,
    pub(crate) fsync: bool,
}

impl Ground {
    /// Makes the certificates and writes those that servers read.
    pub(crate) fn new(programs: Programs, folder: PathBuf, fsync: bool) -> Result<Self> {
        let authority = Authority::mint()?;
        let server = authority.issue("server", None)?;
        let admin = authority.issue("benchmark", Some("system:masters"))?;
        let (signing, verifying) = pki::signing()?;
        for (file, pem) in [
            ("ca.crt", &authority.certificate),
            ("server.crt", &server.certificate),
            ("server.key", &server.key),
            ("admin.crt", &admin.certificate),
            ("admin.key", &admin.key),
            ("sa.key", &signing),
            ("sa.pub", &verifying),
        ] {
            fs::write(folder.join(file), pem)?;
        }
        Ok(Self {
            admin_tls: authority.client(Some(&admin))?,
            anonymous_tls: authority.client(None)?,
            programs,
            folder,
            authority,
            fsync,
        })
    }

    /// A file of the run.
    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

/// Ports below those that the kernel gives to whoever asks for any (`ip_local_port_range`): none of the run's thousands of
/// connections takes one of them before its server listens.
const PORTS: Range<u16> = 20_000..32_000;

/// A port that nobody listens on, and that was not told before.
pub(crate) fn free_port() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Another run beside this one begins elsewhere.
    let begin = process::id().wrapping_mul(101);
    for _ in PORTS {
        let step = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(begin);
        let port = PORTS.start + u16::try_from(step % u32::from(PORTS.end - PORTS.start))?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port from {} to {} is free", PORTS.start, PORTS.end - 1)
}

/// Starts etcd; tells its port.
pub(crate) fn etcd(ground: &Ground, name: &str) -> Result<(Process, u16)> {
    let (client, peer) = (free_port()?, free_port()?);
    let [client_url, peer_url] = [client, peer].map(|port| format!("http://127.0.0.1:{port}"));
    let mut args = vec![
        format!("--data-dir={}", ground.file(name)),
        format!("--listen-client-urls={client_url}"),
        format!("--advertise-client-urls={client_url}"),
        format!("--listen-peer-urls={peer_url}"),
        format!("--initial-advertise-peer-urls={peer_url}"),
        format!("--initial-cluster=default={peer_url}"),
        "--quota-backend-bytes=4294967296".to_owned(),
        "--log-level=error".to_owned(),
    ];
    if !ground.fsync {
        args.push("--unsafe-no-fsync".to_owned());
    }
    let process = Process::start(name, &ground.programs.etcd, args, &ground.folder)?;
    Ok((process, client))
}

/// A kube-apiserver.
pub(crate) struct ApiServer {
    pub(crate) process: Process,
    pub(crate) port: u16,
}

impl ApiServer {
    /// Starts one whose objects are below `/NAME` of the etcd at `store`.
    pub(crate) fn start(ground: &Ground, name: &str, store: u16, services: &str) -> Result<Self> {
        let port = free_port()?;
        let file = |name: &str| ground.file(name);
        let args = [
            format!("--etcd-servers=http://127.0.0.1:{store}"),
            format!("--etcd-prefix=/{name}"),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--cert-dir={}", file(&format!("{name}-certificates"))),
            format!("--tls-cert-file={}", file("server.crt")),
            format!("--tls-private-key-file={}", file("server.key")),
            format!("--client-ca-file={}", file("ca.crt")),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            format!("--service-account-key-file={}", file("sa.pub")),
            format!("--service-account-signing-key-file={}", file("sa.key")),
            format!("--service-cluster-ip-range={services}"),
            "--allow-privileged=true".to_owned(),
            "--profiling=false".to_owned(),
        ];
        let program = ground.programs.kubernetes.join("kube-apiserver");
        let process = Process::start(name, &program, args, &ground.folder)?;
        Ok(Self { process, port })
    }

    /// Waits until it is ready; connects as an administrator.
    pub(crate) async fn ready(&mut self, ground: &Ground) -> Result<Client> {
        ready(&mut self.process, self.port, &ground.admin_tls).await
    }
}

/// Waits until the server at `port` says that it is ready.
pub(crate) async fn ready(
    process: &mut Process,
    port: u16,
    tls: &Arc<ClientConfig>,
) -> Result<Client> {
    let until = Instant::now() + STARTING;
    loop {
        process.check()?;
        if let Ok(client) = Client::connect(port, tls).await
            && client.get_bytes("/readyz").await.is_ok()
        {
            return Ok(client);
        }
        ensure!(
            Instant::now() < until,
            "{} does not become ready",
            process.name
        );
        tokio::time::sleep(AGAIN).await;
    }
}

/// Waits until `path` exists, and reads it.
pub(crate) async fn appears(path: &Path, process: &mut Process) -> Result<String> {
    let until = Instant::now() + STARTING;
    loop {
        if let Ok(text) = fs::read_to_string(path) {
            return Ok(text);
        }
        process.check()?;
        ensure!(Instant::now() < until, "{} does not appear", path.display());
        tokio::time::sleep(AGAIN).await;
    }
}

/// Runs a program to its end with `input`; fails with what it said.
pub(crate) fn run(program: &Path, args: &[&str], input: &str) -> Result<String> {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_owned();
        // While its output is read. A program that ends before it has read everything says why with its status.
        std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", program.display());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
