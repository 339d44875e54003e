//! One HTTP/2 connection, and how many streams its server allows.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::task::AtomicWaker;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use kube::client::Body;

use super::slots::{Slots, Streams};
use super::{Connect, Io};

/// How often a silent connection is pinged, and how long the answer may take.
const PING: Duration = Duration::from_secs(15);
/// What hyper shows until the server has said how many streams it allows. A number that no server
/// says, so that not having heard is told apart.
const UNKNOWN: usize = (1 << 30) + 1;
/// Bytes that the server may send ahead on one stream, and on all of them: a watch whose reader is slow
/// must not stop the others.
const STREAM_WINDOW: u32 = 1 << 18;
const CONNECTION_WINDOW: u32 = 1 << 24;

/// Sends requests on a connection.
pub(super) type Sender = http2::SendRequest<Body>;

/// An open connection; it closes when the last sender and stream are gone.
pub(super) struct Connection {
    pub(super) sender: Sender,
    pub(super) streams: Arc<Streams>,
}

/// Spawns hyper's task and wakes ours after each of its steps, because it is the one that reads SETTINGS.
#[derive(Clone)]
struct Executor {
    stepped: Arc<AtomicWaker>,
}

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        let stepped = Arc::clone(&self.stepped);
        // Ends with the connection, which ends with its last sender: nothing to track.
        tokio::spawn(async move {
            let mut task = Box::pin(task);
            poll_fn(|context| {
                let step = task.as_mut().poll(context);
                stepped.wake();
                step
            })
            .await;
        });
    }
}

/// Opens a connection. No deadline here.
pub(super) async fn open(connect: &dyn Connect, slots: &Arc<Slots>) -> io::Result<Connection> {
    let io: Box<dyn Io> = connect.connect().await?;
    let stepped = Arc::new(AtomicWaker::new());
    let executor = Executor {
        stepped: Arc::clone(&stepped),
    };
    let (sender, connection) = http2::Builder::new(executor)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .keep_alive_while_idle(true)
        .initial_max_send_streams(UNKNOWN)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake::<_, Body>(TokioIo::new(io))
        .await
        .map_err(io::Error::other)?;
    let streams = Arc::new(Streams::default());
    let slots = Arc::downgrade(slots);
    let shown = Arc::clone(&streams);
    tokio::spawn(async move {
        let mut connection = Box::pin(connection);
        let ended = poll_fn(|context| {
            stepped.register(context.waker());
            let step = connection.as_mut().poll(context);
            let allowed = Pin::as_ref(&connection)
                .get_ref()
                .current_max_send_streams();
            let known = step.is_pending() && allowed != UNKNOWN;
            if known
                && shown.allowed.swap(allowed, Ordering::AcqRel) != allowed
                && let Some(slots) = slots.upgrade()
            {
                slots.notify();
            }
            step
        })
        .await;
        if let Err(error) = ended {
            tracing::debug!(%error, "connection to an API server ended");
        }
        if let Some(slots) = slots.upgrade() {
            slots.notify();
        }
    });
    Ok(Connection { sender, streams })
}
