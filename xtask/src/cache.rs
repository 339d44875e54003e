//! What outlives checkouts and clusters: upstream binaries and image archives.
//!
//! Everything is written beside its place and renamed into it, so what is there is complete. Locks
//! are kernel locks on files: they end with their process, however it ends.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::output;

/// The environment variable that moves the cache.
pub const VARIABLE: &str = "VCLUSTER_DEV_CACHE";

/// The cache folder.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// Held as long as this value lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Cache {
    /// `$VCLUSTER_DEV_CACHE`, or `~/.cache/vcluster-dev`.
    ///
    /// # Errors
    /// Neither the variable nor `HOME` is set.
    pub fn open() -> Result<Self> {
        let root = match (env::var_os(VARIABLE), env::var_os("HOME")) {
            (Some(root), _) if !root.is_empty() => PathBuf::from(root),
            (_, Some(home)) => Path::new(&home).join(".cache/vcluster-dev"),
            (_, None) => bail!("neither {VARIABLE} nor HOME is set: set one of them"),
        };
        Ok(Self { root })
    }

    /// In another folder.
    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path below it.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// Takes the lock called `name`; waits, and says so, while another process has it.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub fn lock(&self, name: &str) -> Result<Lock> {
        let path = self.path("locks").join(format!("{name}.lock"));
        let folder = self.path("locks");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let file =
            File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            output::note(format_args!(
                "waiting for another xtask that holds {}",
                path.display()
            ));
            flock(&file, FlockOperation::LockExclusive).context("cannot lock")?;
        }
        Ok(Lock { _file: file })
    }

    /// The folder or file `relative`; if it is not there, `make` fills a path beside it, which is
    /// then renamed. The caller holds a lock that keeps others from doing the same.
    ///
    /// # Errors
    /// What `make` fails with; the half result is removed.
    pub fn publish(
        &self,
        relative: impl AsRef<Path>,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let place = self.path(relative);
        if place.exists() {
            return Ok(place);
        }
        let parent = place.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let partial = parent.join(format!(".partial-{name}"));
        remove(&partial)?;
        if let Err(error) = make(&partial) {
            remove(&partial)?;
            return Err(error);
        }
        fs::rename(&partial, &place)
            .with_context(|| format!("cannot move {} to its place", partial.display()))?;
        Ok(place)
    }
}

/// Removes a file or a folder with everything in it; fine if it is not there.
///
/// # Errors
/// It is there and cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    let Ok(kind) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if kind.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
    .with_context(|| format!("cannot remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = Cache::at(folder.path());
        (folder, cache)
    }

    #[test]
    fn a_failed_make_leaves_nothing() {
        let (_folder, cache) = cache();
        let made = cache.publish("a/b", |partial| {
            fs::create_dir_all(partial.join("half"))?;
            bail!("no")
        });
        assert!(made.is_err());
        assert_eq!(
            fs::read_dir(cache.path("a")).expect("the parent").count(),
            0
        );
    }

    #[test]
    fn what_is_there_is_not_made_again() {
        let (_folder, cache) = cache();
        let write = |partial: &Path| Ok(fs::write(partial, "x")?);
        let first = cache.publish("f", write).expect("made");
        let second = cache.publish("f", |_| bail!("made twice")).expect("found");
        assert_eq!(first, second);
    }

    #[test]
    fn what_a_killed_run_left_is_replaced() {
        let (_folder, cache) = cache();
        fs::write(cache.path(".partial-f"), "half").expect("written");
        let made = cache.publish("f", |partial| {
            assert!(!partial.exists());
            Ok(fs::write(partial, "whole")?)
        });
        assert_eq!(
            fs::read_to_string(made.expect("made")).expect("read"),
            "whole"
        );
    }
}
