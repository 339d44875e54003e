//! Who may depend on whom, and what the pure crates may not do. ARCHITECTURE.md gives the reasons.
//!
//! Needs neither a cluster nor a build of the services: it asks cargo, and reads the sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Every crate of ours, and on which of ours it stands: the table of ARCHITECTURE.md. Tests and build scripts included.
const STANDS_ON: [(&str, &[&str]); 11] = [
    ("vcluster-proto", &[]),
    ("vcluster-resources", &[]),
    ("vcluster-translate", &["vcluster-resources"]),
    ("vcluster-chassis", &[]),
    (
        "vcluster-control",
        &["vcluster-chassis", "vcluster-proto", "vcluster-resources"],
    ),
    (
        "vcluster-sync",
        &[
            "vcluster-chassis",
            "vcluster-proto",
            "vcluster-resources",
            "vcluster-translate",
        ],
    ),
    (
        "vcluster-connect",
        &["vcluster-chassis", "vcluster-proto", "vcluster-resources"],
    ),
    ("vcluster-client", &["vcluster-proto"]),
    ("vcluster-benchmarks", &["vcluster-resources"]),
    ("integration-tests", &[]),
    ("xtask", &[]),
];
/// Crates that decide and never do.
const PURE: [&str; 2] = ["vcluster-resources", "vcluster-translate"];

/// A crate of ours.
#[derive(Debug)]
struct Member {
    folder: PathBuf,
    /// Names of its normal dependencies; those of build scripts and tests are not shipped.
    normal: BTreeSet<String>,
    /// Names of all of them.
    all: BTreeSet<String>,
}

fn metadata(extra: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--offline"])
        .args(extra)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata failed:\n{errors}");
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("it is a member")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("cargo says a string here")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("cargo says a list here")
}

fn members() -> BTreeMap<String, Member> {
    let metadata = metadata(&["--no-deps"]);
    let member = |package: &Value| {
        let manifest = Path::new(text(&package["manifest_path"]));
        let dependencies = list(&package["dependencies"]);
        let named = |all: bool| {
            let kept = dependencies.iter().filter(|d| all || d["kind"].is_null());
            kept.map(|d| text(&d["name"]).to_owned()).collect()
        };
        let member = Member {
            folder: manifest
                .parent()
                .expect("a manifest is in a folder")
                .to_owned(),
            normal: named(false),
            all: named(true),
        };
        (text(&package["name"]).to_owned(), member)
    };
    list(&metadata["packages"]).iter().map(member).collect()
}

/// Every package that is compiled into `name` on this platform, tests aside.
fn closure(name: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--edges=normal,no-proc-macro",
            "--prefix=none",
            "--format={p}",
        ])
        .args(["--package", name])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree failed:\n{errors}");
    let tree = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    tree.lines().filter_map(first).collect()
}

fn assert_free_of(name: &str, dependencies: &BTreeSet<String>, forbidden: &[&str]) {
    let found: Vec<_> = forbidden
        .iter()
        .filter(|f| dependencies.contains(**f))
        .collect();
    assert!(found.is_empty(), "{name} must not depend on {found:?}");
}

