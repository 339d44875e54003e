//! What the process's environment says. Read once, by clap, and handed on.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use clap::Args;
use vcluster_client::kubeconfig::sources;

/// Environment variables. None of them is an option on the command line.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Environment {
    #[arg(
        id = "env-kubeconfig",
        long = "env-kubeconfig",
        env = "KUBECONFIG",
        hide = true
    )]
    kubeconfig: Option<OsString>,
    #[arg(id = "env-home", long = "env-home", env = "HOME", hide = true)]
    home: Option<PathBuf>,
    #[arg(
        id = "env-config",
        long = "env-config",
        env = "VCLUSTER_CONFIG",
        hide = true
    )]
    config: Option<PathBuf>,
    #[arg(
        id = "env-config-home",
        long = "env-config-home",
        env = "XDG_CONFIG_HOME",
        hide = true
    )]
    config_home: Option<PathBuf>,
    #[arg(
        id = "env-cache-home",
        long = "env-cache-home",
        env = "XDG_CACHE_HOME",
        hide = true
    )]
    cache_home: Option<PathBuf>,
    #[arg(id = "env-path", long = "env-path", env = "PATH", hide = true)]
    path: Option<OsString>,
    #[arg(
        id = "env-traceparent",
        long = "env-traceparent",
        env = "TRACEPARENT",
        hide = true
    )]
    pub(crate) traceparent: Option<String>,
    #[arg(
        id = "env-no-color",
        long = "env-no-color",
        env = "NO_COLOR",
        hide = true
    )]
    pub(crate) no_color: Option<OsString>,
    #[arg(
        id = "env-force-color",
        long = "env-force-color",
        env = "CLICOLOR_FORCE",
        hide = true
    )]
    pub(crate) force_color: Option<OsString>,
    #[arg(id = "env-term", long = "env-term", env = "TERM", hide = true)]
    pub(crate) term: Option<OsString>,
}

/// A set variable that is empty counts as unset, as everywhere in Kubernetes.
fn set(path: Option<&PathBuf>) -> Option<&Path> {
    path.map(PathBuf::as_path)
        .filter(|path| !path.as_os_str().is_empty())
}

impl Environment {
    /// The kubeconfig files in effect without `--kubeconfig`, in order of precedence.
    pub(crate) fn kubeconfig(&self) -> Vec<PathBuf> {
        let listed = self
            .kubeconfig
            .as_deref()
            .map(sources::split)
            .unwrap_or_default();
        if !listed.is_empty() {
            return listed;
        }
        set(self.home.as_ref())
            .map(|home| home.join(".kube/config"))
            .into_iter()
            .collect()
    }

    /// The config file, and whether it was named rather than assumed.
    pub(crate) fn config(&self) -> Option<(PathBuf, bool)> {
        if let Some(named) = set(self.config.as_ref()) {
            return Some((named.to_owned(), true));
        }
        let folder = self.below(self.config_home.as_ref(), ".config")?;
        Some((folder.join("vcluster/config.yaml"), false))
    }

    /// Folder for cached credentials.
    pub(crate) fn cache(&self) -> Option<PathBuf> {
        Some(
            self.below(self.cache_home.as_ref(), ".cache")?
                .join("vcluster"),
        )
    }

    /// Whether a bare `name` leads to `program`.
    pub(crate) fn finds(&self, name: &str, program: &Path) -> bool {
        let folders = self.path.as_deref().unwrap_or_else(|| OsStr::new(""));
        let first = std::env::split_paths(folders)
            .map(|folder| folder.join(name))
            .find(|candidate| candidate.is_file());
        let same = |path: &Path| std::fs::canonicalize(path).ok();
        first.is_some_and(|first| same(&first).is_some() && same(&first) == same(program))
    }

    /// XDG folders must be absolute; a relative one is ignored, as its specification says.
    fn below(&self, xdg: Option<&PathBuf>, fallback: &str) -> Option<PathBuf> {
        set(xdg)
            .filter(|path| path.is_absolute())
            .map(Path::to_owned)
            .or_else(|| set(self.home.as_ref()).map(|home| home.join(fallback)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubeconfig_falls_back_to_the_home_folder() {
        let mut environment = Environment {
            home: Some("/home/me".into()),
            ..Environment::default()
        };
        assert_eq!(
            environment.kubeconfig(),
            [PathBuf::from("/home/me/.kube/config")]
        );
        environment.kubeconfig = Some("".into());
        assert_eq!(
            environment.kubeconfig(),
            [PathBuf::from("/home/me/.kube/config")]
        );
        environment.kubeconfig = Some("/a:/b".into());
        assert_eq!(
            environment.kubeconfig(),
            [PathBuf::from("/a"), PathBuf::from("/b")]
        );
    }

    #[test]
    fn folders_follow_the_xdg_specification() {
        let mut environment = Environment {
            home: Some("/home/me".into()),
            cache_home: Some("relative".into()),
            ..Environment::default()
        };
        assert_eq!(environment.cache(), Some("/home/me/.cache/vcluster".into()));
        environment.cache_home = Some("/c".into());
        assert_eq!(environment.cache(), Some("/c/vcluster".into()));
    }
}
