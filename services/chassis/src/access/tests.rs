//! Reviews against an API server double, with a clock that is moved.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Response;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;
use crate::identity::Identity;
use crate::metrics::Registry;
use crate::testing::{self, ApiServer, Call, capture_logs};

fn known(user: &Value) -> Response<String> {
    testing::json(201, review(&json!({"authenticated": true, "user": user})))
}

fn review(status: &Value) -> Value {
    json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "metadata": {},
        "spec": {},
        "status": status,
    })
}

fn failure(code: u16) -> Response<String> {
    let body = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": "m", "reason": "r", "code": code,
    });
    testing::json(code, body)
}

fn reviewer(server: &ApiServer, audiences: &[&str]) -> TokenReviewer {
    let audiences = audiences.iter().map(ToString::to_string).collect();
    TokenReviewer::new(server.client(), audiences, CacheConfig::TOKENS)
}

fn token(text: &str) -> SecretString {
    SecretString::from(text)
}

#[tokio::test]
async fn a_token_gives_the_whole_identity() {
    let server = ApiServer::new(|_| {
        known(&json!({
            "username": "jane", "uid": "42", "groups": ["dev", "system:authenticated"],
            "extra": {"Scopes": ["a", "b"]},
        }))
    });
    let identity = reviewer(&server, &[]).review(&token("t")).await.unwrap();
    let expected = Identity {
        user: "jane".to_owned(),
        uid: Some("42".to_owned()),
        groups: vec!["dev".to_owned(), "system:authenticated".to_owned()],
        extra: BTreeMap::from([("scopes".to_owned(), vec!["a".to_owned(), "b".to_owned()])]),
    };
    assert_eq!(identity, expected);
    let calls = server.calls();
    assert_eq!(calls[0].path, "/apis/authentication.k8s.io/v1/tokenreviews");
    assert_eq!(calls[0].body["spec"], json!({"token": "t"}));
}

#[tokio::test]
async fn answers_that_name_nobody_are_refusals() {
    let cases = [
        (json!({"authenticated": false}), "does not know it"),
        (
            json!({"authenticated": false, "error": "token expired"}),
            "token expired",
        ),
        (json!({"user": {"username": "jane"}}), "does not know it"),
        (
            json!({"authenticated": true, "user": {"username": ""}}),
            "names no user",
        ),
        (json!({"authenticated": true}), "names no user"),
    ];
    for (status, expected) in cases {
        let answer = review(&status);
        let server = ApiServer::new(move |_| testing::json(201, &answer));
        let error = reviewer(&server, &[])
            .review(&token("t"))
            .await
            .unwrap_err();
        assert!(matches!(&error, Error::Unauthenticated { reason } if reason.contains(expected)));
        assert_eq!(error.code(), tonic::Code::Unauthenticated);
    }
}

#[tokio::test]
async fn a_token_must_be_meant_for_one_of_our_audiences() {
    let cases = [
        (json!(["vcluster"]), true),
        (json!(["other", "vcluster"]), true),
        (json!(["other"]), false),
        (json!([]), false),
        (Value::Null, false),
    ];
    for (audiences, accepted) in cases {
        let status = json!({
            "authenticated": true, "user": {"username": "jane"}, "audiences": audiences.clone(),
        });
        let answer = review(&status);
        let server = ApiServer::new(move |_| testing::json(201, &answer));
        let reviewed = reviewer(&server, &["vcluster"]).review(&token("t")).await;
        assert_eq!(reviewed.is_ok(), accepted, "{audiences}");
        assert_eq!(
            server.calls()[0].body["spec"]["audiences"],
            json!(["vcluster"])
        );
    }
}

