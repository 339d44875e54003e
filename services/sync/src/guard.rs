//! The conditions that keep sync from doing harm, by name, so that a test can take out one of them.
//!
//! In the service a guard is its condition and nothing else. In tests a thread may take one out, which then lets
//! everything pass: the simulation shows for each what is lost without it. A guard that stands in several places is one.

/// A condition that keeps sync from doing harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Nothing is concluded from what is missing before everything is listed on both sides.
    CompleteLists,
    /// What is missing from a list is read before anything is concluded.
    MissingIsRead,
    /// A host object that a watch by labels shows no more is read: it may only have lost its labels.
    HiddenIsRead,
    /// An older version never replaces a newer one.
    NewestCounts,
    /// That nothing is there says nothing of what was told of since it was asked for.
    ToldSince,
    /// Late news of an object that is gone is no news.
    GoneIsGone,
    /// A tenant whose API server does not answer is frozen.
    Frozen,
    /// A store is compared with the one that the host remembers before a tenant is taken up.
    StoreIsRecognized,
    /// A store is compared again before it is believed that something in it is gone.
    StoreIsConfirmed,
    /// Once another store has answered, the stay is over.
    LossIsFinal,
    /// What was not found while another state of the store answered is read again.
    OneStateAnswers,
    /// A virtual API server that comes back is compared before the tenant thaws.
    ReturnIsConfirmed,
    /// A store that is put back is known by its mark.
    MarkIsCompared,
    /// What is known is doubted after a write that met another world.
    SurpriseIsDoubted,
    /// What fails is tried again later each time.
    BackOff,
    /// A tenant has so many keys in work at once at most.
    InFlight,
    /// Tenants take turns.
    Turns,
    /// A tenant writes so often per second at most.
    Allowance,
    /// A watch that broke goes on where it was.
    WatchResumes,
    /// A replica whose own lease is over lets its tenants go.
    Deposed,
    /// Nothing is written any more for a tenant that was let go, whoever has one of its keys in hand.
    LetGoIsLeft,
    /// A tenant is let go once nothing is done for it any more.
    RestFirst,
    /// A tenant is taken once who had it cannot act any more.
    HolderIsAwaited,
    /// The finalizer is on before the first write.
    FinalizerFirst,
    /// Pods are removed before what they use.
    PodsFirst,
    /// What holds data, and an accepted store lacks, is kept.
    DataIsKept,
    /// What is said of a virtual cluster is written once.
    SaidOnce,
    /// On the wire: a delete names the UID of what it deletes.
    #[cfg(test)]
    DeleteNamesUid,
    /// On the wire: a patch names the UID of what it changes.
    #[cfg(test)]
    PatchNamesUid,
    /// On the wire: a list asks for no version, so that no cache answers it.
    #[cfg(test)]
    ListsAreFresh,
    /// On the wire: annotations say whose a host object is.
    #[cfg(test)]
    OwnerIsRead,
}

#[cfg(test)]
impl Guard {
    /// Every one.
    pub(crate) const ALL: &[Self] = &[
        Self::CompleteLists,
        Self::MissingIsRead,
        Self::HiddenIsRead,
        Self::NewestCounts,
        Self::ToldSince,
        Self::GoneIsGone,
        Self::Frozen,
        Self::StoreIsRecognized,
        Self::StoreIsConfirmed,
        Self::LossIsFinal,
        Self::OneStateAnswers,
        Self::ReturnIsConfirmed,
        Self::MarkIsCompared,
        Self::SurpriseIsDoubted,
        Self::BackOff,
        Self::InFlight,
        Self::Turns,
        Self::Allowance,
        Self::WatchResumes,
        Self::Deposed,
        Self::LetGoIsLeft,
        Self::RestFirst,
        Self::HolderIsAwaited,
        Self::FinalizerFirst,
        Self::PodsFirst,
        Self::DataIsKept,
        Self::SaidOnce,
        Self::DeleteNamesUid,
        Self::PatchNamesUid,
        Self::ListsAreFresh,
        Self::OwnerIsRead,
    ];
}

/// Whether a guard stands. In the service each does.
pub fn stands(guard: Guard) -> bool {
    #[cfg(test)]
    return !out::is_out(guard);
    #[cfg(not(test))]
    {
        let _ = guard;
        true
    }
}

/// Whether a guard lets pass: what its condition says, or anything if it does not stand.
pub fn passes(guard: Guard, holds: bool) -> bool {
    holds || !stands(guard)
}

#[cfg(test)]
pub(crate) use out::take_out;

#[cfg(test)]
mod out {
    use std::cell::Cell;

    use super::Guard;

    thread_local! {
        static OUT: Cell<Option<Guard>> = const { Cell::new(None) };
    }

    /// A guard that is out, until this is dropped.
    #[derive(Debug)]
    pub(crate) struct Out(());

    impl Drop for Out {
        fn drop(&mut self) {
            OUT.set(None);
        }
    }

    /// Takes a guard out on this thread, and puts back the one that was out.
    pub(crate) fn take_out(guard: Option<Guard>) -> Out {
        OUT.set(guard);
        Out(())
    }

    /// Whether a guard is out on this thread.
    pub(super) fn is_out(guard: Guard) -> bool {
        OUT.get() == Some(guard)
    }
}
