//! Reading kubeconfig files, and changing them as a careful neighbour of kubectl.
//!
//! A change takes the lock that kubectl takes (`FILE.lock`, made exclusively), reads under it, and
//! replaces the file atomically with its mode, owner and symbolic links kept. A file that did not
//! change is not written.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    document::{self, Document},
    sources::{Source, Sources},
};

/// Longest wait for another program's lock.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_millis(20);
/// A kubeconfig may hold secrets.
const PRIVATE: u32 = 0o600;

/// Why a kubeconfig was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that was named is not there.
    #[error("the kubeconfig {} does not exist", .0.display())]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("the kubeconfig {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no kubeconfig.
    #[error("{} is no kubeconfig", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: document::Error,
    },
    /// Another program holds the lock.
    #[error(
        "another program holds the lock {}; if none runs, it was left behind: remove it",
        .0.display()
    )]
    Locked(PathBuf),
    /// It cannot be written.
    #[error("the kubeconfig {} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Whether a file may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It was named, so it must exist.
    Required,
    /// It may come to be.
    Optional,
}

/// Reads the files in order of precedence.
pub fn load(paths: &[PathBuf], presence: Presence) -> Result<Sources, Error> {
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let text = match fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match presence {
                Presence::Required => return Err(Error::Missing(path.clone())),
                Presence::Optional => None,
            },
            Err(source) => {
                return Err(Error::Read {
                    path: path.clone(),
                    source,
                });
            }
        };
        let document = Document::parse(text.as_deref().unwrap_or_default()).map_err(|source| {
            Error::Malformed {
                path: path.clone(),
                source,
            }
        })?;
        files.push(Source {
            path: std::path::absolute(path).unwrap_or_else(|_| path.clone()),
            document,
            exists: text.is_some(),
        });
    }
    Ok(Sources::new(files))
}

/// Reads the files, applies `change`, and writes those that it changed; all under their locks.
/// If `change` fails, nothing is written.
pub async fn edit<T, E: From<Error>>(
    paths: &[PathBuf],
    change: impl FnOnce(&mut Sources) -> Result<T, E>,
) -> Result<T, E> {
    let locks = lock_all(paths).await?;
    let before = load(paths, Presence::Optional)?;
    let mut after = before.clone();
    let value = change(&mut after)?;
    for (old, new) in before.files().iter().zip(after.files()) {
        if old.document == new.document {
            continue;
        }
        if !locks.iter().any(|lock| lock.0 == lock_path(&new.path)) {
            return Err(Error::Locked(lock_path(&new.path)).into());
        }
        write(new)?;
    }
    Ok(value)
}

/// A held lock; dropping it releases it.
#[derive(Debug)]
struct Lock(PathBuf);

impl Drop for Lock {
    fn drop(&mut self) {
        // Nothing better can be done than what the next program's message says.
        let _ = fs::remove_file(&self.0);
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut name = path.into_os_string();
    name.push(".lock");
    PathBuf::from(name)
}

/// Locks every file of the list in one order, as kubectl does, so that no two programs wait for
/// each other. A folder that cannot be written to is skipped: its file cannot be changed either.
async fn lock_all(paths: &[PathBuf]) -> Result<Vec<Lock>, Error> {
    let mut sorted: Vec<PathBuf> = paths.iter().map(|path| lock_path(path)).collect();
    sorted.sort();
    sorted.dedup();
    let end = Instant::now() + LOCK_WAIT;
    let mut locks = Vec::new();
    for path in sorted {
        if let Some(lock) = lock(path, end).await? {
            locks.push(lock);
        }
    }
    Ok(locks)
}

async fn lock(path: PathBuf, end: Instant) -> Result<Option<Lock>, Error> {
    if let Some(folder) = path.parent() {
        // If it cannot be made, taking the lock says why.
        let _ = fs::create_dir_all(folder);
    }
    loop {
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(PRIVATE)
            .open(&path);
        match made {
            Ok(_) => return Ok(Some(Lock(path))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if Instant::now() >= end {
                    return Err(Error::Locked(path));
                }
                tokio::time::sleep(LOCK_POLL).await;
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied
                        | io::ErrorKind::ReadOnlyFilesystem
                        | io::ErrorKind::NotFound
                        | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(source) => return Err(Error::Write { path, source }),
        }
    }
}

fn write(source: &Source) -> Result<(), Error> {
    let text = source
        .document
        .to_yaml()
        .map_err(|error| Error::Malformed {
            path: source.path.clone(),
            source: error,
        })?;
    replace(&source.path, text.as_bytes()).map_err(|error| Error::Write {
        path: source.path.clone(),
        source: error,
    })
}

/// Replaces the content of a file, or makes it, so that a reader sees the old or the new one.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    // A symbolic link stays; what it leads to is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let existing = fs::metadata(&target).ok();
    let folder = target.parent().unwrap_or_else(|| Path::new("/"));
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{:016x}", rand::random::<u64>()));
    let result = write_new(&temporary, content, existing.as_ref())
        .and_then(|()| fs::rename(&temporary, &target));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}

fn write_new(path: &Path, content: &[u8], like: Option<&fs::Metadata>) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE)
        .open(path)?;
    if let Some(like) = like {
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (like.uid(), like.gid()) {
            // Root, under sudo, must not take a user's file from them.
            std::os::unix::fs::fchown(&file, Some(like.uid()), Some(like.gid()))?;
        }
        file.set_permissions(fs::Permissions::from_mode(like.mode() & 0o7777))?;
    }
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
