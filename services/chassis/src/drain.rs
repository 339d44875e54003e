//! The end of the process: signal → token → tracked tasks → deadline.
//!
//! Every task of a service is spawned here, so that it has a name, a span and an owner that waits for
//! it. A vital task that panics begins the shutdown: a process that has lost a part of itself must be
//! replaced, not limp on. A second signal exits at once.
//!
//! It does not abort tasks: they end when the token says so, or when the process does.

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Name of the span of each task.
pub(crate) const TASK_SPAN: &str = "task";
/// Code of a process that was told twice to stop: as if by SIGKILL.
const EXIT_NOW: i32 = 137;

/// The shutdown of the process. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

struct Inner {
    begun: CancellationToken,
    finished: CancellationToken,
    tracker: TaskTracker,
    failed: AtomicBool,
    next_id: AtomicU64,
    running: Mutex<BTreeMap<u64, Cow<'static, str>>>,
}

/// Tasks that were still running when the deadline passed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{} tasks did not end in time: {}", .tasks.len(), .tasks.join(", "))]
pub struct Stuck {
    /// Names of the tasks, in the order in which they were spawned.
    pub tasks: Vec<String>,
}

/// What the panic of a task means for the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The process cannot do its job without it.
    Vital,
    /// It serves one connection or one tenant.
    Contained,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Makes a shutdown that only code begins; for tests and libraries.
    pub fn new() -> Self {
        let inner = Inner {
            begun: CancellationToken::new(),
            finished: CancellationToken::new(),
            tracker: TaskTracker::new(),
            failed: AtomicBool::new(false),
            next_id: AtomicU64::new(0),
            running: Mutex::new(BTreeMap::new()),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Makes a shutdown that SIGTERM or SIGINT begins. A second signal exits the process at once.
    pub fn on_signals() -> io::Result<Self> {
        let this = Self::new();
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(this.clone().follow(terminate, interrupt));
        Ok(this)
    }

    async fn follow(self, mut terminate: Signal, mut interrupt: Signal) {
        let name = either(&mut terminate, &mut interrupt).await;
        self.begin(name);
        let name = either(&mut terminate, &mut interrupt).await;
        tracing::warn!(signal = name, "second signal: exiting at once");
        std::process::exit(EXIT_NOW);
    }

    /// Begins the shutdown. Further calls change nothing.
    pub fn begin(&self, reason: &str) {
        if !self.inner.begun.is_cancelled() {
            tracing::info!(reason, "shutdown begins");
            self.inner.begun.cancel();
        }
    }

    /// Whether the shutdown has begun.
    pub fn has_begun(&self) -> bool {
        self.inner.begun.is_cancelled()
    }

    /// Whether a vital task has panicked; the process should then end with an error.
    pub fn has_failed(&self) -> bool {
        self.inner.failed.load(Ordering::Acquire)
    }

    /// Token that is cancelled when the shutdown begins. Cancelling it touches nobody else.
    pub fn token(&self) -> CancellationToken {
        self.inner.begun.child_token()
    }

    /// Token that is cancelled when [`Shutdown::drained`] is over: for what must outlive the drain,
    /// such as the admin port.
    pub fn finished(&self) -> CancellationToken {
        self.inner.finished.child_token()
    }

    /// Spawns a task that the process cannot do without, tracked and in a span of its name. Its panic
    /// is logged and begins the shutdown.
    pub fn spawn<F>(&self, name: impl Into<Cow<'static, str>>, task: F) -> AbortHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_as(Role::Vital, name.into(), task)
    }

    /// Spawns a task that serves one connection, tenant or session. Its panic is logged, and nobody
    /// else notices.
    pub fn spawn_contained<F>(&self, name: impl Into<Cow<'static, str>>, task: F) -> AbortHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_as(Role::Contained, name.into(), task)
    }

    fn spawn_as<F>(&self, role: Role, name: Cow<'static, str>, task: F) -> AbortHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let span = tracing::info_span!(TASK_SPAN, task = %name);
        let running = Running::enter(self, name.clone());
        let this = self.clone();
        let guarded = async move {
            let _running = running;
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                this.panicked(role, &name, panic.as_ref());
            }
        };
        self.inner
            .tracker
            .spawn(guarded.instrument(span))
            .abort_handle()
    }

    fn panicked(&self, role: Role, name: &str, panic: &(dyn Any + Send)) {
        tracing::error!(task = name, panic = panic_message(panic), "task panicked");
        if role == Role::Vital {
            self.inner.failed.store(true, Ordering::Release);
            self.begin("a vital task panicked");
        }
    }

    /// Begins the shutdown if nobody has, and waits until every task has ended, at most `timeout`.
    ///
    /// Tasks that did not end are logged by name and returned; they go on until the process exits.
    pub async fn drained(&self, timeout: Duration) -> Result<(), Stuck> {
        self.begin("drain was asked for");
        self.inner.tracker.close();
        let ended = tokio::time::timeout(timeout, self.inner.tracker.wait()).await;
        self.inner.finished.cancel();
        if ended.is_ok() {
            tracing::info!("every task has ended");
            return Ok(());
        }
        let stuck = Stuck {
            tasks: self.running().values().map(ToString::to_string).collect(),
        };
        tracing::warn!(tasks = ?stuck.tasks, ?timeout, "tasks did not end in time");
        Err(stuck)
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<u64, Cow<'static, str>>> {
        // Insert and remove cannot be left half done, so a poisoned lock still guards a good map.
        self.inner
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("begun", &self.has_begun())
            .field("failed", &self.has_failed())
            .field("tasks", &self.inner.tracker.len())
            .finish_non_exhaustive()
    }
}

