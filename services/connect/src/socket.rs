//! What the kernel is told about each TCP connection.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;

/// Silence after which the other end is asked whether it is there, and the pause between questions.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Unanswered questions after which it is not.
const PROBES: u32 = 3;
/// How long sent bytes may stay unacknowledged, in milliseconds.
const UNACKNOWLEDGED: u32 = 60_000;

/// Sends small writes at once, and notices a peer that went away without a word: a streamed answer has
/// nothing else to notice it by. What the kernel does not support is left out.
pub(crate) fn tune(stream: &TcpStream) {
    let fd = stream.as_fd();
    let results = [
        sockopt::set_tcp_nodelay(fd, true),
        sockopt::set_socket_keepalive(fd, true),
        sockopt::set_tcp_keepidle(fd, KEEP_ALIVE),
        sockopt::set_tcp_keepintvl(fd, KEEP_ALIVE),
        sockopt::set_tcp_keepcnt(fd, PROBES),
        sockopt::set_tcp_user_timeout(fd, UNACKNOWLEDGED),
    ];
    for error in results.into_iter().filter_map(Result::err) {
        tracing::debug!(%error, "a socket option cannot be set");
    }
}
