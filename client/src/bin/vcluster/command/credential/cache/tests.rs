//! Credentials are cached privately, and never past their end.

use std::{cell::Cell, os::unix::fs::MetadataExt as _};

use super::*;
use crate::{exit::Exit, failure::Failure};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_900_000_000 + second).unwrap()
}

fn issued(token: &str, expires: i64) -> Issued {
    Issued {
        token: SecretString::from(token),
        expires: at(expires),
        path: "/clusters/ns/demo".to_owned(),
    }
}

fn cache() -> (tempfile::TempDir, Cache) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path().join("deep/credentials"));
    (folder, cache)
}

#[tokio::test]
async fn a_credential_is_fetched_once_until_shortly_before_it_ends() {
    let (_folder, cache) = cache();
    let fetched = Cell::new(0);
    let ask = async |second| {
        let fetch = async || {
            fetched.set(fetched.get() + 1);
            Ok(issued(&format!("t{}", fetched.get()), second + 600))
        };
        let got = cache.get_or("k", || at(second), fetch).await.unwrap();
        got.token.expose_secret().to_owned()
    };
    assert_eq!(ask(0).await, "t1");
    assert_eq!(ask(539).await, "t1");
    assert_eq!(ask(541).await, "t2");
}

#[tokio::test]
async fn forty_that_ask_at_once_fetch_once() {
    let (_folder, cache) = cache();
    let fetched = Cell::new(0);
    let ask = || {
        cache.get_or(
            "k",
            || at(0),
            async || {
                fetched.set(fetched.get() + 1);
                tokio::task::yield_now().await;
                Ok(issued("t", 600))
            },
        )
    };
    let all = futures::future::join_all((0..40).map(|_| ask())).await;
    assert!(all.into_iter().all(|got| got.is_ok()));
    assert_eq!(fetched.get(), 1);
}

#[tokio::test]
async fn a_failed_fetch_is_not_kept_and_frees_the_lock() {
    let (_folder, cache) = cache();
    let failed = cache
        .get_or(
            "k",
            || at(0),
            async || Err(Failure::new(Exit::Denied, "no")),
        )
        .await;
    assert!(failed.is_err());
    let next = cache
        .get_or("k", || at(0), async || Ok(issued("t", 600)))
        .await;
    assert_eq!(next.unwrap().token.expose_secret(), "t");
}

#[test]
fn files_are_private_and_ended_ones_are_removed() {
    let (_folder, cache) = cache();
    cache.store("old", &issued("t", 600), at(0));
    cache.store("new", &issued("t", 1200), at(601));
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&cache.folder), 0o700);
    assert_eq!(mode(&cache.file("new")), 0o600);
    assert!(!cache.file("old").exists());
}

#[tokio::test]
async fn a_cache_that_cannot_be_used_is_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    let cache = Cache::new(blocked.join("below-a-file"));
    let got = cache
        .get_or("k", || at(0), async || Ok(issued("t", 600)))
        .await;
    assert!(got.is_ok());
    let (_folder, cache) = self::cache();
    cache.store("k", &issued("t", 600), at(0));
    fs::write(cache.file("k"), "garbage").unwrap();
    assert!(cache.load("k", at(0)).is_none());
}
