//! What the gateway logs, over all tests of this binary: one subscriber, since those of single threads miss events
//! whose callsite another thread has met first.

use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing_subscriber::layer::SubscriberExt;

use super::client::get;
use super::*;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static INSTALLED: OnceLock<()> = OnceLock::new();

struct Lines;

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LINES
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps everything that the gateway itself logs, down to `trace`.
pub(super) fn capture() {
    INSTALLED.get_or_init(|| {
        let filter = tracing_subscriber::EnvFilter::new("vcluster_connect=trace,audit=trace");
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(|| Lines);
        let subscriber = tracing_subscriber::registry().with(filter).with(lines);
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

fn logged() -> String {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&lines).into_owned()
}

/// Incident 13: tokens and secrets in whatever place leave no trace in logs.
#[tokio::test]
async fn no_secret_of_a_request_is_logged() {
    let world = World::new().await;
    let mut client = world.h2(None).await;
    let target = "/clusters/team-a/demo/api/audited?token=canary-query&command=canary-command";
    for token in ["token-of-jane", "canary-bearer"] {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("cookie", "canary-cookie"),
            (
                "sec-websocket-protocol",
                "base64url.bearer.authorization.k8s.io.canary-subprotocol",
            ),
            ("x-secret", "canary-header"),
        ];
        drop(client.send(get(target, &headers)).await);
    }
    world.demo.only();
    drop((client, world));
    let text = logged();
    let audited: Vec<_> = text
        .lines()
        .filter(|line| line.contains("api/audited"))
        .collect();
    assert!(
        audited.iter().any(|line| line.contains("request started")),
        "{audited:?}"
    );
    assert!(
        audited.iter().any(|line| line.contains("request ended")),
        "{audited:?}"
    );
    for line in text.lines() {
        assert!(
            !line.contains("canary") && !line.contains("token-of"),
            "{line}"
        );
    }
}
