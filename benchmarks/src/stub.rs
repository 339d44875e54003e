//! The API servers of many virtual clusters, simulated in one process: so many real ones fit no machine.
//!
//! Each listens on a port of its own with real TLS and HTTP/2, and serves whatever collection it is asked for. What is
//! measured against them may say something of sync's memory, restarts and scans, and nothing of latency.

mod request;
mod serve;
mod store;

use std::fmt::Write as _;
use std::fs;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::args;
use crate::pki::Pair;
use store::Store;

/// One simulated API server.
#[derive(Debug)]
struct Simulated {
    store: Mutex<Store>,
    version: watch::Sender<u64>,
}

/// Serves until the process is killed.
pub(crate) async fn run(args: args::Stub) -> Result<()> {
    let pair = Pair {
        certificate: fs::read_to_string(&args.cert)?,
        key: fs::read_to_string(&args.key)?,
    };
    let tls = pair.server()?;
    let mut ports = String::new();
    for number in 0..args.tenants {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        writeln!(ports, "{}", listener.local_addr()?.port())?;
        let store = Store::new(number);
        let simulated = Arc::new(Simulated {
            version: watch::Sender::new(store.version()),
            store: Mutex::new(store),
        });
        tokio::spawn(serve::accept(listener, Arc::clone(&tls), simulated));
    }
    // Whole or not at all: somebody waits for the file.
    let partial = args.ports.with_extension("partial");
    fs::write(&partial, ports)?;
    fs::rename(&partial, &args.ports).context("the ports cannot be told")?;
    std::future::pending().await
}