#[tokio::test]
async fn blank_and_oversized_tokens_cost_no_call() {
    let server = ApiServer::new(|_| known(&json!({"username": "jane"})));
    let reviewer = reviewer(&server, &[]);
    for text in [String::new(), "  \t".to_owned(), "x".repeat(MAX_TOKEN + 1)] {
        let error = reviewer.review(&token(&text)).await.unwrap_err();
        assert!(matches!(error, Error::Unauthenticated { .. }));
    }
    assert!(server.calls().is_empty());
    assert!(
        reviewer
            .review(&token(&"x".repeat(MAX_TOKEN)))
            .await
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn a_known_token_is_good_for_ten_seconds_and_an_unknown_one_for_two() {
    let server = ApiServer::new(|call: &Call| match call.body["spec"]["token"].as_str() {
        Some("good") => known(&json!({"username": "jane"})),
        _ => testing::json(201, review(&json!({"authenticated": false}))),
    });
    let reviewer = reviewer(&server, &[]);
    for (text, seconds) in [("good", 10), ("bad", 2)] {
        let before = server.calls().len();
        drop(reviewer.review(&token(text)).await);
        tokio::time::advance(Duration::from_millis(seconds * 1000 - 1)).await;
        drop(reviewer.review(&token(text)).await);
        assert_eq!(server.calls().len() - before, 1, "{text} is kept");
        tokio::time::advance(Duration::from_millis(1)).await;
        drop(reviewer.review(&token(text)).await);
        assert_eq!(
            server.calls().len() - before,
            2,
            "{text} is asked for again"
        );
    }
}

#[tokio::test]
async fn callers_with_one_token_share_one_call() {
    let server = ApiServer::new(|_| known(&json!({"username": "jane"})));
    let reviewer = reviewer(&server, &[]);
    let shared = token("t");
    let reviews = (0..20).map(|_| reviewer.review(&shared));
    let identities = futures::future::try_join_all(reviews).await.unwrap();
    assert_eq!(identities.len(), 20);
    assert_eq!(server.calls().len(), 1);
}

#[tokio::test]
async fn a_failed_call_is_unavailable_and_not_kept() {
    let server = ApiServer::new(|_| failure(503));
    let reviewer = reviewer(&server, &[]);
    for _ in 0..2 {
        let error = reviewer.review(&token("t")).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)));
    }
    assert_eq!(server.calls().len(), 2);
}

#[tokio::test]
async fn a_service_that_may_not_ask_is_misconfigured() {
    let server = ApiServer::new(|_| failure(403));
    let error = reviewer(&server, &[])
        .review(&token("t"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), tonic::Code::Internal);
    assert!(matches!(error, Error::Misconfigured(_)));
}

#[tokio::test]
async fn tokens_stand_in_no_log_and_no_message() {
    let (logs, _guard) = capture_logs();
    let server = ApiServer::new(|_| failure(503));
    let secret = token("very-secret");
    let reviewer = reviewer(&server, &[]);
    let error = reviewer.review(&secret).await.unwrap_err();
    let shown = format!("{reviewer:?} {error:?} {error} {}", logs.text());
    assert!(!shown.contains("very-secret"), "{shown}");
}

fn connect() -> Attributes {
    Attributes {
        group: "vcluster.dev".to_owned(),
        resource: "virtualclusters".to_owned(),
        subresource: String::new(),
        namespace: "team-a".to_owned(),
        name: "demo".to_owned(),
        verb: "connect".to_owned(),
    }
}

fn decision(status: &Value) -> Response<String> {
    let body = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "metadata": {}, "spec": {}, "status": status,
    });
    testing::json(201, body)
}

