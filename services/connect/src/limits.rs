//! How much one user may have under way at once.
//!
//! Requests that stay are counted apart from those that end by themselves, so that many watches do not keep a
//! user from listing. Entries exist only while something is under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::metrics::Class;
use crate::refusal::{Kind, Refusal};

/// Most requests of one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerUser {
    /// That end by themselves.
    pub short: usize,
    /// That stay.
    pub long: usize,
}

/// Counts requests by user. Clones are the same.
#[derive(Debug, Clone)]
pub struct Limits {
    most: PerUser,
    users: Arc<Mutex<HashMap<String, PerUser>>>,
}

/// A request that is under way; dropped when it ends.
#[derive(Debug)]
pub struct Entered {
    limits: Limits,
    user: String,
    class: Class,
}

impl Limits {
    /// Makes limits with nothing under way.
    pub fn new(most: PerUser) -> Self {
        Self {
            most,
            users: Arc::default(),
        }
    }

    /// Lets a request in, or refuses it.
    pub fn enter(&self, user: &str, class: Class) -> Result<Entered, Refusal> {
        let mut users = self.users();
        let counts = users
            .entry(user.to_owned())
            .or_insert(PerUser { short: 0, long: 0 });
        let most = *slot(&mut self.most.clone(), class);
        let count = slot(counts, class);
        if *count >= most {
            let refusal = Refusal::new(
                Kind::TooMany,
                format!(
                    "user {user:?} has {most} requests of this kind under way at this gateway, which is the most"
                ),
            );
            return Err(refusal.retry_after(Duration::from_secs(1)));
        }
        *count += 1;
        drop(users);
        Ok(Entered {
            limits: self.clone(),
            user: user.to_owned(),
            class,
        })
    }

    fn users(&self) -> MutexGuard<'_, HashMap<String, PerUser>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slot(counts: &mut PerUser, class: Class) -> &mut usize {
    match class {
        Class::Short => &mut counts.short,
        Class::Long | Class::Upgrade => &mut counts.long,
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut users = self.limits.users();
        if let Some(counts) = users.get_mut(&self.user) {
            let count = slot(counts, self.class);
            *count = count.saturating_sub(1);
            if *counts == (PerUser { short: 0, long: 0 }) {
                users.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_at_the_limit_is_refused_and_others_are_not() {
        let limits = Limits::new(PerUser { short: 2, long: 1 });
        let first = limits.enter("jane", Class::Short).unwrap();
        let _second = limits.enter("jane", Class::Short).unwrap();
        let refusal = limits.enter("jane", Class::Short).unwrap_err();
        assert_eq!(refusal.kind, Kind::TooMany);
        assert!(refusal.retry_after.is_some());
        assert!(limits.enter("joe", Class::Short).is_ok());
        drop(first);
        assert!(limits.enter("jane", Class::Short).is_ok());
    }

    #[test]
    fn requests_that_stay_are_counted_apart() {
        let limits = Limits::new(PerUser { short: 1, long: 1 });
        let _watch = limits.enter("jane", Class::Long).unwrap();
        assert!(limits.enter("jane", Class::Upgrade).is_err());
        assert!(limits.enter("jane", Class::Short).is_ok());
    }

    #[test]
    fn nothing_is_kept_of_users_without_requests() {
        let limits = Limits::new(PerUser { short: 1, long: 1 });
        drop(limits.enter("jane", Class::Short).unwrap());
        assert!(limits.users().is_empty());
    }
}
