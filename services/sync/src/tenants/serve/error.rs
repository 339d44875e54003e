//! Why a virtual cluster cannot be served at the moment.

use vcluster_resources::condition::Reason;

use crate::apply::Failure;
use crate::tenant::{Tenant, store};
use crate::tenants::credentials;
use crate::tenants::status::loss_reason;

/// It cannot be served at the moment.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Credentials(#[from] credentials::Error),
    #[error(transparent)]
    Server(#[from] crate::server::Error),
    #[error("its name cannot be used")]
    Name(#[from] vcluster_resources::name::Error),
    #[error("its finalizer cannot be set")]
    Finalizer(#[source] Box<kube::Error>),
    #[error("its host namespace cannot be read")]
    Namespace(#[source] Box<kube::Error>),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("its host namespace cannot be listed")]
    List(#[from] Failure),
    #[error("nothing is changed or deleted on the host: {0}")]
    Right(String),
    #[error("sync itself failed at it, which its log tells more of; please report it")]
    Broken,
    #[error("an older state of its store answered for a moment, so that everything is listed anew")]
    Wavered,
}

impl Error {
    /// What a failure comes from: where a right is missing on the host, that.
    pub(super) fn of(tenant: &Tenant, error: impl Into<Self>) -> Self {
        tenant
            .missing_right()
            .map_or_else(|| error.into(), Self::Right)
    }

    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Right(_) => Reason::Refused,
            Self::Store(store::Error::Lost(lost)) => loss_reason(&lost.loss),
            Self::Credentials(_)
            | Self::Server(_)
            | Self::Name(_)
            | Self::Finalizer(_)
            | Self::Namespace(_)
            | Self::Store(store::Error::Unknown(_))
            | Self::List(_)
            | Self::Broken
            | Self::Wavered => Reason::Waiting,
        }
    }
}
