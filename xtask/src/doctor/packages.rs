//! Programs and files from Debian's packages.

use std::{
    env, fs,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::Lack;
use crate::{cache::Cache, cluster::Host, command, images::NGINX, output::Progress};

/// A program on the PATH or a file, and the package that has it.
const WANTED: [(&str, &str); 11] = [
    ("nft", "nftables"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("gcc", "gcc"),
    ("openssl", "openssl"),
    ("strip", "binutils"),
    ("ldd", "libc-bin"),
    ("dpkg-deb", "dpkg"),
];

/// Where Debian and upstream put the CNI plugins.
const CNI: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// While it is there, packages do not start their services: we want their files only.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs the missing packages, on Debian and its kin; elsewhere [`lacking`] tells.
pub(super) fn install(progress: &Progress) -> Result<()> {
    let missing = missing();
    if missing.is_empty() || find("apt-get").is_none() {
        return Ok(());
    }
    progress.step(format_args!("apt-get install {}", missing.join(" ")));
    let _policy = Policy::set()?;
    let apt = |args: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-q", "-y"])
            .args(args);
        command::run(&mut apt)
    };
    apt(&["update"]).context("cannot update apt's lists")?;
    apt(&[&["install", "--no-install-recommends"][..], &missing].concat())
        .context("cannot install packages")?;
    progress.step("packages are installed");
    Ok(())
}

/// The packages that are missing now.
pub(super) fn lacking() -> Vec<Lack> {
    let package = |name: &&str| Lack::new(*name, format!("apt-get install {name}"));
    missing().iter().map(package).collect()
}

/// What is missing and does not come as a package.
pub(super) fn not_for_apt(cache: &Cache) -> Vec<Lack> {
    let mut lacks = Vec::new();
    if find("go").is_none() {
        lacks.push(Lack::new(
            "Go",
            "install it from https://go.dev/dl and put it on the PATH",
        ));
    }
    if find("apt-get").is_none() && !cache.path(NGINX).exists() {
        let cure = "use Debian or Ubuntu: the workload image is made of their nginx package";
        lacks.push(Lack::new("apt-get", cure));
    }
    lacks
}

/// Where this machine has what containerd calls.
pub(crate) fn host() -> Result<Host> {
    let runc = find("runc").context("runc is missing: apt-get install runc")?;
    let cni = cni().context("the CNI plugins are missing: install containernetworking-plugins")?;
    Ok(Host {
        runc: runc.display().to_string(),
        cni: cni.display().to_string(),
    })
}

fn missing() -> Vec<&'static str> {
    let absent = WANTED.iter().filter(|(program, _)| find(program).is_none());
    let mut packages: Vec<_> = absent.map(|(_, package)| *package).collect();
    if cni().is_none() {
        packages.push("containernetworking-plugins");
    }
    // The dynamic one needs libraries that an image does not have.
    if !is_static(Path::new("/bin/busybox")) {
        packages.push("busybox-static");
    }
    if !Path::new("/usr/include/signal.h").exists() {
        packages.push("libc6-dev");
    }
    packages
}

fn is_static(program: &Path) -> bool {
    program.exists() && !command::succeeds(Command::new("ldd").arg(program))
}

fn cni() -> Option<PathBuf> {
    CNI.iter()
        .map(PathBuf::from)
        .find(|folder| folder.join("bridge").exists())
}

/// Root's PATH may lack the sbin folders.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// Removes the file again, unless it is somebody else's.
#[derive(Debug)]
struct Policy {
    ours: bool,
}

impl Policy {
    fn set() -> Result<Self> {
        let mut options = fs::OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(POLICY);
        let Ok(mut file) = file else {
            return Ok(Self { ours: false });
        };
        let policy = Self { ours: true };
        // 101: "action not allowed" (invoke-rc.d's policy layer).
        std::io::Write::write_all(&mut file, b"#!/bin/sh\nexit 101\n")
            .with_context(|| format!("cannot write {POLICY}"))?;
        Ok(policy)
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_and_an_absent_one_is_not() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program").is_none());
    }
}
