//! What expressions give, and what is refused.

use serde_json::json;

use super::*;

const ALL: [&str; 3] = ["value", "object", "cluster"];

fn compiled(source: &str) -> Expression {
    Expression::compile(source, &ALL).unwrap()
}

fn evaluate(source: &str, value: &Value, object: &Value) -> Result<Value, Failure> {
    compiled(source).evaluate(Some(value), &Subject::new(object, "demo", "team-a"))
}

#[test]
fn expressions_change_values_as_kubernetes_cel_would() {
    let object = json!({"spec": {"size": 3, "kind": "Issuer", "list": ["a"]}, "big": u64::MAX});
    for (source, value, result) in [
        (
            "'tenant-' + value",
            json!("letsencrypt"),
            json!("tenant-letsencrypt"),
        ),
        (
            "value.substring(7)",
            json!("tenant-letsencrypt"),
            json!("letsencrypt"),
        ),
        (
            "cluster.namespace + '/' + cluster.name",
            json!(null),
            json!("team-a/demo"),
        ),
        ("value + 1", json!(2), json!(3)),
        (
            "value == null ? 'default' : value",
            json!(null),
            json!("default"),
        ),
        (
            "object.spec.kind == 'Issuer' && has(object.spec.size)",
            json!(null),
            json!(true),
        ),
        (
            "value.startsWith('a') ? null : value",
            json!("abc"),
            json!(null),
        ),
        (
            "{'name': value, 'list': [1, 2.5]}",
            json!("x"),
            json!({"name": "x", "list": [1, 2.5]}),
        ),
        (
            "value.matches('^[a-z]+$') ? value.upperAscii() : ''",
            json!("ab"),
            json!("AB"),
        ),
        ("object.spec.list[0]", json!(null), json!("a")),
    ] {
        assert_eq!(evaluate(source, &value, &object), Ok(result), "{source}");
    }
}

#[test]
fn what_does_not_fit_is_told_without_the_values() {
    let secret = json!("hunter2");
    for (source, says) in [
        ("value + 1", "fit"),
        ("object.none.deeper", "none"),
        ("value.substring(99)", "substring"),
        ("[1][5]", "index"),
        ("1 / 0", "zero"),
    ] {
        let failure = evaluate(source, &secret, &json!({}))
            .unwrap_err()
            .to_string();
        assert!(failure.contains(says), "{source}: {failure}");
        assert!(!failure.contains("hunter2"), "{source}: {failure}");
    }
    let large = Value::from("x".repeat(RESULT));
    assert_eq!(
        evaluate("value + value", &large, &json!({})),
        Err(Failure::TooLarge)
    );
}

#[test]
fn what_could_cost_too_much_or_names_what_is_not_there_is_refused() {
    let deep = format!("{}1{}", "(".repeat(60), ")".repeat(60));
    let long = format!("'{}'", "x".repeat(LIMIT));
    let minuses = format!("{}1", "-".repeat(400));
    let nots = format!("{}true", "!".repeat(400));
    let chain = format!("{}1", "true ? 1 : ".repeat(40));
    let hidden = format!("{}1{}", "(')'+".repeat(60), ")".repeat(60));
    let escaped = format!("{}1{}", "('\\'' + ')'+".repeat(30), ")".repeat(30));
    for (source, error) in [
        ("", "must be 1 to 512"),
        (long.as_str(), "must be 1 to 512"),
        (deep.as_str(), "nest"),
        (minuses.as_str(), "nest"),
        (nots.as_str(), "nest"),
        (chain.as_str(), "nest"),
        (hidden.as_str(), "nest"),
        (escaped.as_str(), "nest"),
        ("value.matches(object.pattern)", "give matches a text"),
        ("value.indexOf(value)", "give indexOf a text"),
        ("value.lastIndexOf(value, 1)", "give lastIndexOf a text"),
        ("value.matches('(')", "has a pattern"),
        (r"value.matches('(\\\\w{99}){99}')", "has a pattern"),
        ("value +", "not a CEL expression"),
        ("[1].map(x, x)", "loops"),
        ("object.list.all(x, object.list.all(y, x == y))", "loops"),
        ("{'a': [1].exists(x, x > 0)}", "loops"),
        ("request.user", "names \"request\""),
        ("value.replace('', value)", "names \"replace\""),
        ("value.split('')", "names \"split\""),
        ("now()", "names \"now\""),
        ("unknown(value)", "names \"unknown\""),
    ] {
        let refused = Expression::compile(source, &ALL).unwrap_err().to_string();
        assert!(refused.contains(error), "{source}: {refused}");
    }
    let long_but_flat = vec!["value"; 60].join(" + ");
    assert!(Expression::compile(&long_but_flat, &ALL).is_ok());
}

#[test]
fn a_condition_is_true_or_false() {
    let is_true = |source: &str| {
        let object = json!({"kind": "Issuer"});
        let subject = Subject::new(&object, "demo", "team-a");
        Expression::compile(source, &["object", "cluster"])
            .unwrap()
            .is_true(&subject)
    };
    assert_eq!(is_true("object.kind == 'Issuer'"), Ok(true));
    assert_eq!(is_true("object.kind == 'ClusterIssuer'"), Ok(false));
    assert_eq!(is_true("object.kind"), Err(Failure::Type("true or false")));
}

#[test]
fn what_an_object_is_made_of_cannot_make_its_expressions_cost_more_than_their_budget() {
    let many = json!({"items": vec![1; 500_000]});
    let long = Value::from("x".repeat(1 << 20));
    let twice = format!("[{}]", vec!["object"; 60].join(", "));
    let joined = vec!["value"; 60].join(" + ");
    let none = Value::Null;
    for (source, value, object) in [
        (twice.as_str(), &none, &many),
        (joined.as_str(), &long, &none),
        ("[object, object, object].size() == 3", &none, &many),
    ] {
        assert_eq!(
            evaluate(source, value, object),
            Err(Failure::TooCostly),
            "{source}"
        );
    }
    // Every item of a list is one evaluation, and all of them share the budget.
    let object = json!({"items": vec![1; 5_000]});
    let (subject, expression) = (
        Subject::new(&object, "demo", "team-a"),
        compiled("object.x == 1"),
    );
    let item = json!(1);
    let done = (0..5_000).map(|_| expression.evaluate(Some(&item), &subject));
    assert_eq!(done.last(), Some(Err(Failure::TooCostly)));
    // What people do is far below it.
    let object = json!({"items": vec![json!({"name": "a".repeat(50)}); 1_000]});
    let subject = Subject::new(&object, "demo", "team-a");
    let expression = compiled("'tenant-' + value.substring(value.indexOf('-') + 1)");
    let item = json!("a".repeat(50));
    for _ in 0..1_000 {
        expression.evaluate(Some(&item), &subject).unwrap();
    }
}
