//! The hidden command that carries loopback ports of this machine into the cluster's network
//! namespace, with no link between the two.
//!
//! A socket belongs to the namespace of the thread that makes it: each connection has a thread that
//! enters the namespace and connects there. Bounded in connections; half-closed connections stay
//! half-closed; a peer that vanished with its pod is noticed by keepalive.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Error, Result, anyhow};
use rustix::net::sockopt;

use super::network;
use crate::output;

/// Connections at once; the next ones wait in the kernel's backlog.
const MOST: usize = 1024;
const STACK: usize = 128 * 1024;
const BUFFER: usize = 32 * 1024;
const CONNECT: Duration = Duration::from_secs(5);

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Relay {
    /// The network namespace to connect in
    #[arg(long)]
    netns: PathBuf,
    /// `PORT=ADDRESS:PORT`: a loopback port here, an address in there
    #[arg(long, required = true)]
    map: Vec<Route>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    from: u16,
    to: SocketAddr,
}

impl FromStr for Route {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (from, to) = text
            .split_once('=')
            .ok_or_else(|| anyhow!("no PORT=ADDRESS:PORT"))?;
        Ok(Self {
            from: from.parse()?,
            to: to.parse()?,
        })
    }
}

/// Serves until it is killed.
///
/// # Errors
/// A port is taken.
pub fn relay(args: &Relay) -> Result<()> {
    // What `ps` shows; the file's own name is /proc/self/exe.
    rustix::thread::set_name(c"vcluster-relay").context("cannot set the process' name")?;
    let bind = |route: &Route| {
        TcpListener::bind(("127.0.0.1", route.from))
            .with_context(|| format!("port {} is taken", route.from))
    };
    let listeners = args.map.iter().map(bind).collect::<Result<Vec<_>>>()?;
    let free = Arc::new(Slots {
        free: Mutex::new(MOST),
        changed: Condvar::new(),
    });
    thread::scope(|scope| {
        for (listener, route) in listeners.iter().zip(&args.map) {
            let free = &free;
            scope.spawn(move || accept(listener, route.to, &args.netns, free));
        }
    });
    Ok(())
}

#[expect(
    clippy::infinite_loop,
    reason = "it serves until the process is killed"
)]
fn accept(listener: &TcpListener, to: SocketAddr, netns: &Path, free: &Arc<Slots>) {
    loop {
        let slot = Slot::take(free);
        let Ok((client, _)) = listener.accept() else {
            // Out of file descriptors, for one: others must end first.
            crate::wait::pause();
            continue;
        };
        let netns = netns.to_path_buf();
        let serve = move || {
            let _slot = slot;
            if let Err(error) = carry(&client, to, &netns) {
                output::note(format_args!("{to}: {error:#}"));
            }
        };
        if let Err(error) = thread::Builder::new().stack_size(STACK).spawn(serve) {
            output::note(format_args!("no thread for a connection: {error}"));
        }
    }
}

fn carry(client: &TcpStream, to: SocketAddr, netns: &Path) -> Result<()> {
    network::enter(netns)?;
    let server = TcpStream::connect_timeout(&to, CONNECT).context("cannot connect")?;
    for socket in [client, &server] {
        tune(socket).context("cannot set socket options")?;
    }
    thread::scope(|scope| {
        let up = || copy(client, &server);
        let upward = thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, up);
        let upward = upward.context("no thread for a connection")?;
        copy(&server, client);
        drop(upward.join());
        Ok(())
    })
}

/// Copies until the end of the stream and passes the end on; an error ends both directions.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let sent = match from.read(&mut buffer) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(count) => to.write_all(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        };
        if sent.is_err() {
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
}

fn tune(socket: &TcpStream) -> Result<()> {
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(15))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(5))?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    // Milliseconds: the same bound while data waits for an acknowledgement.
    sockopt::set_tcp_user_timeout(socket, 30_000)?;
    Ok(())
}

/// How many more connections may be open.
#[derive(Debug)]
struct Slots {
    free: Mutex<usize>,
    changed: Condvar,
}

/// One of them, given back on drop.
#[derive(Debug)]
struct Slot(Arc<Slots>);

impl Slot {
    fn take(slots: &Arc<Slots>) -> Self {
        let free = slots.free.lock().unwrap_or_else(PoisonError::into_inner);
        let free = slots.changed.wait_while(free, |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Self(Arc::clone(slots))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let one = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        (one, listener.accept().expect("accepted").0)
    }

    #[test]
    fn a_route_is_a_port_and_an_address() {
        let route: Route = "40001=10.77.0.1:30443".parse().expect("a route");
        assert_eq!(
            route,
            Route {
                from: 40001,
                to: "10.77.0.1:30443".parse().expect("one")
            }
        );
        assert!("40001".parse::<Route>().is_err());
    }

    #[test]
    fn the_end_of_one_direction_leaves_the_other_open() {
        let ((mut client, inner), (outer, mut server)) = (pair(), pair());
        thread::scope(|scope| {
            scope.spawn(|| copy(&inner, &outer));
            client.write_all(b"question").expect("sent");
            client.shutdown(Shutdown::Write).expect("closed");
            let mut asked = String::new();
            server.read_to_string(&mut asked).expect("read to the end");
            assert_eq!(asked, "question");
            server.write_all(b"answer").expect("still open");
            drop(server);
            copy(&outer, &inner);
            let mut answer = String::new();
            client.read_to_string(&mut answer).expect("read to the end");
            assert_eq!(answer, "answer");
        });
    }
}
