//! A context is found over several files, as kubectl does.

use super::*;
use crate::kubeconfig::{document::Document, sources::Source};

fn sources(files: &[(&str, &str)]) -> Sources {
    Sources::new(
        files
            .iter()
            .map(|(path, text)| Source {
                path: PathBuf::from(path),
                document: Document::parse(text).unwrap(),
                exists: true,
            })
            .collect(),
    )
}

const FILE: &str = r"
current-context: dev
contexts:
- {name: dev, context: {cluster: dev, user: dev}}
- {name: broken, context: {cluster: nowhere, user: dev}}
- {name: half, context: {cluster: dev, user: half}}
clusters:
- name: dev
  cluster: {server: 'https://host:6443', certificate-authority: pki/ca.crt}
users:
- name: dev
  user:
    client-certificate-data: Y2VydA==
    client-key: dev.key
- name: half
  user: {client-key: x.key}
";

#[test]
fn relative_paths_start_at_the_file_that_holds_them() {
    let context = resolve(&sources(&[("/home/me/.kube/config", FILE)]), None).unwrap();
    assert_eq!(context.name, "dev");
    assert_eq!(
        context.cluster.certificate_authority,
        Some(Material::File("/home/me/.kube/pki/ca.crt".into()))
    );
    let (chain, key) = context.user.certificate.unwrap();
    assert_eq!(chain, Material::Inline(b"cert".to_vec()));
    assert_eq!(key, Material::File("/home/me/.kube/dev.key".into()));
}

#[test]
fn cluster_and_user_may_stand_in_other_files_than_the_context() {
    let files = [
        (
            "/a/1",
            "contexts: [{name: c, context: {cluster: k, user: u}}]\ncurrent-context: c\n",
        ),
        (
            "/b/2",
            "clusters: [{name: k, cluster: {server: 'https://k'}}]\n",
        ),
        (
            "/c/3",
            "users: [{name: u, user: {tokenFile: token, exec: null}}]\n",
        ),
    ];
    let context = resolve(&sources(&files), None).unwrap();
    assert_eq!(context.cluster.server, "https://k");
    assert_eq!(context.user.token_file, Some("/c/token".into()));
}

#[test]
fn exec_commands_are_resolved_as_kubectl_does() {
    for (command, expected) in [
        ("aws", "aws"),
        ("./bin/x", "/k/./bin/x"),
        ("/abs/x", "/abs/x"),
    ] {
        let text = format!(
            "contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\ncurrent-context: c\n\
             clusters: [{{name: k, cluster: {{server: s}}}}]\n\
             users: [{{name: u, user: {{exec: {{command: {command}, args: null}}}}}}]\n"
        );
        let context = resolve(&sources(&[("/k/config", &text)]), None).unwrap();
        assert_eq!(context.user.exec.unwrap().command, expected);
    }
}

#[test]
fn errors_name_the_entry_and_what_is_there() {
    let sources = sources(&[("/k", FILE)]);
    let message = |name| resolve(&sources, Some(name)).unwrap_err().to_string();
    insta::assert_snapshot!(
        [message("nope"), message("broken"), message("half")].join("\n"),
        @r#"
    the kubeconfig has no context "nope"; it has dev, broken, half
    the kubeconfig has no cluster "nowhere"; it has dev
    user "half" of the kubeconfig: it has a client-key and no client-certificate
    "#
    );
}
