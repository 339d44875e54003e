//! Who gets into a virtual cluster, as whom, and with which rights.

use integration_tests::{Host, Tenant, host};
use serde_json::json;

fn grant(tenant: &Tenant, user: &str, verbs: &[&str]) {
    let namespace = &tenant.namespace;
    tenant.host().apply(
        &json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
             "metadata": {"name": user, "namespace": namespace},
             "rules": [{"apiGroups": ["vcluster.dev"], "resources": ["virtualclusters"], "verbs": verbs}]},
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
             "metadata": {"name": user, "namespace": namespace},
             "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
             "subjects": [{"kind": "ServiceAccount", "name": user, "namespace": namespace}]},
        ]})
        .to_string(),
    );
}

fn user(tenant: &Tenant, name: &str) -> Host {
    tenant
        .host()
        .service_account(&tenant.namespace, name, tenant.folder())
}

#[test]
fn a_user_without_the_right_is_refused_with_a_clear_message() {
    let tenant = Tenant::create("closed");
    let jane = user(&tenant, "jane");
    let args = format!("connect closed -n {} --print", tenant.namespace);
    jane.vcluster(&args).refused(&["jane", "closed"]);
    jane.vcluster(&format!("delete closed -n {}", tenant.namespace))
        .refused(&["jane"]);
    // Nor does a stranger learn from the answer whether a cluster exists.
    let absent = jane
        .vcluster(&args.replace("closed", "absent"))
        .run()
        .stderr;
    assert!(!absent.contains("not found"), "{absent}");
}

#[test]
fn connect_lets_a_user_in_as_itself_and_admin_as_administrator() {
    let tenant = Tenant::create("rights");
    let namespace = &tenant.namespace;
    let enter = |name: &str, verbs: &[&str]| {
        let who = user(&tenant, name);
        grant(&tenant, name, verbs);
        let path = tenant.folder().join(format!("{name}.virtual"));
        who.vcluster(&format!(
            "connect rights -n {namespace} --kube-config {}",
            path.display()
        ))
        .ok();
        Host::by(path)
    };
    let visitor = enter("visitor", &["get", "connect"]);
    visitor
        .kubectl("get namespaces")
        .refused(&["Forbidden", "visitor"]);
    let review = visitor.kubectl("auth whoami -o json").json();
    let name = review["status"]["userInfo"]["username"]
        .as_str()
        .unwrap_or_default();
    assert!(name.contains("visitor"), "{review}");

    let administrator = enter("administrator", &["get", "connect", "admin"]);
    administrator.kubectl("get secrets -A").ok();
    // What the virtual cluster's own RBAC grants a visitor, it grants to this visitor alone.
    let user_flag = format!("--user={name}");
    tenant
        .inside()
        .kubectl_args(&[
            "create",
            "clusterrolebinding",
            "v",
            "--clusterrole=view",
            &user_flag,
        ])
        .ok();
    visitor.kubectl("get pods -A").ok();
    visitor.kubectl("get secrets -A").refused(&["Forbidden"]);
}

#[test]
fn the_administrator_inside_is_a_stranger_outside() {
    let tenant = Tenant::create("stranger");
    tenant.kubectl("auth can-i * *").ok();
    let connected = tenant.kubectl("config view --raw --flatten -o json").json();
    let plugin = &connected["users"][0]["user"]["exec"];
    let mut args: Vec<&str> = Vec::new();
    for arg in plugin["args"]
        .as_array()
        .expect("an exec plugin has arguments")
    {
        args.push(arg.as_str().expect("arguments are strings"));
    }
    let program = plugin["command"]
        .as_str()
        .expect("an exec plugin has a command");
    let credential = tenant.host().program(program, &args).json();
    let token = credential["status"]["token"]
        .as_str()
        .expect("it is a bearer token");

    let host = host_with_token(&tenant, token);
    host.kubectl("get namespaces")
        .refused(&["You must be logged in"]);
    let other = Tenant::create("other");
    let elsewhere = with_token(&other, token);
    elsewhere
        .kubectl("get namespaces")
        .refused(&["You must be logged in"]);
}

/// The host's API server, addressed with this token.
fn host_with_token(tenant: &Tenant, token: &str) -> Host {
    rewrite(tenant, tenant.host(), "outside", token)
}

