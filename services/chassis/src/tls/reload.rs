//! Certificates from files, read again when the files change.
//!
//! Polls instead of watching, because a mounted Secret changes by a swapped symlink two directories
//! up, which file notification does not see. A bundle that is half written or broken never replaces a
//! good one: that is logged and counted, and tried again at every poll.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::metrics::Reload;
use super::{Error, Identity, Live, Metrics, Publisher, Roots};
use crate::drain::Shutdown;

/// How often files are looked at.
const POLL: Duration = Duration::from_secs(5);
/// Certificates are a few KiB; a file beyond this is not one.
const MAX_FILE: u64 = 1 << 20;

/// Files that could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The content cannot be used.
    #[error("cannot use {}", .path.display())]
    Content {
        /// The first file of the bundle.
        path: PathBuf,
        /// Why.
        source: Error,
    },
}

/// Loads bundles and follows their files in tracked tasks.
#[derive(Debug, Clone)]
pub struct Reloader {
    shutdown: Shutdown,
    metrics: Metrics,
}

/// What tells one version of a file from the next without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl From<Metadata> for Stamp {
    fn from(file: Metadata) -> Self {
        Self {
            inode: file.ino(),
            size: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
        }
    }
}

impl Reloader {
    /// Makes a reloader whose tasks end with `shutdown`.
    pub fn new(shutdown: &Shutdown, metrics: &Metrics) -> Self {
        Self {
            shutdown: shutdown.clone(),
            metrics: metrics.clone(),
        }
    }

    /// Loads a chain and its key, and follows both files. The first load must succeed.
    pub async fn identity(
        &self,
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Live<Identity>, LoadError> {
        self.follow(vec![chain.into(), key.into()], parse_identity)
            .await
    }

    /// Loads trusted authorities and follows their file. The first load must succeed.
    pub async fn roots(&self, bundle: impl Into<PathBuf>) -> Result<Live<Roots>, LoadError> {
        self.follow(vec![bundle.into()], parse_roots).await
    }

    async fn follow<T>(&self, files: Vec<PathBuf>, parse: Parse<T>) -> Result<Live<T>, LoadError>
    where
        T: Clone + Expires + Send + Sync + 'static,
    {
        let mut bundle = Bundle {
            files,
            parse,
            seen: None,
            metrics: self.metrics.clone(),
        };
        let (publisher, live) = Live::channel(bundle.load().await?);
        let token = self.shutdown.token();
        let name = format!("reload {}", bundle.name());
        self.shutdown.spawn(name, async move {
            token.run_until_cancelled(bundle.poll(publisher)).await;
        });
        Ok(live)
    }
}

type Parse<T> = fn(&[Vec<u8>]) -> Result<T, Error>;

fn parse_identity(files: &[Vec<u8>]) -> Result<Identity, Error> {
    match files {
        [chain, key] => Identity::from_pem(chain, key),
        _ => Err(Error::NoKey),
    }
}

fn parse_roots(files: &[Vec<u8>]) -> Result<Roots, Error> {
    Roots::from_pem(&files.concat())
}

/// What of a bundle expires first, as far as it is worth showing.
trait Expires {
    fn not_after(&self) -> Option<i64>;
}

impl Expires for Identity {
    fn not_after(&self) -> Option<i64> {
        Self::not_after(self)
    }
}

impl Expires for Roots {
    fn not_after(&self) -> Option<i64> {
        // An old authority may expire in a bundle where its successor stands beside it.
        None
    }
}

struct Bundle<T> {
    files: Vec<PathBuf>,
    parse: Parse<T>,
    /// Stamps of the version that was loaded; absent while the newest one is broken.
    seen: Option<Vec<Stamp>>,
    metrics: Metrics,
}

impl<T: Expires> Bundle<T> {
    fn name(&self) -> String {
        self.files
            .first()
            .map(|file| file.display().to_string())
            .unwrap_or_default()
    }

    async fn load(&mut self) -> Result<T, LoadError> {
        // Stamps first: a change between stamp and content is then seen at the next poll.
        let stamps = self.stamps().await?;
        let mut contents = Vec::with_capacity(self.files.len());
        for file in &self.files {
            contents.push(read(file).await?);
        }
        let path = self.files.first().cloned().unwrap_or_default();
        let value =
            (self.parse)(&contents).map_err(|source| LoadError::Content { path, source })?;
        self.seen = Some(stamps);
        if let Some(not_after) = value.not_after() {
            self.metrics.expires(&self.name(), not_after);
        }
        Ok(value)
    }

    async fn stamps(&self) -> Result<Vec<Stamp>, LoadError> {
        let mut stamps = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let metadata = tokio::fs::metadata(file)
                .await
                .map_err(|source| LoadError::Read {
                    path: file.clone(),
                    source,
                })?;
            stamps.push(Stamp::from(metadata));
        }
        Ok(stamps)
    }

    #[expect(clippy::infinite_loop, reason = "ends by being dropped")]
    async fn poll(mut self, publisher: Publisher<T>) {
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.refresh(&publisher).await;
        }
    }

    async fn refresh(&mut self, publisher: &Publisher<T>) {
        if self
            .stamps()
            .await
            .ok()
            .is_some_and(|now| self.seen.as_ref() == Some(&now))
        {
            return;
        }
        let bundle = self.name();
        match self.load().await {
            Ok(value) => {
                publisher.publish(value);
                self.metrics.reload(&bundle, Reload::Loaded);
                tracing::info!(bundle, "certificates were reloaded");
            }
            Err(error) => {
                self.seen = None;
                self.metrics.reload(&bundle, Reload::Kept);
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    bundle,
                    error,
                    "changed certificates are broken, old ones are kept"
                );
            }
        }
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    use tokio::io::AsyncReadExt;
    let content = async {
        let mut content = Vec::new();
        let file = tokio::fs::File::open(path).await?;
        file.take(MAX_FILE + 1).read_to_end(&mut content).await?;
        if content.len() as u64 > MAX_FILE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(content)
    };
    content.await.map_err(|source| LoadError::Read {
        path: path.to_owned(),
        source,
    })
}