#[tokio::test]
async fn the_question_carries_the_whole_identity_and_the_attributes() {
    let server = ApiServer::new(|_| decision(&json!({"allowed": true})));
    let mut jane = Identity::user("jane").group("dev");
    jane.uid = Some("42".to_owned());
    jane.extra.insert("scopes".to_owned(), vec!["a".to_owned()]);
    Authorizer::new(server.client())
        .check(&jane, &connect())
        .await
        .unwrap();
    let calls = server.calls();
    assert_eq!(
        calls[0].path,
        "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    );
    let expected = json!({
        "user": "jane", "uid": "42", "groups": ["dev"], "extra": {"scopes": ["a"]},
        "resourceAttributes": {
            "group": "vcluster.dev", "resource": "virtualclusters", "namespace": "team-a",
            "name": "demo", "verb": "connect",
        },
    });
    assert_eq!(calls[0].body["spec"], expected);
}

#[tokio::test]
async fn answers_are_counted_with_where_they_came_from() {
    let server = ApiServer::new(|_| decision(&json!({"allowed": true})));
    let mut registry = Registry::new("test", "0");
    let metrics = Metrics::register(&mut registry);
    let authorizer = Authorizer::new(server.client()).metrics(&metrics);
    for _ in 0..3 {
        authorizer
            .check(&Identity::user("x"), &connect())
            .await
            .unwrap();
    }
    let text = registry.encode();
    for line in [
        r#"access_answers_total{question="Access",answer="Yes"} 1"#,
        r#"access_answers_total{question="Access",answer="CachedYes"} 2"#,
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn a_refusal_reads_like_kubectls() {
    let server = ApiServer::new(|_| decision(&json!({"allowed": false})));
    let authorizer = Authorizer::new(server.client());
    let error = authorizer
        .check(&Identity::user("x"), &connect())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"user "x" cannot connect virtualclusters.vcluster.dev "demo" in namespace "team-a""#
    );
    assert_eq!(
        tonic::Status::from(error).code(),
        tonic::Code::PermissionDenied
    );
}

#[test]
fn attributes_are_told_in_words() {
    let nodes = Attributes {
        resource: "nodes".to_owned(),
        subresource: "status".to_owned(),
        verb: "get".to_owned(),
        ..Attributes::default()
    };
    assert_eq!(nodes.to_string(), "get nodes/status at the cluster scope");
}

#[tokio::test]
async fn both_allowed_and_denied_means_denied() {
    let server = ApiServer::new(|_| {
        decision(&json!({"allowed": true, "denied": true, "reason": "by policy"}))
    });
    let authorizer = Authorizer::new(server.client());
    let error = authorizer
        .check(&Identity::user("x"), &connect())
        .await
        .unwrap_err();
    assert!(error.to_string().ends_with(": by policy"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_yes_is_kept_for_ten_seconds_and_a_no_for_five() {
    for (allowed, seconds) in [(true, 10), (false, 5)] {
        let server = ApiServer::new(move |_| decision(&json!({"allowed": allowed})));
        let authorizer = Authorizer::new(server.client());
        let jane = Identity::user("jane");
        drop(authorizer.check(&jane, &connect()).await);
        tokio::time::advance(Duration::from_millis(seconds * 1000 - 1)).await;
        drop(authorizer.check(&jane, &connect()).await);
        assert_eq!(server.calls().len(), 1);
        tokio::time::advance(Duration::from_millis(1)).await;
        drop(authorizer.check(&jane, &connect()).await);
        assert_eq!(server.calls().len(), 2);
    }
}

#[tokio::test]
async fn the_same_name_with_other_groups_is_another_question() {
    let server = ApiServer::new(|call: &Call| {
        decision(&json!({"allowed": call.body["spec"]["groups"] == json!(["admins"])}))
    });
    let authorizer = Authorizer::new(server.client());
    let admin = Identity::user("jane").group("admins");
    assert!(authorizer.check(&admin, &connect()).await.is_ok());
    assert!(
        authorizer
            .check(&Identity::user("jane"), &connect())
            .await
            .is_err()
    );
    let mut other_uid = admin.clone();
    other_uid.uid = Some("2".to_owned());
    authorizer.check(&other_uid, &connect()).await.unwrap();
    assert_eq!(server.calls().len(), 3);
}

#[test]
fn every_part_of_a_question_is_part_of_its_key() {
    let key = |identity: &Identity, attributes: &Attributes| {
        authorizer::key(&authorizer::review(identity, attributes))
    };
    let jane = || Identity::user("jane").group("a");
    let mut others = vec![
        (jane(), connect()),
        (Identity::user("janea"), connect()),
        (Identity::user("jane").group("").group("a"), connect()),
        (jane().group("b"), connect()),
    ];
    let mut with = |change: fn(&mut Identity, &mut Attributes)| {
        let (mut identity, mut attributes) = (jane(), connect());
        change(&mut identity, &mut attributes);
        others.push((identity, attributes));
    };
    with(|identity, _| identity.uid = Some(String::new()));
    with(|identity, _| identity.uid = Some("1".to_owned()));
    with(|identity, _| drop(identity.extra.insert("k".into(), vec![])));
    with(|identity, _| drop(identity.extra.insert("k".into(), vec!["v".into()])));
    with(|identity, _| drop(identity.extra.insert("kv".into(), vec![])));
    with(|_, attributes| attributes.group.clear());
    with(|_, attributes| attributes.resource.push('x'));
    with(|_, attributes| attributes.subresource.push('x'));
    with(|_, attributes| attributes.namespace.push('x'));
    with(|_, attributes| attributes.name.push('x'));
    with(|_, attributes| attributes.verb.push('x'));
    // The same letters, cut elsewhere.
    with(|_, attributes| {
        attributes.namespace = "team-ad".to_owned();
        attributes.name = "emo".to_owned();
    });
    let keys: std::collections::HashSet<_> = others
        .iter()
        .map(|(identity, attributes)| key(identity, attributes))
        .collect();
    assert_eq!(keys.len(), others.len());
    assert_eq!(key(&jane(), &connect()), key(&jane(), &connect()));
}

#[tokio::test]
async fn keys_of_extra_attributes_that_differ_in_case_only_are_one() {
    let server = ApiServer::new(|_| {
        known(&json!({"username": "jane", "extra": {"Scopes": ["a"], "scopes": ["b"]}}))
    });
    let identity = reviewer(&server, &[]).review(&token("t")).await.unwrap();
    assert_eq!(identity.extra["scopes"], ["a", "b"]);
}
