//! Credential plugins are run, cached and refused as client-go does.

use secrecy::ExposeSecret as _;

use super::*;

fn cluster() -> Cluster {
    Cluster {
        server: "https://host".to_owned(),
        certificate_authority: None,
        insecure: false,
        tls_server_name: None,
        proxy_url: None,
        raw: serde_json::json!({"server": "https://host", "secret-field": 1}),
    }
}

fn plugin(script: &str, mode: Option<&str>, attendance: Attendance) -> Plugin {
    let exec = Exec {
        command: "sh".to_owned(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: vec![],
        api_version: V1.to_owned(),
        install_hint: None,
        provide_cluster_info: true,
        interactive_mode: mode.map(str::to_owned),
    };
    Plugin::new(exec, cluster(), attendance)
}

#[tokio::test]
async fn a_token_and_its_end_are_read() {
    let script = r#"echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",
        "status":{"token":"abc","expirationTimestamp":"2030-01-01T00:00:00Z"}}'"#;
    let given = plugin(script, None, Attendance::Unattended)
        .run()
        .await
        .unwrap();
    assert_eq!(given.token.unwrap().expose_secret(), "abc");
    assert_eq!(given.expires, Some("2030-01-01T00:00:00Z".parse().unwrap()));
}

#[tokio::test]
async fn the_plugin_is_told_about_the_cluster_and_that_nobody_is_there() {
    // The plugin gives back, as its token, what it was told.
    let script = r#"printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",
        "status":{"token":"%s"}}' "$(printf %s "$KUBERNETES_EXEC_INFO" | sed 's/"/./g')""#;
    let given = plugin(script, None, Attendance::Unattended)
        .run()
        .await
        .unwrap();
    let told = given.token.unwrap().expose_secret().to_owned();
    assert!(told.contains(".interactive.:false"), "{told}");
    assert!(told.contains(".server.:.https://host."), "{told}");
    assert!(!told.contains("secret-field"), "{told}");
}

#[tokio::test]
async fn failures_say_which_plugin_and_never_what_it_printed() {
    let failed = plugin("echo token-abc; exit 3", None, Attendance::Unattended)
        .run()
        .await;
    assert!(matches!(failed, Err(Error::Failed { .. })));
    let garbled = plugin("echo token-abc", None, Attendance::Unattended)
        .run()
        .await
        .unwrap_err();
    assert!(!garbled.to_string().contains("token-abc"), "{garbled}");
    let empty = plugin(
        r#"echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{}}'"#,
        None,
        Attendance::Unattended,
    );
    assert!(matches!(empty.run().await, Err(Error::Answer { .. })));
}

#[test]
fn a_plugin_gets_the_terminal_only_if_it_wants_it_and_one_is_there() {
    use Attendance::{Attended, Unattended};
    for (mode, attendance, expected) in [
        (None, Attended, Some(true)),
        (None, Unattended, Some(false)),
        (Some("Never"), Attended, Some(false)),
        (Some("IfAvailable"), Attended, Some(true)),
        (Some("IfAvailable"), Unattended, Some(false)),
        (Some("Always"), Attended, Some(true)),
        (Some("Always"), Unattended, None),
    ] {
        let got = plugin("", mode, attendance).interactive().ok();
        assert_eq!(got, expected, "{mode:?} {attendance:?}");
    }
}

#[tokio::test]
async fn a_missing_plugin_gives_its_own_advice() {
    let mut plugin = plugin("", None, Attendance::Unattended);
    plugin.exec.command = "/nowhere/plugin".to_owned();
    plugin.exec.install_hint = Some("install it with brew".to_owned());
    let error = plugin.run().await.unwrap_err();
    assert!(
        error.to_string().ends_with("install it with brew"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_hangs_is_killed() {
    let error = plugin("sleep 1000", None, Attendance::Unattended)
        .run()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }));
}
