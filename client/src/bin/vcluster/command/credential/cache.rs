//! Credentials kept between runs, in private files, until shortly before they end.
//!
//! However many kubectl ask at once, one of them fetches: the others wait for its lock and then
//! find what it stored. The lock is the operating system's, so it ends with its holder. A cache
//! that cannot be used is as good as an empty one.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use vcluster_client::{Issued, kubeconfig::file};

use crate::failure::Result;

/// Not handed out any more when less than this is left.
const LEAST_LEFT: SignedDuration = SignedDuration::from_secs(60);
/// Longest wait for another one's fetch; then we fetch ourselves.
const LOCK_WAIT: Duration = Duration::from_mins(1);
const LOCK_POLL: Duration = Duration::from_millis(20);

/// A folder of credentials.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    token: String,
    expires: Timestamp,
    path: String,
}

impl Cache {
    /// In this folder, which is made when first needed.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The credential of `key`, or the one that `fetch` gives.
    pub(crate) async fn get_or(
        &self,
        key: &str,
        now: impl Fn() -> Timestamp,
        fetch: impl AsyncFnOnce() -> Result<Issued>,
    ) -> Result<Issued> {
        if let Some(issued) = self.load(key, now()) {
            return Ok(issued);
        }
        let _lock = self.lock(key).await;
        // Whoever held the lock may have stored it.
        if let Some(issued) = self.load(key, now()) {
            return Ok(issued);
        }
        let issued = fetch().await?;
        self.store(key, &issued, now());
        Ok(issued)
    }

    fn load(&self, key: &str, now: Timestamp) -> Option<Issued> {
        let text = fs::read_to_string(self.file(key)).ok()?;
        let entry: Entry = serde_json::from_str(&text).ok()?;
        if entry.expires.duration_since(now) < LEAST_LEFT {
            return None;
        }
        Some(Issued {
            token: SecretString::from(entry.token),
            expires: entry.expires,
            path: entry.path,
        })
    }

    /// Keeps a credential, and removes those that have ended.
    pub(crate) fn store(&self, key: &str, issued: &Issued, now: Timestamp) {
        let entry = Entry {
            token: issued.token.expose_secret().to_owned(),
            expires: issued.expires,
            path: issued.path.clone(),
        };
        if let (Ok(text), true) = (serde_json::to_string(&entry), self.make_folder()) {
            self.sweep(now);
            // A failure costs the next run a fetch, nothing else.
            let _ = file::replace(&self.file(key), text.as_bytes());
        }
    }

    fn sweep(&self, now: Timestamp) {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for path in files.map(|file| file.path()) {
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
                && ended(&path, now)
            {
                let _ = fs::remove_file(&path);
                let _ = fs::remove_file(path.with_extension("lock"));
            }
        }
    }

    async fn lock(&self, key: &str) -> Option<File> {
        self.make_folder();
        let path = self.folder.join(format!("{key}.lock"));
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)
            .ok()?;
        let end = Instant::now() + LOCK_WAIT;
        loop {
            match file.try_lock() {
                Ok(()) => return Some(file),
                Err(TryLockError::WouldBlock) if Instant::now() < end => {
                    tokio::time::sleep(LOCK_POLL).await;
                }
                Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return None,
            }
        }
    }

    fn make_folder(&self) -> bool {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .is_ok()
    }

    fn file(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.json"))
    }
}

fn ended(path: &Path, now: Timestamp) -> bool {
    let entry = fs::read_to_string(path)
        .ok()
        .and_then(|text| serde_json::from_str::<Entry>(&text).ok());
    entry.is_none_or(|entry| entry.expires <= now)
}

#[cfg(test)]
mod tests;