#[test]
fn each_crate_stands_on_those_of_ours_that_the_architecture_allows_and_no_other() {
    let members = members();
    let found: BTreeMap<&str, Vec<&str>> = members
        .iter()
        .map(|(name, member)| {
            let ours = member.all.iter().map(String::as_str);
            let ours = ours.filter(|name| members.contains_key(*name));
            (name.as_str(), ours.collect())
        })
        .collect();
    let wanted: BTreeMap<&str, Vec<&str>> = STANDS_ON
        .iter()
        .map(|(name, ours)| (*name, ours.to_vec()))
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn the_client_knows_no_kubernetes_client() {
    assert_free_of(
        "vcluster-client",
        &members()["vcluster-client"].normal,
        &["kube"],
    );
}

#[test]
fn the_developer_commands_compile_in_seconds() {
    let heavy = [
        "tokio",
        "kube",
        "tonic",
        "k8s-openapi",
        "rustls",
        "aws-lc-sys",
    ];
    assert_free_of("xtask", &closure("xtask"), &heavy);
}

#[test]
fn nothing_brings_in_a_second_tls_or_async_runtime() {
    for name in members().keys() {
        let unwanted = ["openssl", "native-tls", "ring", "async-std"];
        assert_free_of(name, &closure(name), &unwanted);
    }
}

#[test]
fn pure_crates_are_built_on_nothing_that_does_io() {
    for name in PURE {
        let io = [
            "tokio",
            "hyper",
            "reqwest",
            "kube-client",
            "tonic",
            "rustix",
            "mio",
        ];
        assert_free_of(name, &closure(name), &io);
    }
}

#[test]
fn pure_crates_name_no_io_clock_or_environment() {
    const WORDS: [&str; 12] = [
        "std::fs",
        "std::process",
        "std::env",
        "std::thread",
        "SystemTime::now",
        "Instant::now",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "ToSocketAddrs",
        "tokio",
        "async fn",
    ];
    let members = members();
    for name in PURE {
        for file in sources(&members[name].folder.join("src")) {
            let source = fs::read_to_string(&file).expect("it was listed");
            let code = source
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            for (number, line) in code.enumerate() {
                let word = WORDS.iter().find(|word| line.contains(**word));
                assert!(
                    word.is_none(),
                    "{}: line {number} of code: {line}",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn every_module_is_declared_and_says_what_it_is_for() {
    let mut faults = Vec::new();
    for member in members().values() {
        let src = member.folder.join("src");
        let mut reached = BTreeSet::new();
        for entry in entry_points(&src) {
            reach(&entry, &src, &mut reached);
        }
        for file in sources(&src) {
            let shown = file
                .strip_prefix(root())
                .unwrap_or(&file)
                .display()
                .to_string();
            if !reached.contains(&file) {
                faults.push(format!(
                    "{shown}: no `mod` declares it, so it is not compiled"
                ));
            }
            let source = fs::read_to_string(&file).expect("it was listed");
            // Test modules beside their code are described by their names.
            let is_test = file.with_extension("").iter().any(|part| part == "tests");
            if !is_test && !source.starts_with("//!") {
                faults.push(format!("{shown}: must begin with //!"));
            }
            if file.file_name().is_some_and(|name| name == "mod.rs") {
                faults.push(format!("{shown}: is called after its folder, not mod.rs"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Every `.rs` file below `folder`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a crate has sources") {
        let path = entry.expect("it is listed").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The files with which cargo begins.
fn entry_points(src: &Path) -> Vec<PathBuf> {
    let bin = src.join("bin");
    let mut entries = vec![src.join("lib.rs"), src.join("main.rs")];
    if bin.is_dir() {
        for entry in fs::read_dir(bin).expect("it is a folder") {
            let path = entry.expect("it is listed").path();
            entries.push(if path.is_dir() {
                path.join("main.rs")
            } else {
                path
            });
        }
    }
    entries.retain(|entry| entry.is_file());
    entries
}

/// Adds `file` and every module that it declares, where the compiler would look for them.
fn reach(file: &Path, root: &Path, reached: &mut BTreeSet<PathBuf>) {
    let Ok(source) = fs::read_to_string(file) else {
        return;
    };
    reached.insert(file.to_owned());
    let stem = file.file_stem().unwrap_or_default();
    let begins = stem == "lib" || stem == "main" || file.parent() == Some(&root.join("bin"));
    let folder = if begins {
        file.with_file_name("")
    } else {
        file.with_extension("")
    };
    for module in source.lines().filter_map(declared) {
        reach(&folder.join(format!("{module}.rs")), root, reached);
    }
}

/// The module that a line declares: `pub(crate) mod plan;` is `plan`.
fn declared(line: &str) -> Option<&str> {
    let line = line.trim().strip_suffix(';')?;
    let (visibility, module) = line.rsplit_once("mod ")?;
    let visibility = visibility.trim_end();
    let plain = visibility.is_empty() || visibility == "pub" || visibility.ends_with(')');
    plain.then_some(module.trim())
}
