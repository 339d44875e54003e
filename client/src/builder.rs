//! Everything a client needs to know before its first call.

use std::{fmt, sync::Arc, time::Duration};

use crate::{Client, Credentials, Error, Gateway, channel, retry::Policy, tls, trace::Trace};

/// Told of each failed try that will be followed by another one.
pub type OnRetry = Arc<dyn Fn(&Error, Duration) + Send + Sync>;

/// Makes a [`Client`].
#[must_use]
pub struct Builder {
    gateway: Gateway,
    credentials: Credentials,
    deadline: Duration,
    retry: Policy,
    trace: Option<Trace>,
    on_retry: Option<OnRetry>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("gateway", &self.gateway.address)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(gateway: Gateway) -> Self {
        Self {
            gateway,
            credentials: Credentials::Anonymous,
            deadline: Duration::from_secs(30),
            retry: Policy::default(),
            trace: None,
            on_retry: None,
        }
    }

    /// Who the caller is. Default: nobody.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// Longest time of a call, all its tries together. Default: 30 seconds.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Delays between tries.
    pub fn retry(mut self, policy: Policy) -> Self {
        self.retry = policy;
        self
    }

    /// The trace that all calls belong to. Default: a new one.
    pub fn trace(mut self, trace: Trace) -> Self {
        self.trace = Some(trace);
        self
    }

    /// Calls `observer` before each wait for another try.
    pub fn on_retry(mut self, observer: OnRetry) -> Self {
        self.on_retry = Some(observer);
        self
    }

    /// The client. Nothing is connected before the first call. Must be called in a tokio runtime.
    ///
    /// Errors: the CA bundle or the client certificate is unusable.
    pub fn build(self) -> Result<Client, tls::Error> {
        let identity = match &self.credentials {
            Credentials::Certificate(certificate) => Some(certificate),
            Credentials::Anonymous | Credentials::Bearer(_) => None,
        };
        let config = tls::client_config(&self.gateway.trust, identity, &[channel::H2])?;
        Ok(Client {
            channel: channel::channel(&self.gateway.address, config),
            address: Arc::from(self.gateway.address.to_string()),
            credentials: self.credentials,
            deadline: self.deadline,
            retry: self.retry,
            trace: self.trace.unwrap_or_else(Trace::random),
            on_retry: self.on_retry,
        })
    }
}
