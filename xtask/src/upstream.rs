//! The upstream programs the dev cluster runs: which, at which version, and their binaries.
//!
//! The pins stand in `upstream/<project>/go.mod` and nowhere else. One Go module per project keeps
//! their dependency trees apart; `go.sum` makes what is built here what upstream published.

mod build;
mod extra;
mod mend;
mod pins;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow};

pub use pins::Version;

use crate::{addon::AddOn, cache::Cache, command, output::Progress, workspace};

/// A Go module of ours that pins one upstream project.
#[derive(Debug)]
struct Project {
    /// The folder below `upstream/`, and the name in the cache.
    folder: &'static str,
    /// The Go module whose version is the project's version.
    module: &'static str,
    /// Go build tags.
    tags: &'static str,
    /// File name and Go package of each binary.
    binaries: &'static [(&'static str, &'static str)],
    /// Go packages whose `gitVersion` variables say the version; without them servers say v0.0.0.
    versioned: &'static [&'static str],
    /// Changes to its sources.
    mends: &'static [mend::Mend],
}

/// Slowest first: a failure shows early.
const PROJECTS: [Project; 7] = [
    Project {
        folder: "kubernetes",
        module: "k8s.io/kubernetes",
        tags: "",
        binaries: &[
            ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            (
                "kube-controller-manager",
                "k8s.io/kubernetes/cmd/kube-controller-manager",
            ),
            ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
            ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
            ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
            ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
        ],
        versioned: &[
            "k8s.io/component-base/version",
            "k8s.io/client-go/pkg/version",
        ],
        mends: &[],
    },
    Project {
        folder: "etcd",
        module: "go.etcd.io/etcd/server/v3",
        tags: "",
        binaries: &[("etcd", "go.etcd.io/etcd/server/v3")],
        versioned: &[],
        mends: &[],
    },
    Project {
        folder: "containerd",
        module: "github.com/containerd/containerd/v2",
        // Snapshotters that need C headers or kernel modules nobody wants here.
        tags: "no_btrfs no_devmapper no_zfs no_aufs",
        binaries: &[
            (
                "containerd",
                "github.com/containerd/containerd/v2/cmd/containerd",
            ),
            ("ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
            (
                "containerd-shim-runc-v2",
                "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            ),
        ],
        versioned: &[],
        mends: &[],
    },
    Project {
        folder: "kine",
        module: "github.com/k3s-io/kine",
        tags: "",
        binaries: &[("kine", "github.com/k3s-io/kine")],
        versioned: &[],
        mends: &[],
    },
    Project {
        folder: "coredns",
        module: "github.com/coredns/coredns",
        tags: "",
        binaries: &[("coredns", "github.com/coredns/coredns")],
        versioned: &[],
        mends: &[],
    },
    Project {
        folder: "local-path-provisioner",
        module: "github.com/rancher/local-path-provisioner",
        tags: "",
        binaries: &[(
            "local-path-provisioner",
            "github.com/rancher/local-path-provisioner",
        )],
        versioned: &[],
        mends: &mend::LOCAL_PATH,
    },
    Project {
        folder: "helm",
        module: "helm.sh/helm/v4",
        tags: "",
        binaries: &[("helm", "helm.sh/helm/v4/cmd/helm")],
        versioned: &[],
        mends: &[],
    },
];

/// Every binary, in the cache, and every project's version.
#[derive(Debug, Clone)]
pub struct Binaries {
    folders: BTreeMap<&'static str, PathBuf>,
    versions: BTreeMap<&'static str, Version>,
    /// One digest of everything that decides what the binaries are.
    pub fingerprint: String,
}

impl Binaries {
    /// Builds what the cache lacks and says where everything is.
    ///
    /// # Errors
    /// No Go, or a build fails.
    pub fn ensure(cache: &Cache, progress: &Progress) -> Result<Self> {
        Self::collect(&PROJECTS, |project, version| {
            build::ensure(cache, project, version, progress)
        })
    }

    /// Those of an add-on, and of nothing else; builds what the cache lacks.
    ///
    /// # Errors
    /// No Go, or a build fails.
    pub fn of(addon: AddOn, cache: &Cache, progress: &Progress) -> Result<Self> {
        Self::collect(extra::projects(addon), |project, version| {
            build::ensure(cache, project, version, progress)
        })
    }

    /// Where everything is, without building; `None` if something is missing.
    ///
    /// # Errors
    /// No Go, or a pin cannot be read.
    pub fn cached(cache: &Cache) -> Result<Option<Self>> {
        let found = Self::collect(&PROJECTS, |project, version| {
            build::place(cache, project, version)
        })?;
        Ok(found
            .folders
            .values()
            .all(|folder| folder.is_dir())
            .then_some(found))
    }

    fn collect(
        projects: &[Project],
        place: impl Fn(&Project, &Version) -> Result<PathBuf>,
    ) -> Result<Self> {
        let (mut folders, mut versions) = (BTreeMap::new(), BTreeMap::new());
        for project in projects {
            let version = pins::read(&module_folder(project), project.module)?;
            let folder = place(project, &version)?;
            for (name, _) in project.binaries {
                folders.insert(*name, folder.clone());
            }
            versions.insert(project.folder, version);
        }
        let names: Vec<_> = folders
            .values()
            .filter_map(|folder| folder.file_name())
            .collect();
        let fingerprint = crate::images::digest(format!("{names:?}").as_bytes());
        Ok(Self {
            folders,
            versions,
            fingerprint,
        })
    }

    /// The path of the binary called `name`.
    ///
    /// # Errors
    /// No project has such a binary.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folders.get(name);
        Ok(folder
            .ok_or_else(|| anyhow!("no upstream project builds {name}"))?
            .join(name))
    }

    /// The version of the project in `upstream/<folder>`.
    ///
    /// # Errors
    /// There is no such project.
    pub fn version(&self, folder: &str) -> Result<&Version> {
        self.versions
            .get(folder)
            .with_context(|| format!("no upstream project {folder}"))
    }

    /// Every project's version.
    pub fn versions(&self) -> &BTreeMap<&'static str, Version> {
        &self.versions
    }

    /// The folders to put on a PATH.
    pub fn folders(&self) -> Vec<&Path> {
        let mut folders: Vec<&Path> = self.folders.values().map(PathBuf::as_path).collect();
        folders.sort_unstable();
        folders.dedup();
        folders
    }
}

