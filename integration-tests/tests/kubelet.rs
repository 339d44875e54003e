//! Logs, exec, attach, port-forward, cp and debug inside a virtual cluster, by unmodified kubectl through the gateway.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use integration_tests::{Command, Forward, Tenant, eventually, host};
use serde_json::{Value, json};

/// kubectl's switch between WebSocket (its own choice) and SPDY.
const PROTOCOLS: [(&str, &str); 2] = [("WebSocket", "true"), ("SPDY", "false")];

fn pod(name: &str, script: &str, rest: &Value) -> String {
    let mut container = json!({"name": "main", "image": "docker.io/library/busybox:latest",
        "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script]});
    let mut spec = json!({"terminationGracePeriodSeconds": 1});
    for (key, value) in rest.as_object().into_iter().flatten() {
        if key.starts_with("stdin") {
            container[key] = value.clone();
        } else {
            spec[key] = value.clone();
        }
    }
    spec["containers"] = json!([container]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}).to_string()
}

fn running(tenant: &Tenant, name: &str) {
    tenant
        .kubectl(&format!(
            "wait --for=condition=Ready pod/{name} --timeout=120s"
        ))
        .ok();
}

fn kubectl(tenant: &Tenant, websocket: &str, args: &[&str]) -> Command {
    tenant
        .inside()
        .kubectl_args(args)
        .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websocket)
        .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websocket)
}

#[test]
fn logs_are_the_container_s_own_with_every_option() {
    let tenant = Tenant::create("logs");
    // The two streams of a container have no order between them: a second sets them apart.
    let talk = "echo first; sleep 1; echo second >&2; sleep 1; \
                i=0; while true; do echo tick $i; i=$((i+1)); sleep 1; done";
    tenant.inside().apply(&pod("talker", talk, &json!({})));
    running(&tenant, "talker");
    let logs = eventually("every line is there", || {
        let logs = tenant.kubectl("logs talker").ok();
        if logs.contains("tick") {
            Ok(logs)
        } else {
            Err(logs)
        }
    });
    assert!(logs.starts_with("first\n"), "{logs}");
    assert_eq!(
        tenant.kubectl("logs talker --limit-bytes=5").ok(),
        "first",
        "a limit in bytes"
    );
    let stamped = tenant.kubectl("logs talker --timestamps --tail=1").ok();
    assert_eq!(stamped.lines().count(), 1, "{stamped}");
    assert!(
        stamped.contains('T') && stamped.contains("Z tick"),
        "{stamped}"
    );
    // Ends by itself only once the pod has written more than it had when this began.
    let followed = tenant.kubectl("logs -f talker --limit-bytes=120").ok();
    assert_eq!(followed.len(), 120, "{followed}");
    assert!(followed.contains("tick 5"), "{followed}");
}

#[test]
fn the_logs_of_a_former_container_and_of_one_that_waits_are_told_as_kubernetes_tells_them() {
    let tenant = Tenant::create("former");
    tenant
        .inside()
        .apply(&pod("dying", "echo last words; exit 3", &json!({})));
    let mut waiting: Value =
        serde_json::from_str(&pod("waiting", "sleep 1", &json!({}))).expect("it was JSON");
    waiting["spec"]["containers"][0]["image"] = "docker.io/library/nothing:none".into();
    waiting["spec"]["containers"][0]["imagePullPolicy"] = "Never".into();
    tenant.inside().apply(&waiting.to_string());
    eventually("the former container's logs are there", || {
        let output = tenant.kubectl("logs dying --previous").run();
        if output.stdout == "last words\n" {
            Ok(())
        } else {
            Err(output)
        }
    });
    let told = eventually("the container waits", || {
        let output = tenant.kubectl("logs waiting").run();
        if output.stderr.contains("is waiting to start") {
            Ok(output)
        } else {
            Err(output)
        }
    });
    assert!(told.stderr.contains("\"waiting\""), "{told}");
    assert!(!told.stderr.contains("-x-"), "a host name shows: {told}");
    tenant
        .kubectl("logs waiting -c other")
        .refused(&["container other is not valid for pod waiting"]);
}

#[test]
fn commands_run_with_input_exit_code_and_terminal_in_both_protocols() {
    let tenant = Tenant::create("exec");
    tenant
        .inside()
        .apply(&pod("shell", "sleep 3600", &json!({})));
    running(&tenant, "shell");
    for (protocol, websocket) in PROTOCOLS {
        let script = "cat; echo oops >&2; exit 7";
        let output = kubectl(
            &tenant,
            websocket,
            &["exec", "-i", "shell", "--", "sh", "-c", script],
        )
        .input("hello\n")
        .run();
        assert_eq!(output.code, Some(7), "{protocol}:\n{output}");
        assert_eq!(output.stdout, "hello\n", "{protocol}:\n{output}");
        assert!(output.stderr.contains("oops"), "{protocol}:\n{output}");

        let line = "kubectl exec -it shell -- tty";
        let terminal = tenant
            .inside()
            .program("script", &["-qec", line, "/dev/null"])
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websocket)
            .ok();
        assert!(terminal.contains("/dev/pts/"), "{protocol}: {terminal}");

        // More than every buffer on the way.
        let many = kubectl(
            &tenant,
            websocket,
            &["exec", "shell", "--", "sh", "-c", "yes | head -c 3000000"],
        )
        .ok();
        assert_eq!(many.len(), 3_000_000, "{protocol}");
    }
    audited(&tenant, "exec", "shell", 101);
}