/// The tenant's API server at the gateway, addressed with this token.
fn with_token(tenant: &Tenant, token: &str) -> Host {
    rewrite(tenant, &tenant.inside(), "elsewhere", token)
}

fn rewrite(tenant: &Tenant, from: &Host, name: &str, token: &str) -> Host {
    let mut config = from
        .kubectl("config view --raw --flatten --minify -o json")
        .json();
    config["users"][0]["user"] = json!({"token": token});
    let path = tenant.folder().join(name);
    std::fs::write(&path, config.to_string()).expect("the folder is ours");
    Host::by(path)
}

#[test]
fn forged_identity_headers_change_nothing() {
    let tenant = Tenant::create("forged");
    let visitor = user(&tenant, "forger");
    grant(&tenant, "forger", &["get", "connect"]);
    let path = tenant.folder().join("forger.virtual");
    visitor
        .vcluster(&format!(
            "connect forged -n {} --kube-config {}",
            tenant.namespace,
            path.display()
        ))
        .ok();
    let inside = Host::by(path);
    let config = inside
        .kubectl("config view --raw --flatten --minify -o json")
        .json();
    let server = config["clusters"][0]["cluster"]["server"]
        .as_str()
        .expect("it has a server");
    let token = visitor
        .kubectl("config view --raw --flatten -o json")
        .json()["users"][0]["user"]["token"]
        .clone();
    let bearer = format!(
        "Authorization: Bearer {}",
        token.as_str().expect("it is a token")
    );
    let url = format!("{server}/api/v1/secrets");
    for forged in [
        vec!["X-Remote-User: admin", "X-Remote-Group: system:masters"],
        vec![
            "X-Remote-Group: system:masters",
            "Connection: X-Remote-User",
        ],
        vec!["x_remote_group: system:masters"],
        vec![
            "Connection: x-remote-group, x-remote-user",
            "Connection: close",
        ],
    ] {
        let mut args = vec![
            "-sk",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-H",
            &bearer,
        ];
        for header in &forged {
            args.extend(["-H", header]);
        }
        args.push(&url);
        let code = visitor.program("curl", &args).ok();
        assert!(code == "403" || code == "400", "{forged:?}: {code}");
    }
    let anonymous = [
        "-sk",
        "-H",
        "X-Remote-User: admin",
        "-H",
        "X-Remote-Group: system:masters",
        &url,
    ];
    let answer = visitor.program("curl", &anonymous).json();
    assert_eq!(answer["kind"], "Status");
    assert_eq!(answer["code"], 401);
}

#[test]
fn watches_stream_through_the_gateway() {
    let tenant = Tenant::create("stream");
    // kubectl wait follows a watch, and --for=create begins before the object exists.
    let inside = tenant.inside();
    let waiting = std::thread::spawn(move || {
        inside
            .kubectl("wait --for=create configmap/late --timeout=60s")
            .ok()
    });
    tenant.kubectl("create configmap late").ok();
    waiting.join().expect("the watch saw it");
}

#[test]
fn connect_and_disconnect_leave_the_kubeconfig_as_it_was() {
    let tenant = Tenant::create("switch");
    let path = tenant.folder().join("mine");
    std::fs::copy(tenant.host().kubeconfig(), &path).expect("it can be copied");
    let me = Host::by(path);
    let before = me.kubectl("config current-context").ok();
    me.vcluster(&format!("connect switch -n {}", tenant.namespace))
        .ok();
    assert_ne!(me.kubectl("config current-context").ok(), before);
    let namespaces = host::items(&me.kubectl("get namespaces -o json").json());
    assert_eq!(namespaces.len(), 4);
    me.vcluster("disconnect").ok();
    assert_eq!(me.kubectl("config current-context").ok(), before);
    let listed = me
        .program(
            "vcluster",
            &[
                "connect",
                "switch",
                "-n",
                &tenant.namespace,
                "--",
                "kubectl",
                "get",
                "ns",
                "-o",
                "name",
            ],
        )
        .ok();
    assert_eq!(listed.lines().count(), 4, "{listed}");
    assert_eq!(me.kubectl("config current-context").ok(), before);
}