/// The sources of an add-on's upstream project, as Go keeps them; fetches them if they are not there.
///
/// # Errors
/// It has none, or Go cannot have them.
pub fn sources(addon: AddOn) -> Result<PathBuf> {
    let project = extra::projects(addon)
        .first()
        .with_context(|| format!("{} has no upstream project", addon.name()))?;
    module_sources(project)
}

fn module_sources(project: &Project) -> Result<PathBuf> {
    let mut go = Command::new("go");
    go.args(["mod", "download", "-json", project.module])
        .current_dir(module_folder(project));
    let told: serde_json::Value = serde_json::from_str(&command::stdout(&mut go)?)?;
    let folder = told["Dir"].as_str();
    Ok(PathBuf::from(folder.context("Go names no folder")?))
}

fn module_folder(project: &Project) -> PathBuf {
    workspace::own("upstream").join(project.folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every() -> impl Iterator<Item = &'static Project> {
        let extra = AddOn::ALL.into_iter().flat_map(extra::projects);
        PROJECTS.iter().chain(extra)
    }

    #[test]
    fn every_project_has_a_pin() {
        for project in every() {
            let version = pins::read(&module_folder(project), project.module).expect("a pin");
            assert!(version.as_str().starts_with('v'), "{version}");
        }
    }

    #[test]
    fn every_package_we_build_is_imported_by_its_module() {
        for project in every() {
            let file = module_folder(project).join("upstream.go");
            let text = std::fs::read_to_string(file).unwrap_or_default();
            for (_, package) in project.binaries {
                let is_ours = package.starts_with("vcluster.dev/");
                let is_imported = text.contains(&format!("\"{package}\""));
                assert!(is_ours || is_imported, "{package}");
            }
        }
    }
}