/// Waits until sync has written that a pod of that name was asked for, and how that was answered.
fn audited(tenant: &Tenant, verb: &str, pod: &str, code: u16) {
    let parts = [
        format!("vcluster://{}/{}/", tenant.namespace, tenant.name),
        format!("\"verb\":\"{verb}\""),
        format!("\"pod\":\"{pod}\""),
        format!("\"code\":{code}"),
    ];
    eventually("the audit shows it", || {
        let logs = tenant
            .host()
            .kubectl(&format!(
                "-n {} logs deploy/vcluster-sync --tail=2000",
                host::RELEASE
            ))
            .ok();
        let is_it = |line: &str| parts.iter().all(|part| line.contains(part.as_str()));
        let found = logs.lines().any(is_it);
        if found { Ok(()) } else { Err("no such line") }
    });
}

#[test]
fn files_are_copied_both_ways() {
    let tenant = Tenant::create("cp");
    tenant
        .inside()
        .apply(&pod("shell", "sleep 3600", &json!({})));
    running(&tenant, "shell");
    let there = tenant.folder().join("there");
    let back = tenant.folder().join("back");
    let content: Vec<u8> = (0..1_000_000_u32).map(|n| (n * 7 % 251) as u8).collect();
    std::fs::write(&there, &content).expect("the folder is there");
    for (_, websocket) in PROTOCOLS {
        let (from, to) = (there.display().to_string(), back.display().to_string());
        kubectl(&tenant, websocket, &["cp", &from, "shell:/tmp/file"]).ok();
        kubectl(&tenant, websocket, &["cp", "shell:/tmp/file", &to]).ok();
        assert!(std::fs::read(&back).expect("it was copied") == content);
        std::fs::remove_file(&back).expect("it was copied");
    }
}

#[test]
fn one_attaches_to_the_first_process() {
    let tenant = Tenant::create("attach");
    for (protocol, websocket) in PROTOCOLS {
        let name = protocol.to_lowercase();
        tenant.inside().apply(&pod(
            &name,
            "read line; echo got $line; sleep 3",
            // Without stdinOnce the end of the input ends the attachment, before it has shown the answer.
            &json!({"stdin": true, "stdinOnce": true, "restartPolicy": "Never"}),
        ));
        running(&tenant, &name);
        let output = kubectl(&tenant, websocket, &["attach", "-i", &name])
            .input("hello\n")
            .ok();
        assert!(output.contains("got hello"), "{protocol}: {output}");
    }
}

/// What answers HTTP on that port.
fn get(forward: &Forward) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", forward.port()))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn ports_are_forwarded_in_both_protocols() {
    let tenant = Tenant::create("forward");
    let mut web: Value = serde_json::from_str(&pod("web", "", &json!({}))).expect("it was JSON");
    web["spec"]["containers"][0] = json!({"name": "web", "image": "docker.io/library/nginx:latest",
        "imagePullPolicy": "IfNotPresent"});
    tenant.inside().apply(&web.to_string());
    running(&tenant, "web");
    for (protocol, websocket) in PROTOCOLS {
        let forward = Forward::to(&tenant.kubeconfig(), websocket, &["web", ":80"]);
        for _ in 0..3 {
            let answer = eventually("the pod answers", || get(&forward));
            assert!(answer.contains("200 OK"), "{protocol}: {answer}");
        }
    }
    audited(&tenant, "portforward", "web", 101);
}

#[test]
fn a_debug_container_is_added_and_reached() {
    let tenant = Tenant::create("debug");
    tenant
        .inside()
        .apply(&pod("shell", "sleep 3600", &json!({})));
    running(&tenant, "shell");
    tenant
        .inside()
        .kubectl_args(&[
            "debug",
            "shell",
            "--profile=baseline",
            "--image=docker.io/library/busybox:latest",
            "--image-pull-policy=IfNotPresent",
            "-c",
            "dbg",
            "--attach=false",
            "--",
            "sh",
            "-c",
            "echo from the debugger; sleep 3600",
        ])
        .ok();
    eventually("the debug container has spoken", || {
        let output = tenant.kubectl("logs shell -c dbg").run();
        if output.stdout.contains("from the debugger") {
            Ok(())
        } else {
            Err(output)
        }
    });
    let found = tenant.kubectl("exec shell -c dbg -- echo found").ok();
    assert_eq!(found, "found\n");

    // With a terminal, as a person does: kubectl waits for the container and attaches to its shell.
    let line = "kubectl debug shell -it --profile=baseline --image=docker.io/library/busybox:latest \
                --image-pull-policy=IfNotPresent -c terminal -- sh";
    let said = tenant
        .inside()
        .program("script", &["-qec", line, "/dev/null"])
        .input("tty; echo $((40 + 2)) answers; exit\n")
        .ok();
    assert!(said.contains("/dev/pts/"), "{said}");
    assert!(said.contains("42 answers"), "{said}");
}

