//! kubeconfig files are read, locked and written whole.

use super::*;
use crate::kubeconfig::document::{Node, Section};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

async fn add(path: &Path, user: &str) -> Result<(), Error> {
    edit(&[path.to_owned()], |sources| {
        sources.upsert(Section::Users, user, Node::map([]));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_new_file_is_private_and_no_lock_stays() {
    let folder = folder();
    let path = folder.path().join("deep/config");
    add(&path, "u").await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let names: Vec<_> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["config"]);
}

#[tokio::test]
async fn mode_and_symbolic_links_are_kept() {
    let folder = folder();
    let real = folder.path().join("real");
    let link = folder.path().join("link");
    fs::write(&real, "users: []\n").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("real", &link).unwrap();
    add(&link, "u").await.unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&real).unwrap().mode() & 0o777, 0o640);
    assert!(fs::read_to_string(&real).unwrap().contains("name: u"));
}

#[tokio::test]
async fn a_file_that_does_not_change_is_not_written() {
    let folder = folder();
    let path = folder.path().join("config");
    fs::write(&path, "# a comment stays\nusers: []\n").unwrap();
    edit(std::slice::from_ref(&path), |_| Ok::<_, Error>(()))
        .await
        .unwrap();
    assert!(
        fs::read_to_string(&path)
            .unwrap()
            .starts_with("# a comment")
    );
}

#[tokio::test]
async fn a_failed_change_writes_nothing() {
    let folder = folder();
    let path = folder.path().join("config");
    fs::write(&path, "users: []\n").unwrap();
    let result = edit(std::slice::from_ref(&path), |sources| {
        sources.upsert(Section::Users, "u", Node::map([]));
        Err::<(), _>(Error::Missing("x".into()))
    })
    .await;
    assert!(result.is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "users: []\n");
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_never_released_is_named() {
    let folder = folder();
    let path = folder.path().join("config");
    fs::write(folder.path().join("config.lock"), "").unwrap();
    let error = add(&path, "u").await.unwrap_err();
    assert!(matches!(&error, Error::Locked(lock) if lock.ends_with("config.lock")));
    assert!(
        folder.path().join("config.lock").exists(),
        "not ours to remove"
    );
}

#[tokio::test]
async fn parallel_edits_lose_nothing() {
    let folder = folder();
    let path = folder.path().join("config");
    let edits = (0..20).map(|n| {
        let path = path.clone();
        async move { add(&path, &format!("u{n}")).await.unwrap() }
    });
    futures::future::join_all(edits).await;
    let sources = load(&[path], Presence::Required).unwrap();
    assert_eq!(sources.names(Section::Users).len(), 20);
}

#[test]
fn a_named_file_must_exist() {
    let paths = [PathBuf::from("/nowhere/config")];
    assert!(matches!(
        load(&paths, Presence::Required),
        Err(Error::Missing(_))
    ));
    assert!(load(&paths, Presence::Optional).is_ok());
}