/// Keeps a task's name in the list of running ones; dropping it, also by abort, takes it out.
struct Running {
    id: u64,
    shutdown: Shutdown,
}

impl Running {
    fn enter(shutdown: &Shutdown, name: Cow<'static, str>) -> Self {
        let id = shutdown.inner.next_id.fetch_add(1, Ordering::Relaxed);
        shutdown.running().insert(id, name);
        Self {
            id,
            shutdown: shutdown.clone(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.running().remove(&self.id);
    }
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

/// Reads what a panic said, as far as it is text.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn drained_waits_for_tasks_that_heed_the_token() {
        let shutdown = Shutdown::new();
        let token = shutdown.token();
        shutdown.spawn("worker", async move { token.cancelled().await });
        assert_eq!(shutdown.drained(SECOND).await, Ok(()));
        assert!(shutdown.finished().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_that_do_not_end_are_named() {
        let shutdown = Shutdown::new();
        shutdown.spawn("deaf", std::future::pending());
        shutdown.spawn("quick", async {});
        let stuck = shutdown.drained(SECOND).await.unwrap_err();
        assert_eq!(stuck.tasks, ["deaf"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_aborted_task_is_not_waited_for() {
        let shutdown = Shutdown::new();
        shutdown.spawn("aborted", std::future::pending()).abort();
        assert_eq!(shutdown.drained(SECOND).await, Ok(()));
    }

    #[tokio::test]
    async fn the_panic_of_a_vital_task_begins_the_shutdown() {
        let shutdown = Shutdown::new();
        shutdown.spawn("vital", async { panic!("lost its state") });
        shutdown.token().cancelled().await;
        assert!(shutdown.has_failed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_panic_of_a_contained_task_stays_there() {
        let shutdown = Shutdown::new();
        shutdown.spawn_contained("connection", async { panic!("bad frame") });
        tokio::task::yield_now().await;
        assert!(!shutdown.has_begun());
        assert_eq!(shutdown.drained(SECOND).await, Ok(()));
        assert!(!shutdown.has_failed());
    }

    #[tokio::test]
    async fn a_signal_begins_the_shutdown() {
        let shutdown = Shutdown::on_signals().unwrap();
        let this = rustix::process::getpid();
        rustix::process::kill_process(this, rustix::process::Signal::TERM).unwrap();
        shutdown.token().cancelled().await;
        assert!(!shutdown.has_failed());
    }

    #[test]
    fn cancelling_a_handed_out_token_cancels_nobody_else() {
        let shutdown = Shutdown::new();
        shutdown.token().cancel();
        assert!(!shutdown.has_begun());
    }
}