/// sync's kubelet endpoint, asked with the very certificate of a virtual API server.
struct Endpoint {
    forward: Forward,
    folder: std::path::PathBuf,
}

impl Endpoint {
    fn of(tenant: &Tenant) -> Self {
        let secret = tenant
            .host()
            .kubectl(&format!(
                "-n {} get secret vcluster-pki -o json",
                tenant.namespace
            ))
            .json();
        for key in ["sync-client.crt", "sync-client.key", "platform-ca.crt"] {
            let encoded = secret["data"][key].as_str().unwrap_or_default().to_owned();
            let decoded = tenant.host().program("base64", &["-d"]).input(encoded).ok();
            std::fs::write(tenant.folder().join(key), decoded).expect("the folder is there");
        }
        let target = format!("--namespace={}", host::RELEASE);
        let config = tenant.host().kubeconfig().to_owned();
        let forward = Forward::to(&config, "true", &[&target, "svc/vcluster-sync", ":10250"]);
        Self {
            forward,
            folder: tenant.folder().to_owned(),
        }
    }

    /// The answer to a GET: code and text.
    fn get(&self, tenant: &Tenant, path: &str, certificate: bool) -> (String, String) {
        let name = format!("vcluster-sync.{}.svc", host::RELEASE);
        let file = |key: &str| self.folder.join(key).display().to_string();
        let (ca, cert, key) = (
            file("platform-ca.crt"),
            file("sync-client.crt"),
            file("sync-client.key"),
        );
        let connect = format!("{name}:10250:127.0.0.1:{}", self.forward.port());
        let url = format!("https://{name}:10250{path}");
        let mut args = vec![
            "-sS",
            "--path-as-is",
            "-w",
            "\n%{http_code}",
            "--cacert",
            &ca,
        ];
        args.extend(["--connect-to", &connect, &url]);
        if certificate {
            args.extend(["--cert", &cert, "--key", &key]);
        }
        let output = tenant.host().program("curl", &args).ok();
        let (text, code) = output.rsplit_once('\n').unwrap_or_default();
        (code.to_owned(), text.to_owned())
    }
}

#[test]
fn nothing_is_reached_but_the_tenant_s_own_pods() {
    let tenant = Tenant::create("mine");
    let other = Tenant::create("theirs");
    for (each, name) in [(&tenant, "shell"), (&other, "shell"), (&other, "alone")] {
        each.inside()
            .apply(&pod(name, "echo it is $HOSTNAME; sleep 3600", &json!({})));
    }
    running(&tenant, "shell");
    running(&other, "alone");
    let endpoint = Endpoint::of(&tenant);
    let get = |path: &str| endpoint.get(&tenant, path, true);
    let own = "/containerLogs/default/shell/main";
    assert_eq!(get(own).0, "200");
    assert_eq!(get("/healthz"), ("200".to_owned(), "ok".to_owned()));
    let (code, text) = endpoint.get(&tenant, own, false);
    assert_eq!(code, "403");
    assert!(text.contains("no client certificate was shown"), "{text}");
    for (path, expected) in [
        // Of the other tenant, of the host, of the control plane.
        ("/containerLogs/default/alone/main", "404"),
        (
            "/containerLogs/default/alone-x-default-x-theirs/main",
            "404",
        ),
        ("/containerLogs/default/shell-x-default-x-mine/main", "404"),
        ("/containerLogs/kube-system/coredns/coredns", "404"),
        ("/containerLogs/default/mine-0/kube-apiserver", "404"),
        ("/containerLogs/default/shell/injected", "404"),
        ("/containerLogs/../../api/v1/pods", "404"),
        ("/exec/default/alone/main?command=id&output=1", "404"),
        ("/attach/default/alone/main?output=1", "404"),
        ("/portForward/default/alone", "404"),
        ("/exec/default/shell/main?command=id&output=1", "400"),
        ("/run/default/shell/main?cmd=id", "403"),
        ("/pods", "403"),
        ("/configz", "403"),
        ("/metrics/cadvisor", "403"),
    ] {
        let (code, text) = get(path);
        assert_eq!(code, expected, "{path}: {text}");
        assert!(
            path.contains("-x-") || !text.contains("-x-"),
            "a host name shows that was not asked for: {text}"
        );
    }
    // What an administrator of the host adds to the pod is not the tenant's.
    tenant
        .host()
        .kubectl_args(&[
            "-n",
            &tenant.namespace,
            "debug",
            "shell-x-default-x-mine",
            "--image=docker.io/library/busybox:latest",
            "--image-pull-policy=IfNotPresent",
            "-c",
            "spy",
            "--attach=false",
            "--",
            "sh",
            "-c",
            "echo secret; sleep 3600",
        ])
        .ok();
    assert_eq!(get("/containerLogs/default/shell/spy").0, "404");
    for verb in ["log", "exec", "attach", "portforward"] {
        audited(&tenant, verb, "alone", 404);
    }
}
