//! What users meet when something is wrong.

use std::process::Stdio;

use super::{
    gateway::Authority,
    world::{World, finish},
};

#[tokio::test]
async fn every_violation_is_shown_by_field() {
    let world = World::new().await;
    let ended = world
        .run(&["create", "a-x-b", "-n", "team-a"])
        .await
        .failed(2);
    insta::assert_snapshot!(ended.stderr);
}

#[tokio::test]
async fn a_service_that_restarts_is_waited_for() {
    let world = World::new().await;
    world.gateway.add("a", "demo");
    world.gateway.with(|state| state.unavailable = 2);
    let ended = world.run(&["list", "-o", "name", "--verbose"]).await.ok();
    assert_eq!(ended.stdout, "a/demo\n");
    assert_eq!(
        ended
            .stderr
            .matches("control is restarting; trying again")
            .count(),
        2
    );
}

#[tokio::test]
async fn a_gateway_that_is_away_is_named() {
    let world = World::new().await;
    let ca = world.ca_file();
    // Bound and dropped: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let gateway = format!("https://127.0.0.1:{port}");
    let args = [
        "list",
        "--gateway",
        &gateway,
        "--gateway-ca-file",
        &ca,
        "--request-timeout",
        "1s",
    ];
    let ended = world.run(&args).await.failed(7);
    let expected = format!("error: no connection to the gateway {gateway}\n");
    assert!(ended.stderr.starts_with(&expected), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("Connection refused"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn a_gateway_with_another_certificate_is_not_trusted_and_not_tried_again() {
    let world = World::new().await;
    let ca = world.home.path().join("other.crt");
    std::fs::write(&ca, Authority::new().pem()).unwrap();
    let args = [
        "list",
        "-v",
        "--gateway",
        &world.address,
        "--gateway-ca-file",
        ca.to_str().unwrap(),
    ];
    let ended = world.run(&args).await.failed(7);
    assert!(ended.stderr.contains("certificate"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("trying again"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_cluster_without_vcluster_says_so() {
    let world = World::without_gateway().await;
    let ended = world.run(&["list"]).await.failed(3);
    insta::assert_snapshot!(ended.stderr);
}

#[tokio::test]
async fn listing_without_the_right_points_to_one_namespace() {
    let world = World::new().await;
    world.gateway.add("team-a", "demo");
    world.gateway.add("vcluster-own", "own");
    world.gateway.with(|state| state.deny_listing = true);
    let ended = world.run(&["list"]).await.failed(4);
    insta::assert_snapshot!(ended.stderr);
    world.run(&["list", "-n", "team-a"]).await.ok();
    world.run(&["get", "own"]).await.ok();
    // Who has connected once need not name the host namespace again.
    world.run(&["connect", "demo", "-n", "team-a"]).await.ok();
    let listed = world.run(&["list", "-o", "name"]).await.ok();
    assert_eq!(listed.stdout, "team-a/demo\n");
    let said = "these are those of team-a";
    assert!(listed.stderr.contains(said), "{}", listed.stderr);
    world.run(&["disconnect", "--remove"]).await.ok();
    let mut kubeconfig = world.kubeconfig_json();
    assert_eq!(kubeconfig["contexts"][0]["name"], "dev");
    kubeconfig["contexts"][0]["context"]["namespace"] = "team-a".into();
    std::fs::write(world.kubeconfig(), kubeconfig.to_string()).unwrap();
    let listed = world.run(&["list", "-o", "name"]).await.ok();
    assert_eq!(listed.stdout, "team-a/demo\n");
    world.run(&["get", "demo"]).await.failed(4);
    let refused = world.run(&["delete", "own"]).await.failed(4);
    assert!(
        refused.stderr.contains("-n HOST-NAMESPACE"),
        "{}",
        refused.stderr
    );
}

#[tokio::test]
async fn an_ambiguous_name_lists_the_candidates() {
    let world = World::new().await;
    world.gateway.add("team-a", "demo");
    world.gateway.add("team-b", "demo");
    let ended = world.run(&["connect", "demo"]).await.failed(2);
    assert!(ended.stderr.contains("team-a, team-b"), "{}", ended.stderr);
}

#[tokio::test]
async fn without_a_kubeconfig_the_way_out_is_shown() {
    let world = World::new().await;
    std::fs::remove_file(world.kubeconfig()).unwrap();
    let ended = world.run(&["list"]).await.failed(3);
    assert!(ended.stderr.contains("--context"), "{}", ended.stderr);
    let ended = world
        .run(&["list", "--kubeconfig", "/nowhere"])
        .await
        .failed(3);
    assert!(
        ended.stderr.contains("/nowhere does not exist"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_error() {
    let world = World::new().await;
    let mut child = world
        .command(env!("CARGO_BIN_EXE_vcluster"))
        .args(["completion", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[tokio::test]
async fn colour_only_where_it_is_wanted() {
    let world = World::new().await;
    let list = async |name: &str, value: &str| {
        let mut command = world.command(env!("CARGO_BIN_EXE_vcluster"));
        finish(command.args(["get", "none"]).env(name, value))
            .await
            .failed(3)
            .stderr
    };
    assert!(
        !list("TERM", "xterm").await.contains('\x1b'),
        "standard error is no terminal"
    );
    assert!(list("CLICOLOR_FORCE", "1").await.contains('\x1b'));
    assert!(!list("NO_COLOR", "1").await.contains('\x1b'));
}

#[tokio::test]
async fn the_config_file_names_a_gateway_for_a_context() {
    let world = World::without_gateway().await;
    let folder = world.home.path().join(".config/vcluster");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("gw.crt"), world.authority.pem()).unwrap();
    let config = format!(
        "contexts: {{dev: {{gateway: {{address: '{}', caFile: gw.crt}}}}}}\n",
        world.address
    );
    std::fs::write(folder.join("config.yaml"), config).unwrap();
    world.run(&["list"]).await.ok();
}

#[tokio::test]
async fn a_format_is_refused_where_nothing_is_printed_in_one() {
    let world = World::new().await;
    for command in ["connect", "disconnect", "delete"] {
        let ended = world.run(&[command, "-o", "json"]).await.failed(2);
        if command == "disconnect" {
            let said = "-o is for the commands that print data";
            assert!(ended.stderr.contains(said), "{}", ended.stderr);
        }
    }
    let ended = world
        .run(&["connect", "demo", "--print", "-o", "json"])
        .await
        .failed(2);
    assert!(ended.stderr.contains("-o is for"), "{}", ended.stderr);
}
