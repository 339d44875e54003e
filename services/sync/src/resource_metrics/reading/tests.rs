//! What is asked of API servers, and what is held meanwhile.

use serde_json::json;
use vcluster_chassis::testing::{ApiServer, Call, json as answer};
use vcluster_translate::resource_metrics::Pod;

use super::*;

const PODS: &str = "/api/v1/pods?fieldSelector=spec.nodeName%21%3D";

fn tenant(name: &str) -> TenantUri {
    format!("vcluster://team-a/{name}/1").parse().unwrap()
}

/// In JSON. Written by hand, as the large ones take long otherwise.
fn pod(number: usize, annotation: &str) -> String {
    format!(
        r#"{{
            "metadata": {{"name": "web-{number}", "namespace": "shop", "annotations": {{"large": "{annotation}"}}}},
            "spec": {{"nodeName": "node-1", "containers": [{{"name": "main", "image": "nginx"}}]}}
        }}"#
    )
}

/// A server of so many pods of that size, which knows pages.
fn server(pods: usize, annotation: usize) -> ApiServer {
    let parameter = |call: &Call, name: &str| -> Option<usize> {
        let pairs = call
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        let mut values = pairs
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value);
        values.next().map(|value| value.parse().unwrap())
    };
    let annotation = "x".repeat(annotation);
    ApiServer::new(move |call| {
        let from = parameter(call, "continue").unwrap_or(0);
        let to = (from + parameter(call, "limit").unwrap_or(pods)).min(pods);
        let items: Vec<String> = (from..to).map(|number| pod(number, &annotation)).collect();
        let next = if to < pods {
            to.to_string()
        } else {
            String::new()
        };
        let items = items.join(",");
        Response::new(format!(
            r#"{{"metadata": {{"continue": "{next}"}}, "items": [{items}]}}"#
        ))
    })
}

fn queries(server: &ApiServer) -> Vec<String> {
    server.calls().into_iter().map(|call| call.query).collect()
}

#[tokio::test(start_paused = true)]
async fn pods_are_read_in_pages_of_which_only_what_is_needed_is_held() {
    let (readings, server) = (Readings::new(), server(250, 4 << 10));
    let mut reading = readings.enter(&tenant("demo")).unwrap();
    let pods: Vec<Pod> = reading.pages(&server.client(), PODS).await.unwrap();
    assert_eq!(pods.len(), 250);
    let of_nodes = "fieldSelector=spec.nodeName%21%3D";
    assert_eq!(
        queries(&server),
        [
            format!("{of_nodes}&limit=100"),
            format!("{of_nodes}&limit=100&continue=100"),
            format!("{of_nodes}&limit=100&continue=200"),
        ]
    );
    let held = HELD - readings.all.available_permits();
    assert!(held > 250 * OBJECT && held < 250 << 10, "{held}");
    drop((pods, reading));
    assert_eq!(readings.all.available_permits(), HELD);
}

#[tokio::test(start_paused = true)]
async fn pages_of_large_pods_are_shorter_and_what_is_too_large_is_refused() {
    let (readings, large) = (Readings::new(), server(30, 1 << 20));
    let mut reading = readings.enter(&tenant("demo")).unwrap();
    let pods: Vec<Pod> = reading.pages(&large.client(), PODS).await.unwrap();
    assert_eq!(pods.len(), 30);
    let limits: Vec<_> = queries(&large)
        .into_iter()
        .map(|query| query.split('&').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(limits[..3], ["limit=100", "limit=25", "limit=6"]);
    assert_eq!(limits.len(), 7, "{limits:?}");
    let too_large = server(1, ANSWER);
    let refused = reading
        .pages::<Pod>(&too_large.client(), PODS)
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Large), "{refused}");
    let refusal = refused.refusal("not so");
    assert_eq!(refusal.kind, Kind::Bad);
    assert!(
        refusal.message.contains("ask for one namespace"),
        "{}",
        refusal.message
    );
}

#[tokio::test(start_paused = true)]
async fn who_does_not_get_its_share_in_time_is_refused_and_served_when_there_is_room() {
    let (readings, server) = (Readings::new(), server(1, 0));
    let all = u32::try_from(HELD).unwrap();
    let others = Arc::clone(&readings.all)
        .acquire_many_owned(all)
        .await
        .unwrap();
    let read = async |name: &str| {
        let mut reading = readings.enter(&tenant(name)).unwrap();
        let pods = reading.pages::<Pod>(&server.client(), PODS).await;
        pods.map(|pods| pods.len())
            .map_err(|error| error.refusal("not so").kind)
    };
    let began = Instant::now();
    assert_eq!(read("demo").await, Err(Kind::Unavailable));
    assert_eq!(began.elapsed(), WAIT);
    drop(others);
    assert_eq!(read("demo").await, Ok(1));

    let mut greedy = readings.enter(&tenant("demo")).unwrap();
    greedy.composed(HELD_BY_TENANT).await.unwrap();
    assert_eq!(read("demo").await, Err(Kind::TooMany));
    assert_eq!(read("other").await, Ok(1), "nobody else is kept out");
    drop(greedy);
    assert_eq!(read("demo").await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_tenant_has_so_many_requests_at_once() {
    let readings = Readings::new();
    let enter = || readings.enter(&tenant("demo"));
    let held: Vec<_> = (0..REQUESTS).map(|_| enter().unwrap()).collect();
    assert_eq!(enter().unwrap_err().kind, Kind::TooMany);
    assert!(readings.enter(&tenant("other")).is_ok());
    drop(held);
    assert!(enter().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_end_or_of_nothing_but_objects_is_refused() {
    let readings = Readings::new();
    let mut reading = readings.enter(&tenant("demo")).unwrap();
    let endless = json!({"metadata": {"continue": "x"}, "items": []});
    let tiny = json!({"items": vec![json!({"metadata": {"name": ""}}); OBJECTS + 1]});
    for (said, expected) in [
        (endless, "an empty page has a next"),
        (tiny, "at most 20000 objects"),
    ] {
        let server = ApiServer::new(move |_call| answer(200, &said));
        let read = reading.pages::<Pod>(&server.client(), PODS).await;
        let refused = read.unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
        assert_eq!(server.calls().len(), 1);
    }
    let none = ApiServer::new(|_call| answer(200, json!({"items": null})));
    let read = reading.pages::<Pod>(&none.client(), PODS).await;
    assert_eq!(read.unwrap(), []);
    let stalling = crate::deadline::tests::stalling();
    let refused = reading.whole::<Pod>(&stalling, PODS).await.unwrap_err();
    assert_eq!(refused.to_string(), "no answer in time");
}
