//! connect, disconnect, credential.

use std::{fs, process::Stdio};

use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::world::{World, finish, read_yaml};

const CONTEXT: &str = "vcluster_demo_team-a_dev";

async fn with_demo() -> World {
    let world = World::new().await;
    world.gateway.add("team-a", "demo");
    world
}

/// The user entry of a kubeconfig that connect made.
fn exec(kubeconfig: &serde_json::Value) -> (String, Vec<String>) {
    let users = kubeconfig["users"].as_array().unwrap();
    let exec = &users.iter().find(|u| u["name"] == CONTEXT).unwrap()["user"]["exec"];
    let args = exec["args"].as_array().unwrap();
    let args = args
        .iter()
        .map(|arg| arg.as_str().unwrap().to_owned())
        .collect();
    (exec["command"].as_str().unwrap().to_owned(), args)
}

#[tokio::test]
async fn connect_switches_and_disconnect_switches_back() {
    let world = with_demo().await;
    let before = world.kubeconfig_json();
    world.run(&["connect", "demo"]).await.ok();
    assert_eq!(world.current_context(), CONTEXT);
    let during = world.kubeconfig_json();
    let server = &during["clusters"][1]["cluster"]["server"];
    assert_eq!(*server, format!("{}/clusters/team-a/demo", world.address));
    assert_eq!(during["clusters"][0], before["clusters"][0]);
    world.run(&["disconnect"]).await.ok();
    assert_eq!(world.current_context(), "dev");
    for again in [&["disconnect"][..], &["disconnect", "--remove"]] {
        let ended = world.run(again).await.ok();
        let said = "not connected: the current context \"dev\"";
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
    assert_eq!(world.current_context(), "dev");
}

#[tokio::test]
async fn commands_work_from_within_a_connection() {
    let world = with_demo().await;
    world.gateway.add("team-b", "other");
    world.run(&["connect", "demo"]).await.ok();
    world.run(&["connect", "other"]).await.ok();
    assert_eq!(world.current_context(), "vcluster_other_team-b_dev");
    world.run(&["disconnect", "--remove"]).await.ok();
    assert_eq!(world.current_context(), CONTEXT);
    world.run(&["disconnect", "--remove"]).await.ok();
    assert_eq!(world.current_context(), "dev");
}

#[tokio::test]
async fn print_gives_a_kubeconfig_whose_plugin_works_without_another_call() {
    let world = with_demo().await;
    let before = world.kubeconfig_json();
    let printed = world.run(&["connect", "demo", "--print"]).await.ok();
    assert_eq!(world.kubeconfig_json(), before);
    let kubeconfig: serde_json::Value = serde_saphyr::from_str(&printed.stdout).unwrap();
    assert_eq!(kubeconfig["current-context"], CONTEXT);
    let (command, args) = exec(&kubeconfig);
    let answer = finish(world.command(&command).args(args)).await.ok();
    let credential: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(credential["apiVersion"], "client.authentication.k8s.io/v1");
    assert_eq!(credential["status"]["token"], "issued-1");
    world.gateway.with(|state| assert_eq!(state.credentials, 1));
}

#[tokio::test]
async fn forty_kubectl_ask_the_gateway_once() {
    let world = with_demo().await;
    let printed = world.run(&["connect", "demo", "--print"]).await.ok();
    let kubeconfig: serde_json::Value = serde_saphyr::from_str(&printed.stdout).unwrap();
    fs::remove_dir_all(world.home.path().join(".cache")).unwrap();
    let (command, args) = exec(&kubeconfig);
    let runs = (0..40).map(|_| {
        let mut command = world.command(&command);
        command.args(&args);
        async move { finish(&mut command).await.ok() }
    });
    let answers = futures::future::join_all(runs).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.stdout.contains("issued-2"))
    );
    world.gateway.with(|state| assert_eq!(state.credentials, 2));
}

#[tokio::test]
async fn a_file_of_its_own_leaves_the_kubeconfig_alone() {
    let world = with_demo().await;
    let before = world.kubeconfig_json();
    let file = world.home.path().join("demo.yaml");
    world
        .run(&["connect", "demo", "--kube-config", file.to_str().unwrap()])
        .await
        .ok();
    assert_eq!(world.kubeconfig_json(), before);
    assert_eq!(read_yaml(&file)["current-context"], CONTEXT);
}

#[tokio::test]
async fn a_command_runs_with_its_own_kubeconfig_and_leaves_nothing() {
    let world = with_demo().await;
    let before = world.kubeconfig_json();
    let script = "cat \"$KUBECONFIG\"; exit 7";
    let ended = world
        .run(&["connect", "demo", "--", "sh", "-c", script])
        .await
        .failed(7);
    assert!(
        ended
            .stdout
            .contains("current-context: vcluster_demo_team-a_dev"),
        "{}",
        ended.stdout
    );
    assert_eq!(world.kubeconfig_json(), before);
    assert_eq!(fs::read_dir(world.temporary()).unwrap().count(), 0);
    world
        .run(&["connect", "demo", "--", "no-such-command"])
        .await
        .failed(127);
}

#[tokio::test]
async fn signals_reach_the_command() {
    let world = with_demo().await;
    let script = "trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = world
        .command(env!("CARGO_BIN_EXE_vcluster"))
        .args(["connect", "demo", "--", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
    let pid = child.id().unwrap().to_string();
    finish(world.command("kill").args(["-TERM", &pid]))
        .await
        .ok();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("caught"));
    assert_eq!(child.wait().await.unwrap().code(), Some(3));
    assert_eq!(fs::read_dir(world.temporary()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_client_certificate_is_presented_to_the_gateway() {
    let world = with_demo().await;
    let (address, ca) = (world.address.clone(), world.ca_file());
    let gateway = ["--gateway", &address, "--gateway-ca-file", &ca];
    let args = [&["list", "--context", "cert"][..], &gateway].concat();
    world.run(&args).await.ok();
    world.gateway.with(|state| {
        assert_eq!(state.certificates, 1);
        assert_eq!(state.tokens, [None]);
    });
}

#[tokio::test]
async fn whoever_may_not_connect_gets_no_context() {
    let world = with_demo().await;
    world.gateway.with(|state| state.deny_connecting = true);
    let before = world.kubeconfig_json();
    let ended = world.run(&["connect", "demo"]).await.failed(4);
    insta::assert_snapshot!(ended.stderr);
    assert_eq!(world.kubeconfig_json(), before);
}
