//! Watches and other long answers: they flow, and they end when they must.

use bytes::Bytes;
use futures::StreamExt;
use http_body::Frame;
use http_body_util::StreamBody;
use secrecy::ExposeSecret;
use tokio::sync::{mpsc, oneshot};

use super::client::get;
use super::*;
use crate::body::BoxError;

const WATCH: &str = "/clusters/team-a/demo/api/v1/pods?watch=true";

/// A watch whose events the test sends.
fn watch(world: &World) -> mpsc::Sender<&'static str> {
    let (events, receiver) = mpsc::channel::<&'static str>(8);
    let receiver = Mutex::new(Some(receiver));
    world.demo.answers(move |_| {
        let receiver = receiver.lock().unwrap().take();
        async move {
            let events = futures::stream::unfold(receiver.unwrap(), |mut receiver| async move {
                let event = receiver.recv().await?;
                Some((Ok::<_, BoxError>(Frame::data(Bytes::from(event))), receiver))
            });
            Response::new(StreamBody::new(events).boxed_unsync())
        }
    });
    events
}

/// Whether nothing follows and the end is a clean one.
async fn ended(body: &mut Incoming) -> bool {
    loop {
        match body.frame().await {
            None => return true,
            // HTTP/2 may end a stream by an empty frame.
            Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => {}
            Some(Ok(_) | Err(_)) => return false,
        }
    }
}

/// A body without end, `chunk` after `chunk`; `pulled` counts what was taken.
fn endless(pulled: Arc<std::sync::atomic::AtomicUsize>) -> Body {
    let chunks = futures::stream::repeat_with(move || {
        pulled.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok::<_, BoxError>(Frame::data(Bytes::from_static(&[7; 16 << 10])))
    });
    StreamBody::new(chunks).boxed_unsync()
}

#[tokio::test]
async fn each_event_of_a_watch_arrives_as_it_comes() {
    let world = World::new().await;
    let jane = world.certificate("jane", &[]);
    for mut client in [world.h1(Some(&jane)).await, world.h2(Some(&jane)).await] {
        let events = watch(&world);
        let mut body = client.get(WATCH).await.into_body();
        for event in ["ADDED", "MODIFIED", "DELETED"] {
            events.send(event).await.unwrap();
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), event);
        }
        drop(events);
        assert!(ended(&mut body).await, "a watch that ends there ends here");
    }
}

#[tokio::test]
async fn a_watch_ends_at_the_api_server_when_its_client_goes() {
    let world = World::new().await;
    let jane = world.certificate("jane", &[]);
    for mut client in [world.h1(Some(&jane)).await, world.h2(Some(&jane)).await] {
        let events = watch(&world);
        let mut body = client.get(WATCH).await.into_body();
        events.send("ADDED").await.unwrap();
        body.frame().await.unwrap().unwrap();
        drop((client, body));
        events.closed().await;
    }
}

#[tokio::test]
async fn a_watch_breaks_here_when_the_api_server_breaks_off() {
    let world = World::new().await;
    let (break_off, broken) = oneshot::channel::<()>();
    let broken = Mutex::new(Some(broken));
    world.demo.answers(move |_| {
        let broken = broken.lock().unwrap().take().unwrap();
        async move {
            let first = futures::stream::once(async { Ok(Frame::data(Bytes::from_static(b"x"))) });
            let then = futures::stream::once(async move {
                drop(broken.await);
                Err::<Frame<Bytes>, BoxError>("broken".into())
            });
            Response::new(StreamBody::new(first.chain(then)).boxed_unsync())
        }
    });
    let mut body = world.jane().await.get(WATCH).await.into_body();
    body.frame().await.unwrap().unwrap();
    break_off.send(()).unwrap();
    assert!(body.frame().await.unwrap().is_err());
}

#[tokio::test]
async fn a_watch_ends_cleanly_with_the_credential() {
    let world = World::new().await;
    let events = watch(&world);
    let jane = vcluster_chassis::identity::Identity::user("jane");
    let issued = world
        .credentials
        .issue(&jane, &demo(), Duration::from_mins(1))
        .unwrap();
    let bearer = format!("Bearer {}", issued.token.expose_secret());
    // A moment before its end, so that the gateway looks again at once.
    world.clock.advance(Duration::from_millis(59_500));
    let mut client = world.h2(None).await;
    let request = get(WATCH, &[("authorization", &bearer)]);
    let mut body = client.send(request).await.into_body();
    events.send("ADDED").await.unwrap();
    body.frame().await.unwrap().unwrap();
    world.clock.advance(Duration::from_secs(1));
    assert!(ended(&mut body).await);
}

#[tokio::test]
async fn a_drain_ends_watches_cleanly_and_closes_the_connection() {
    let world = World::new().await;
    let events = watch(&world);
    let mut client = world.jane().await;
    let mut body = client.get(WATCH).await.into_body();
    events.send("ADDED").await.unwrap();
    body.frame().await.unwrap().unwrap();
    world.shutdown.begin("test");
    assert!(ended(&mut body).await);
    let Client::Http2(mut sender) = client else {
        unreachable!("jane speaks HTTP/2")
    };
    assert!(sender.ready().await.is_err(), "the connection is closed");
}

/// The measured trap: with the protocol's default windows a stalled reader stops everybody.
#[tokio::test]
async fn a_reader_that_stalls_holds_back_nobody_else() {
    let world = World::new().await;
    world.allow("joe", &demo(), "connect");
    let pulled = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&pulled);
    world.demo.answers(move |request| {
        let endless_body = request.uri().path().ends_with("stalled");
        let counted = Arc::clone(&counted);
        async move {
            if endless_body {
                Response::new(endless(counted))
            } else {
                Response::new(crate::body::full(vec![7; 8 << 20]))
            }
        }
    });
    let (mut jane, mut joe) = (
        world.jane().await,
        world.h2(Some(&world.certificate("joe", &[]))).await,
    );
    let mut stalled = Vec::new();
    for _ in 0..8 {
        let mut response = jane.get("/clusters/team-a/demo/stalled").await;
        response.body_mut().frame().await.unwrap().unwrap();
        stalled.push(response);
    }
    // On the same connection of the client, and on another that shares the one to the API server.
    for client in [&mut jane, &mut joe] {
        // Held back it would never end; the limit only makes that a failure.
        let read = async {
            let response = client.get("/clusters/team-a/demo/api").await;
            response.into_body().collect().await.unwrap().to_bytes()
        };
        let body = tokio::time::timeout(Duration::from_mins(1), read)
            .await
            .unwrap();
        assert_eq!(body.len(), 8 << 20);
    }
    let connections: BTreeSet<_> = world
        .demo
        .seen()
        .iter()
        .map(|seen| seen.connection)
        .collect();
    assert_eq!(connections.len(), 1, "they did share a connection");
    let held = pulled.load(std::sync::atomic::Ordering::Relaxed) * (16 << 10);
    assert!(
        held < 8 * (4 << 20),
        "a stalled stream holds a bounded part: {held} bytes"
    );
}

#[tokio::test]
async fn more_streams_than_a_connection_holds_take_another_one() {
    let world = World::new().await;
    world
        .demo
        .answers(|_| async { Response::new(endless(Arc::default())) });
    let mut jane = world.jane().await;
    let mut open = Vec::new();
    for _ in 0..95 {
        open.push(jane.get("/clusters/team-a/demo/api").await);
    }
    let connections: BTreeSet<_> = world
        .demo
        .seen()
        .iter()
        .map(|seen| seen.connection)
        .collect();
    assert_eq!(connections.len(), 2);
}
