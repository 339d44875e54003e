//! Peers that stall, flood or smuggle.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use vcluster_chassis::tls::ALPN_H2;

use super::*;

async fn rest<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut rest = Vec::new();
    let _however = stream.read_to_end(&mut rest).await;
    rest
}

/// Incident 23: whatever a request says about its length, its bytes are never another request upstream.
#[tokio::test]
async fn bytes_of_one_request_never_become_another_one() {
    let world = World::new().await;
    let inner = "GET /clusters/team-a/demo/smuggled HTTP/1.1\r\nHost: gateway.test\r\n\r\n";
    let length = inner.len();
    let chunked = format!("{length:x}\r\n{inner}\r\n0\r\n\r\n");
    let bodies = [
        format!("Content-Length: {length}\r\n\r\n{inner}"),
        format!("Transfer-Encoding: chunked\r\n\r\n{chunked}"),
        format!("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{chunked}"),
        format!("Content-Length: {length}\r\nContent-Length: 0\r\n\r\n{inner}"),
        format!("Content-Length: 0, {length}\r\n\r\n{inner}"),
        format!("Content-Length: +{length}\r\n\r\n{inner}"),
        format!("Content-Length: {length} \r\n\r\n{inner}"),
        format!("Content-Length : {length}\r\n\r\n{inner}"),
        format!("Transfer-Encoding: chunked\t\r\n\r\n{chunked}"),
        format!("Transfer-Encoding: xchunked\r\nContent-Length: {length}\r\n\r\n{inner}"),
        format!("Transfer-Encoding: chunked, identity\r\nContent-Length: {length}\r\n\r\n{inner}"),
        format!("Transfer-Encoding:\x0bchunked\r\nContent-Length: {length}\r\n\r\n{inner}"),
        format!(" Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n{inner}"),
        format!("X: y\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
        format!("Content-Length: {length}\r\nConnection: Content-Length\r\n\r\n{inner}"),
        format!("Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n\r\n{chunked}"),
    ];
    for body in bodies {
        let mut stream = world.raw().await;
        let head = "POST /clusters/team-a/demo/outer HTTP/1.1\r\nHost: gateway.test\r\n";
        stream
            .write_all(format!("{head}{body}").as_bytes())
            .await
            .unwrap();
        stream.shutdown().await.unwrap();
        rest(&mut stream).await;
        let targets: Vec<_> = world
            .demo
            .seen()
            .into_iter()
            .map(|seen| seen.target)
            .collect();
        assert!(!targets.contains(&"/smuggled".to_owned()), "{body}");
    }
}

#[tokio::test]
async fn heads_without_end_are_refused() {
    let world = World::new().await;
    let mut stream = world.raw().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: gateway.test\r\n")
        .await
        .unwrap();
    let line = format!("X-Long: {}\r\n", "x".repeat(8000));
    for _ in 0..100 {
        if stream.write_all(line.as_bytes()).await.is_err() {
            break;
        }
    }
    let answer = String::from_utf8_lossy(&rest(&mut stream).await).into_owned();
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
}

fn short(limits: impl FnOnce(&mut listener::Limits)) -> Options {
    let mut options = Options::default();
    limits(&mut options.listener);
    options
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_handshake_is_cut_off() {
    let limit = short(|limits| limits.handshake = Duration::from_millis(50));
    let world = World::with(limit).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
    rest(&mut stream).await;
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_head_is_cut_off() {
    let limit = short(|limits| limits.header = Duration::from_millis(50));
    let world = World::with(limit).await;
    let mut stream = world.raw().await;
    stream
        .write_all(b"GET /clusters/team-a/demo/api HTT")
        .await
        .unwrap();
    rest(&mut stream).await;
    let mut stream = h2(&world).await;
    stream.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    rest(&mut stream).await;
    world.nothing_arrived();
}

#[tokio::test]
async fn a_source_with_its_fill_of_connections_gets_no_more() {
    let world = World::with(short(|limits| limits.per_source = 2)).await;
    let (_one, _two) = (world.h1(None).await, world.h1(None).await);
    let mut third = TcpStream::connect(world.address).await.unwrap();
    assert!(rest(&mut third).await.is_empty());
}

async fn h2(world: &World) -> TlsStream<TcpStream> {
    let jane = world.certificate("jane", &["devs"]);
    world.tls(Some(&jane), ALPN_H2, "gateway.test").await
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `GET https://gateway.test/` in HPACK.
fn get_root() -> Vec<u8> {
    let mut block = vec![0x82, 0x84, 0x87, 0x41, 12];
    block.extend(b"gateway.test");
    block
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Sends frames until the gateway has had enough, which it must have before they run out.
async fn is_cut_off(world: &World, mut frames: impl FnMut(u32) -> Vec<u8>, most: u32) {
    let (mut reader, mut writer) = tokio::io::split(h2(world).await);
    writer.write_all(PREFACE).await.unwrap();
    writer.write_all(&frame(4, 0, 0, &[])).await.unwrap();
    let read = tokio::spawn(async move { rest(&mut reader).await });
    for number in 0..most {
        if writer.write_all(&frames(number)).await.is_err() || read.is_finished() {
            return;
        }
        tokio::task::yield_now().await;
    }
    // Everything was sent; the gateway may still be reading it. It closes, or this never ends.
    read.await.unwrap();
}

/// Incident 24: CVE-2023-44487.
#[tokio::test]
async fn requests_that_are_reset_at_once_close_the_connection() {
    let world = World::new().await;
    let reset = |number: u32| {
        let stream = number * 2 + 1;
        let mut frames = frame(1, 0x5, stream, &get_root());
        frames.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
        // Many at once: none is looked at before it is reset.
        frames
    };
    let batch = |number: u32| (0..100).flat_map(|one| reset(number * 100 + one)).collect();
    is_cut_off(&world, batch, 1000).await;
    world.nothing_arrived();
}

/// Incident 24: the CONTINUATION flood, RUSTSEC-2024-0332.
#[tokio::test]
async fn a_head_that_is_continued_for_ever_closes_the_connection() {
    let world = World::new().await;
    // A literal header without indexing, `a: xxxx…`.
    let mut block = vec![0x00, 1, b'a', 0x7f, 0xe9, 0x06];
    block.extend([b'x'; 1000]);
    let continued = move |number: u32| match number {
        0 => frame(1, 0, 1, &get_root()),
        _ => frame(9, 0, 1, &block),
    };
    is_cut_off(&world, continued, 100_000).await;
    world.nothing_arrived();
}

/// Incident 24: CVE-2025-8671, resets that the client makes the gateway send.
#[tokio::test]
async fn resets_that_a_client_provokes_close_the_connection() {
    let world = World::new().await;
    let provoke = |number: u32| {
        let stream = number * 2 + 1;
        let mut frames = frame(1, 0x5, stream, &get_root());
        // An increment of nothing is a stream error.
        frames.extend(frame(8, 0, stream, &0_u32.to_be_bytes()));
        frames
    };
    let batch = |number: u32| {
        (0..100)
            .flat_map(|one| provoke(number * 100 + one))
            .collect()
    };
    is_cut_off(&world, batch, 1000).await;
    world.nothing_arrived();
}
