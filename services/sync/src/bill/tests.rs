//! What is counted, and for whom.

use http_body_util::{BodyExt as _, Full};
use tower::service_fn;

use super::*;

fn client(traffic: &Arc<Traffic>) -> kube::Client {
    let answers = service_fn(|_request: Request<Body>| async {
        let body = Full::new(Bytes::from_static(b"{\"items\":[]}"));
        Ok::<_, std::convert::Infallible>(Response::new(body))
    });
    kube::Client::new(Counting(Arc::clone(traffic)).layer(answers), "default")
}

fn request(path: &str, body: &'static [u8]) -> Request<Vec<u8>> {
    Request::post(path).body(body.to_vec()).unwrap()
}

#[tokio::test]
async fn requests_and_the_bytes_of_both_bodies_are_counted() {
    let traffic = Arc::new(Traffic::default());
    let client = client(&traffic);
    for _ in 0..2 {
        let answer = client.request::<serde_json::Value>(request("/api/v1/pods", b"four"));
        answer.await.unwrap();
    }
    let expected = Passed {
        requests: 2,
        sent: 8,
        received: 24,
        watches: 0,
    };
    assert_eq!(traffic.passed(), expected);
}

#[tokio::test]
async fn a_watch_is_open_until_its_answer_is_dropped() {
    let traffic = Arc::new(Traffic::default());
    let watch = Request::get("/api/v1/pods?limit=1&watch=true");
    let watch = watch.body(Body::empty()).unwrap();
    let answer = client(&traffic).send(watch).await.unwrap();
    assert_eq!(traffic.passed().watches, 1);
    drop(answer.into_body().collect().await.unwrap());
    assert_eq!(traffic.passed().watches, 0);
}

#[tokio::test]
async fn who_computes_pays_and_who_waits_does_not() {
    let (greedy, quiet) = (Arc::new(Bill::default()), Arc::new(Bill::default()));
    // Until the clock of the thread has moved: however coarse that is, it will.
    let spent = greedy.meter(async {
        let begun = thread_time();
        while thread_time() == begun {}
    });
    let waited = quiet.meter(tokio::task::yield_now());
    spent.await;
    assert!(greedy.cpu() > Duration::ZERO);
    assert_eq!(quiet.cpu(), Duration::ZERO);
    waited.await;
}

#[tokio::test]
async fn what_panics_is_paid_for() {
    let bill = Arc::new(Bill::default());
    let panics = bill.meter(async {
        let begun = thread_time();
        while thread_time() == begun {}
        panic!("in a test");
    });
    tokio::spawn(panics).await.unwrap_err();
    assert!(bill.cpu() > Duration::ZERO);
}

#[tokio::test]
async fn a_bill_that_begins_anew_keeps_the_watches_that_are_open() {
    let bill = Arc::new(Bill::default());
    let watch = Request::get("/api/v1/pods?watch=true").body(Body::empty());
    let answer = client(&bill.host).send(watch.unwrap()).await.unwrap();
    let spending = bill.meter(async {
        let begun = thread_time();
        while thread_time() == begun {}
    });
    spending.await;
    bill.reset();
    assert_eq!(bill.cpu(), Duration::ZERO);
    let open = Passed {
        watches: 1,
        ..Passed::default()
    };
    assert_eq!(bill.host.passed(), open);
    drop(answer);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_to_be_left_alone_is_heeded_for_a_minute_at_most() {
    for (status, header, expected) in [
        (429, Some("7"), Some(7)),
        (503, Some("100000"), Some(60)),
        (200, Some("7"), None),
        (429, Some("Fri, 31 Dec 1999 23:59:59 GMT"), None),
        (429, None, None),
    ] {
        let traffic = Arc::new(Traffic::default());
        let inner = service_fn(move |_request: Request<Body>| async move {
            let mut answer = Response::builder().status(status);
            if let Some(value) = header {
                answer = answer.header(RETRY_AFTER, value);
            }
            answer.body(Body::empty())
        });
        let mut client = Counting(Arc::clone(&traffic)).layer(inner);
        let request = Request::get("/").body(Body::empty()).unwrap();
        client.call(request).await.unwrap();
        let quiet = traffic.quiet().map(|left| left.as_secs());
        assert_eq!(quiet, expected, "{status} {header:?}");
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(traffic.quiet(), None);
    }
}
