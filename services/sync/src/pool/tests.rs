//! Connections grow by the streams that a peer allows.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use super::*;

#[derive(Debug)]
struct Plain(SocketAddr);

impl Connect for Plain {
    fn connect(&self) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let address = self.0;
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}

const LIMITS: Limits = Limits {
    connections: 8,
    connect: Duration::from_secs(20),
    response: Duration::from_secs(20),
    answer: Some(1 << 20),
};

/// A server that allows `streams` per connection; `/watch` is answered by a body that never ends.
async fn server(streams: u32) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::AcqRel);
            tokio::spawn(async move {
                let service = hyper::service::service_fn(answer);
                let _ended = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .max_concurrent_streams(streams)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (address, accepted)
}

type Sent = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

async fn answer(request: Request<Incoming>) -> Result<Response<Sent>, Infallible> {
    let body = if request.uri().path() == "/watch" {
        let endless = futures::stream::pending::<Result<http_body::Frame<Bytes>, Infallible>>();
        StreamBody::new(endless).boxed_unsync()
    } else {
        Empty::new().boxed_unsync()
    };
    Ok(Response::new(body))
}

async fn get(pool: &Pool, path: &str) -> Result<Response<Answer>, Error> {
    let request = Request::get(format!("http://server{path}"))
        .body(Body::empty())
        .unwrap();
    pool.clone().oneshot(request).await
}

#[tokio::test]
async fn watches_beyond_the_streams_of_a_connection_open_further_ones() {
    let (address, accepted) = server(3).await;
    let pool = Pool::new(Plain(address), LIMITS);
    let mut watches = Vec::new();
    for _ in 0..10 {
        watches.push(get(&pool, "/watch").await.unwrap());
    }
    assert_eq!(
        accepted.load(Ordering::Acquire),
        4,
        "ten streams, three each"
    );
    assert!(get(&pool, "/").await.unwrap().status().is_success());
    drop(watches);
}

#[tokio::test]
async fn a_burst_opens_no_more_connections_than_it_has_streams_to_place() {
    let (address, accepted) = server(100).await;
    let pool = Pool::new(Plain(address), LIMITS);
    let burst = (0..50).map(|_| get(&pool, "/watch"));
    let watches = futures::future::join_all(burst).await;
    assert!(watches.iter().all(Result::is_ok));
    assert_eq!(accepted.load(Ordering::Acquire), 1);
}

#[tokio::test]
async fn a_stream_that_is_given_back_serves_the_one_who_waits() {
    let (address, accepted) = server(1).await;
    let pool = Pool::new(
        Plain(address),
        Limits {
            connections: 1,
            ..LIMITS
        },
    );
    let first = get(&pool, "/watch").await.unwrap();
    let waits = tokio::spawn({
        let pool = pool.clone();
        async move { get(&pool, "/").await }
    });
    tokio::task::yield_now().await;
    drop(first);
    assert!(waits.await.unwrap().unwrap().status().is_success());
    assert_eq!(accepted.load(Ordering::Acquire), 1);
}

#[tokio::test]
async fn waiting_for_a_stream_has_a_deadline() {
    let (address, _accepted) = server(1).await;
    let limits = Limits {
        connections: 1,
        connect: Duration::from_millis(300),
        ..LIMITS
    };
    let pool = Pool::new(Plain(address), limits);
    let _watch = get(&pool, "/watch").await.unwrap();
    assert!(matches!(get(&pool, "/").await, Err(Error::Full)));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_and_can_be_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let pool = Pool::new(Plain(address), LIMITS);
    for _ in 0..2 {
        assert!(matches!(get(&pool, "/").await, Err(Error::Connect(_))));
    }
}

#[tokio::test]
async fn connections_that_are_not_needed_any_more_close() {
    let (address, _accepted) = server(2).await;
    let pool = Pool::new(Plain(address), LIMITS);
    let burst = (0..8).map(|_| get(&pool, "/watch"));
    let watches = futures::future::join_all(burst).await;
    assert!(pool.connections() >= 4);
    drop(watches);
    get(&pool, "/").await.unwrap();
    assert!(pool.connections() <= 3, "{}", pool.connections());
}

#[tokio::test]
async fn thirty_tenants_with_ten_watches_each_leave_room_for_requests() {
    let (address, _accepted) = server(100).await;
    let pool = Pool::new(Plain(address), LIMITS);
    let watches = futures::future::join_all((0..300).map(|_| get(&pool, "/watch"))).await;
    assert!(watches.iter().all(Result::is_ok));
    assert!(pool.connections() >= 3, "{}", pool.connections());
    assert!(get(&pool, "/").await.unwrap().status().is_success());
}
