//! What a replica hears of the Leases, and which of them it removes: those of replicas and tenants that are gone.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::watcher::{self, Event, watcher};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vcluster_chassis::retry::Policy;

use super::leases::TENANT;
use super::{DEADLINE, Replicas, Shared, record};

/// How often it is looked whether a Lease has run out.
const TICK: Duration = Duration::from_millis(500);
/// How long a Lease of a replica is kept of which nothing is heard: its pod is gone. And how often it is looked.
const KEPT: Duration = Duration::from_hours(1);
/// Delays of the watch.
const RETRY: Policy = Policy {
    base: Duration::from_millis(100),
    factor: 2.0,
    cap: Duration::from_secs(2),
};

impl Replicas {
    /// Follows the Leases until the token is cancelled, within a term of this process. `is_gone` tells of a tenant's UID
    /// whether it is certain that there is no such virtual cluster any more.
    pub async fn follow(&self, token: &CancellationToken, is_gone: impl Fn(&str) -> bool) {
        let Some(shared) = &self.shared else {
            return token.cancelled().await;
        };
        let heard = async {
            tokio::join!(shared.hear(), shared.keep_tidy(token, &is_gone));
        };
        token.run_until_cancelled(heard).await;
    }
}

impl Shared {
    async fn hear(&self) {
        // What was known in an earlier term may be old.
        self.table().complete = false;
        let mut events = watcher(self.watched.clone(), watcher::Config::default()).boxed();
        let mut ticks = tokio::time::interval(TICK);
        let (mut failures, mut again) = (0, Instant::now());
        loop {
            let next = async {
                tokio::time::sleep_until(again).await;
                events.next().await
            };
            tokio::select! {
                biased;
                _ = ticks.tick() => self.tick(),
                event = next => match event {
                    Some(Ok(event)) => {
                        failures = 0;
                        self.take(event);
                    }
                    Some(Err(error)) => {
                        tracing::warn!(%error, "leases of replicas cannot be followed");
                        again = Instant::now() + RETRY.delay(failures);
                        failures += 1;
                    }
                    None => return,
                },
            }
        }
    }

    pub(super) fn take(&self, event: Event<Lease>) {
        let now = Instant::now();
        let mut table = self.table();
        let name = match &event {
            Event::InitApply(lease) | Event::Apply(lease) | Event::Delete(lease) => {
                lease.name_any()
            }
            Event::Init | Event::InitDone => String::new(),
        };
        let is_news = match event {
            Event::Init => {
                table.listed.clear();
                false
            }
            Event::InitApply(lease) => {
                let is_news = table.known.see(&name, Some(&record(&lease)), now);
                table.listed.insert(name.clone());
                is_news
            }
            Event::Apply(lease) => table.known.see(&name, Some(&record(&lease)), now),
            Event::Delete(_) => table.known.see(&name, None, now),
            Event::InitDone => {
                let listed = std::mem::take(&mut table.listed);
                for name in table.known.names() {
                    if !listed.contains(&name) {
                        table.known.see(&name, None, now);
                    }
                }
                table.complete = true;
                true
            }
        };
        drop(table);
        if is_news && name.starts_with(TENANT) {
            self.holders.notify_waiters();
        } else if is_news {
            self.look(now, true);
        }
    }

    fn tick(&self) {
        let now = Instant::now();
        self.table().known.prune(now);
        self.look(now, false);
    }

    /// Thinks over who there is; wakes who waits if that has changed, or `is_news`.
    fn look(&self, now: Instant, is_news: bool) {
        let mut table = self.table();
        let mut candidates = table.known.candidates(now);
        // This process holds its Lease, whatever the watch has told of it yet.
        candidates.insert(self.me.clone());
        let has_changed = table.candidates != candidates;
        if has_changed {
            tracing::info!(replicas = candidates.len(), "replicas have changed");
            table.candidates = candidates;
        }
        drop(table);
        if has_changed || is_news {
            self.members.notify_waiters();
            self.holders.notify_waiters();
        }
    }

    async fn keep_tidy(&self, token: &CancellationToken, is_gone: impl Fn(&str) -> bool) {
        let pause = || token.run_until_cancelled(tokio::time::sleep(KEPT));
        while pause().await.is_some() {
            self.sweep(&is_gone).await;
        }
    }

    /// Removes the Leases of replicas that are long gone, and of tenants that are gone and that nobody may act for. Best
    /// effort: others do the same.
    pub(super) async fn sweep(&self, is_gone: impl Fn(&str) -> bool) {
        for name in self.old(&is_gone) {
            match tokio::time::timeout(DEADLINE, self.remove(&name, &is_gone)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(name, %error, "lease is removed later"),
                Err(_elapsed) => return,
            }
        }
    }

    /// Names of the Leases that nobody needs any more.
    fn old(&self, is_gone: impl Fn(&str) -> bool) -> Vec<String> {
        let now = Instant::now();
        let mut table = self.table();
        let mut old = table.known.stale(KEPT, now);
        for (uid, holder) in table.known.tenants() {
            let may_act = holder.is_some_and(|holder| table.known.may_act(&holder, now));
            if !may_act && is_gone(&uid) {
                old.push(format!("{TENANT}{uid}"));
            }
        }
        old
    }

    async fn remove(&self, name: &str, is_gone: impl Fn(&str) -> bool) -> Result<(), kube::Error> {
        let Some(lease) = self.leases.get_opt(name).await? else {
            return Ok(());
        };
        // The watch may be late: what was read now counts.
        let now = Instant::now();
        self.table().known.see(name, Some(&record(&lease)), now);
        if !self.old(is_gone).iter().any(|old| old == name) {
            return Ok(());
        }
        let preconditions = Preconditions {
            uid: lease.uid(),
            resource_version: lease.resource_version(),
        };
        let params = DeleteParams::default().preconditions(preconditions);
        self.leases.delete(name, &params).await?;
        tracing::info!(name, "lease of what is gone is removed");
        Ok(())
    }
}
