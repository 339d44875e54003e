//! What is not ours in a kubeconfig stays as it was.

use proptest::prelude::*;

use super::*;

const FILE: &str = r#"
apiVersion: v1
kind: Config
preferences: {}
futureKey: {deep: [1, two, 3.5, null, true]}
clusters:
- name: a
  cluster:
    server: https://a
    certificate-authority: ../ca.crt
    unknown: kept
contexts:
- {name: a, context: {cluster: a, user: a, namespace: "0123"}}
users:
- name: a
  user:
    token: "1e3"
    username: "on"
    password: "yes"
current-context: a
"#;

#[test]
fn every_key_survives_a_round_trip_in_its_order() {
    let document = Document::parse(FILE).unwrap();
    let again = Document::parse(&document.to_yaml().unwrap()).unwrap();
    assert_eq!(document, again);
}

#[test]
fn strings_that_look_like_something_else_stay_strings() {
    let text = Document::parse(FILE).unwrap().to_yaml().unwrap();
    for quoted in ["0123", "1e3", "on", "yes"] {
        let in_quotes = [format!("\"{quoted}\""), format!("'{quoted}'")];
        assert!(
            in_quotes.iter().any(|q| text.contains(q)),
            "{quoted}: {text}"
        );
    }
    assert!(
        text.contains("../ca.crt"),
        "relative paths stay as they are: {text}"
    );
}

#[test]
fn an_empty_file_is_an_empty_kubeconfig() {
    for text in ["", "\n", "# only a comment\n", "---\n"] {
        assert_eq!(
            Document::parse(text).unwrap(),
            Document::default(),
            "{text:?}"
        );
    }
}

#[test]
fn what_is_no_kubeconfig_is_refused() {
    for text in ["[]", "text", "clusters: 5", "a: b: c", "{"] {
        assert!(Document::parse(text).is_err(), "{text}");
    }
}

#[test]
fn null_sections_are_empty_ones() {
    let mut document = Document::parse("contexts: null\n").unwrap();
    assert_eq!(document.names(Section::Contexts).count(), 0);
    document.upsert(Section::Contexts, "x", Node::map([]));
    assert!(document.has(Section::Contexts, "x"));
}

fn node() -> impl Strategy<Value = Node> {
    let text = prop_oneof![
        "[ -~]{0,12}",
        "\\PC{0,8}",
        "[ a-z\n]{70,100}",
        prop::sample::select(vec![
            "",
            "on",
            "off",
            "yes",
            "no",
            "~",
            "null",
            "0123",
            "1e3",
            "0x1f",
            ".5",
            "1_000",
            "12:30:45",
            "- a",
            "a: b",
            "#c",
            "<<",
            "=",
            "2001-01-01",
            "a\nb",
            "a\n\n",
            " x ",
            "\t",
            "|",
            ">",
            "@a",
            "`",
            "%",
            "!t",
            "&a",
            "*a",
            "y",
            "N",
            ".inf",
            "NaN",
            "---",
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Node::Null),
        any::<bool>().prop_map(Node::Bool),
        any::<i64>().prop_map(Node::Integer),
        text.clone().prop_map(Node::Text),
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Node::List),
            prop::collection::btree_map(text.clone(), inner, 0..4)
                .prop_map(|map| Node::Map(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_document_reads_back_as_it_was_written(extra in node(), name in "[ -~]{1,12}") {
        let mut document = Document::default();
        document.upsert(Section::Users, &name, extra);
        let text = document.to_yaml().unwrap();
        let again = Document::parse(&text);
        prop_assert!(again.is_ok(), "{text}\n{again:?}");
        prop_assert_eq!(again.unwrap(), document, "{}", text);
    }

    #[test]
    fn an_upsert_leaves_other_entries_alone(content in node(), name in "[b-z]{1,5}") {
        let before = Document::parse(FILE).unwrap();
        let mut after = before.clone();
        after.upsert(Section::Contexts, &name, content.clone());
        prop_assert_eq!(after.entry(Section::Contexts, &name), Some(&content));
        prop_assert_eq!(after.entry(Section::Contexts, "a"), before.entry(Section::Contexts, "a"));
        after.remove(Section::Contexts, &name);
        prop_assert_eq!(after, before);
    }
}
