//! Contexts that connect adds, and disconnect takes back.

use proptest::prelude::*;

use super::*;
use crate::kubeconfig::{document::Document, sources::Source};

const HOST: &str = r"apiVersion: v1
kind: Config
clusters:
- name: host
  cluster: {server: 'https://host:6443', future: kept}
contexts:
- {name: host, context: {cluster: host, user: me, namespace: team}}
- {name: other, context: {cluster: host, user: me}}
users:
- {name: me, user: {token: secret}}
current-context: host
";

fn sources(text: &str) -> Sources {
    Sources::new(vec![Source {
        path: "/home/me/.kube/config".into(),
        document: Document::parse(text).unwrap(),
        exists: true,
    }])
}

fn connection(name: &str) -> Connection {
    Connection {
        context: default_name(name, "team-a", "host"),
        server: format!("https://gw/clusters/team-a/{name}"),
        certificate_authority: Some(b"PEM".to_vec()),
        command: "/usr/local/bin/vcluster".to_owned(),
        args: vec!["credential".to_owned(), name.to_owned()],
        record: Record {
            gateway: "https://gw".to_owned(),
            host_namespace: "team-a".to_owned(),
            name: name.to_owned(),
            host_context: "host".to_owned(),
            host_kubeconfig: "/home/me/.kube/config".to_owned(),
            previous_context: None,
        },
    }
}

#[test]
fn a_connection_is_what_was_reviewed() {
    let mut sources = sources(HOST);
    connect(&mut sources, &connection("demo")).unwrap();
    insta::assert_snapshot!(sources.files()[0].document.to_yaml().unwrap());
}

#[test]
fn connecting_twice_is_connecting_once() {
    let mut sources = sources(HOST);
    connect(&mut sources, &connection("demo")).unwrap();
    let once = sources.clone();
    connect(&mut sources, &connection("demo")).unwrap();
    assert_eq!(sources, once);
}

#[test]
fn disconnecting_and_removing_restores_the_file() {
    let before = sources(HOST);
    let mut after = before.clone();
    connect(&mut after, &connection("demo")).unwrap();
    let done = disconnect(&mut after, true).unwrap();
    assert_eq!(done.to.as_deref(), Some("host"));
    assert_eq!(after, before);
}

#[test]
fn nested_connections_are_left_one_by_one() {
    let mut sources = sources(HOST);
    for name in ["a", "b", "a"] {
        connect(&mut sources, &connection(name)).unwrap();
    }
    let mut path = Vec::new();
    while let Ok(done) = disconnect(&mut sources, false) {
        path.push(done.to.unwrap());
    }
    let name = |n| default_name(n, "team-a", "host");
    assert_eq!(path, [name("b"), name("a"), "host".to_owned()]);
}

#[test]
fn an_entry_that_is_not_ours_is_never_replaced() {
    for text in [
        "contexts: [{name: mine, context: {cluster: x, user: y}}]",
        "clusters: [{name: mine, cluster: {server: s}}]",
        "users: [{name: mine, user: {token: t}}]",
    ] {
        let mut sources = sources(text);
        let before = sources.clone();
        let mut connection = connection("demo");
        connection.context = "mine".to_owned();
        let error = connect(&mut sources, &connection).unwrap_err();
        assert!(matches!(error, Error::Taken { .. }));
        assert_eq!(sources, before);
    }
}

#[test]
fn a_context_that_is_no_connection_is_not_left() {
    let mut sources = sources(HOST);
    let before = sources.clone();
    let error = disconnect(&mut sources, true).unwrap_err();
    assert_eq!(error, Error::NotConnected(Some("host".to_owned())));
    assert_eq!(sources, before);
}

#[test]
fn when_the_previous_context_is_gone_the_host_context_is_next() {
    let mut sources = sources(&HOST.replace("current-context: host", "current-context: other"));
    connect(&mut sources, &connection("demo")).unwrap();
    sources.remove(Section::Contexts, "other");
    assert_eq!(
        disconnect(&mut sources, false).unwrap().to.as_deref(),
        Some("host")
    );
}

#[test]
fn a_deleted_cluster_is_forgotten_with_all_its_contexts() {
    let before = sources(HOST);
    let mut after = before.clone();
    let mut second = connection("demo");
    second.context = "short".to_owned();
    connect(&mut after, &connection("demo")).unwrap();
    connect(&mut after, &second).unwrap();
    let gone = forget_cluster(&mut after, "https://gw", "team-a", "demo");
    assert_eq!(gone.len(), 2);
    assert_eq!(after, before);
    assert!(forget_cluster(&mut after, "https://gw", "team-a", "demo").is_empty());
}

#[test]
fn the_record_reads_back() {
    let mut sources = sources(HOST);
    connect(&mut sources, &connection("demo")).unwrap();
    let name = default_name("demo", "team-a", "host");
    let mut expected = connection("demo").record;
    expected.previous_context = Some("host".to_owned());
    assert_eq!(record(&sources, &name), Some(expected));
}

proptest! {
    #[test]
    fn disconnect_after_connect_restores_the_current_context(
        start in prop::option::of(prop::sample::select(vec!["host", "other"])),
        earlier in prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 0..4),
        name in prop::sample::select(vec!["a", "b", "c"]),
    ) {
        let mut sources = sources(HOST);
        sources.set_current_context(start);
        for e in earlier {
            connect(&mut sources, &connection(e)).unwrap();
        }
        let target = connection(name);
        let current = sources.current_context().map(str::to_owned);
        let others: Vec<_> = ["host", "other"]
            .map(|n| sources.find(Section::Contexts, n).map(|f| f.content.clone()))
            .into();
        connect(&mut sources, &target).unwrap();
        let done = disconnect(&mut sources, false).unwrap();
        if let Some(current) = current.filter(|c| *c != target.context) {
            prop_assert_eq!(done.to, Some(current));
        }
        for (n, before) in ["host", "other"].into_iter().zip(others) {
            let after = sources.find(Section::Contexts, n).map(|f| f.content.clone());
            prop_assert_eq!(after, before);
        }
    }
}
