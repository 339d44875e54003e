//! Ingresses of virtual clusters, served by an ingress controller of the host: what a client gets.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use integration_tests::{Tenant, collector::NETNS, eventually};
use rustix::{
    fd::AsFd as _,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use serde_json::{Value, json};

const NGINX: &str = "docker.io/library/nginx:latest";

/// Runs `work` in the host cluster's network, where its nodes have their addresses.
fn inside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let netns = std::env::var_os(NETNS).expect("VCLUSTER_TEST_NETNS names the cluster's network");
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let file = File::open(PathBuf::from(netns)).expect("the cluster is up");
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("tests of a cluster run as root");
            work()
        });
        thread.join().expect("the thread does not panic")
    })
}

fn request(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

/// The answer of a controller at `address`, in plain HTTP.
fn get(address: &str, host: &str, path: &str) -> Result<String, String> {
    inside(|| {
        let answer = || {
            let target = format!("{address}:80").parse().expect("an address");
            let wait = Duration::from_secs(10);
            let mut stream = TcpStream::connect_timeout(&target, wait)?;
            stream.set_read_timeout(Some(wait))?;
            stream.write_all(request(host, path).as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        };
        answer().map_err(|error| error.to_string())
    })
}

/// The same by TLS; the controller must show a certificate for `host` that `authority` vouches for.
fn get_by_tls(address: &str, host: &str, authority: &Path) -> Result<String, String> {
    let connect = format!("{address}:443");
    let mut openssl = Command::new("timeout");
    openssl
        .args(["10", "openssl", "s_client", "-quiet", "-connect", &connect])
        .args([
            "-servername",
            host,
            "-verify_hostname",
            host,
            "-verify_return_error",
        ])
        .arg("-CAfile")
        .arg(authority);
    let input = request(host, "/");
    let output = inside(|| {
        let mut child = openssl
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()?;
        // Held until the answer is there: the client ends at the end of its input.
        let mut pipe = child.stdin.take();
        if let Some(pipe) = &mut pipe {
            pipe.write_all(input.as_bytes())?;
        }
        let mut answer = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut answer)?;
        }
        drop(pipe);
        let output = child.wait_with_output()?;
        Ok::<_, std::io::Error>((answer, String::from_utf8_lossy(&output.stderr).into_owned()))
    });
    match output {
        Ok((answer, _)) if answer.starts_with("HTTP/1.1 200") => Ok(answer),
        Ok((answer, said)) => Err(format!("{answer}\n{said}")),
        Err(error) => Err(error.to_string()),
    }
}

/// A certificate for `host` that vouches for itself, and its key.
fn certificate(folder: &Path, host: &str) -> (PathBuf, PathBuf) {
    let [certificate, key] = ["crt", "key"].map(|end| folder.join(format!("{host}.{end}")));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"])
        .args(["-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(["-subj", &format!("/CN={host}")])
        .args(["-addext", &format!("subjectAltName=DNS:{host}")])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl is there: the dev cluster is made with it");
    assert!(made.status.success(), "{made:?}");
    (certificate, key)
}

/// An application: a web server with two pages, its Service, and an Ingress for `host` whose paths
/// lead to it by its port's number and by its name.
fn application(host: &str, page: &str) -> String {
    let labels = json!({"app": "web"});
    let of = |kind: &str, version: &str, rest: Value| {
        let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "web", "namespace": "default"}});
        for (key, value) in rest.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        object
    };
    let backend = |port: Value| json!({"service": {"name": "web", "port": port}});
    let items = [
        of(
            "ConfigMap",
            "v1",
            json!({"data": {"index.html": page, "more.html": format!("more of {page}")}}),
        ),
        of(
            "Deployment",
            "apps/v1",
            json!({"spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "volumes": [{"name": "pages", "configMap": {"name": "web", "items": [
                        {"key": "index.html", "path": "index.html"}, {"key": "more.html", "path": "more/index.html"},
                    ]}}],
                    "containers": [{"name": "main", "image": NGINX, "imagePullPolicy": "IfNotPresent",
                        "volumeMounts": [{"name": "pages", "mountPath": "/usr/share/nginx/html"}]}],
                }},
            }}),
        ),
        of(
            "Service",
            "v1",
            json!({"spec": {"selector": labels, "ports": [{"name": "http", "port": 80}]}}),
        ),
        of(
            "Ingress",
            "networking.k8s.io/v1",
            json!({"spec": {
                "ingressClassName": "dev",
                "tls": [{"hosts": [host], "secretName": "web"}],
                "rules": [{"host": host, "http": {"paths": [
                    {"path": "/", "pathType": "Exact", "backend": backend(json!({"number": 80}))},
                    {"path": "/more", "pathType": "Prefix", "backend": backend(json!({"name": "http"}))},
                    {"path": "/gone", "pathType": "Prefix", "backend": {"service": {"name": "gone", "port": {"number": 80}}}},
                ]}}],
            }}),
        ),
    ];
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// Sets it up and returns its host, the controller's address as its status tells it inside, and its
/// certificate.
fn publish(tenant: &Tenant) -> (String, String, PathBuf) {
    let host = format!("{}.{}.example.com", tenant.name, tenant.namespace);
    let (certificate, key) = certificate(tenant.folder(), &host);
    let secret = format!(
        "create secret tls web --cert={} --key={}",
        certificate.display(),
        key.display()
    );
    tenant.kubectl(&secret).ok();
    tenant
        .inside()
        .apply(&application(&host, &format!("the page of {}", tenant.name)));
    tenant
        .kubectl("rollout status deployment/web --timeout=180s")
        .ok();
    let address = eventually("the controller's address comes up", || {
        let shown = tenant.kubectl("get ingress web -o json").json();
        let address = &shown["status"]["loadBalancer"]["ingress"][0]["ip"];
        address
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| shown["status"].to_string())
    });
    (host, address, certificate)
}

#[track_caller]
fn answers(what: &str, expected: &str, ask: impl Fn() -> Result<String, String>) {
    eventually(what, || match ask() {
        Ok(answer) if answer.contains(expected) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn applications_of_two_tenants_answer_by_their_host_paths_and_certificates() {
    let (red, blue) = Tenant::pair("red", "blue");
    let published = [&red, &blue].map(publish);
    for (tenant, (host, address, certificate)) in [&red, &blue].into_iter().zip(&published) {
        let page = format!("the page of {}", tenant.name);
        answers("its page", &format!("\r\n\r\n{page}"), || {
            get(address, host, "/")
        });
        answers("its other path", &format!("more of {page}"), || {
            get(address, host, "/more/")
        });
        answers("a Service that is not there", "503", || {
            get(address, host, "/gone")
        });
        answers("a path that nobody names", "404", || {
            get(address, host, "/else")
        });
        answers("its page by TLS", &page, || {
            get_by_tls(address, host, certificate)
        });
    }
    let [(red_host, address, red_certificate), (blue_host, _, _)] = &published;
    answers("a host that nobody names", "404", || {
        get(address, "nobody.example.com", "/")
    });
    get_by_tls(address, blue_host, red_certificate)
        .expect_err("blue's host does not show red's certificate");

    red.kubectl("delete ingress web").ok();
    answers("nothing is served once it is gone", "404", || {
        get(address, red_host, "/")
    });
    answers(
        "and the other is served as before",
        "the page of blue",
        || get(address, blue_host, "/"),
    );
}
