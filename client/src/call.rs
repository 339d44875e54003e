//! One call: deadline, credentials, trace context, and another try where that is harmless.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;
use tonic::{Code, Request, Response, Status, metadata::AsciiMetadataValue, transport::Channel};

use crate::{
    Builder, Credentials, Error, Gateway,
    builder::OnRetry,
    credentials::{self, Need},
    retry::{Effect, Policy},
    trace::Trace,
};

/// A client of one gateway. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct Client {
    pub(crate) channel: Channel,
    pub(crate) address: Arc<str>,
    pub(crate) credentials: Credentials,
    pub(crate) deadline: Duration,
    pub(crate) retry: Policy,
    pub(crate) trace: Trace,
    pub(crate) on_retry: Option<OnRetry>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Begins a client of `gateway`.
    pub fn builder(gateway: Gateway) -> Builder {
        Builder::new(gateway)
    }

    /// Address of the gateway.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The trace that the calls belong to.
    pub fn trace(&self) -> Trace {
        self.trace
    }

    /// Calls `call` until it succeeds, fails for good or the deadline passes. Dropping the future
    /// cancels the call.
    pub(crate) async fn unary<M, T, F, R>(
        &self,
        effect: Effect,
        message: M,
        call: F,
    ) -> Result<T, Error>
    where
        M: Clone,
        F: Fn(Channel, Request<M>) -> R,
        R: Future<Output = Result<Response<T>, Status>>,
    {
        let end = Instant::now() + self.deadline;
        let mut need = Need::Call;
        let mut last: Option<Error> = None;
        for tries in 1u32.. {
            let once = self.once(message.clone(), need, end, &call);
            let error = match tokio::time::timeout_at(end, once).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_elapsed) => break,
            };
            let wait = if self.may_renew(&error, need) {
                need = Need::Refused;
                Duration::ZERO
            } else {
                match self.retry.next(&error, effect, tries, rand::random()) {
                    Some(wait) => wait,
                    None => return Err(error),
                }
            };
            if Instant::now() + wait >= end {
                return Err(error);
            }
            if let Some(observer) = &self.on_retry {
                observer(&error, wait);
            }
            last = Some(error);
            tokio::time::sleep(wait).await;
        }
        // How an earlier try ended tells more than that time is over.
        Err(last.unwrap_or_else(|| Error::Deadline {
            address: self.address.as_ref().to_owned(),
            after: self.deadline,
        }))
    }

    async fn once<M, T, F, R>(
        &self,
        message: M,
        need: Need,
        end: Instant,
        call: &F,
    ) -> Result<T, Error>
    where
        F: Fn(Channel, Request<M>) -> R,
        R: Future<Output = Result<Response<T>, Status>>,
    {
        let mut request = self.request(message, need).await?;
        request.set_timeout(end.saturating_duration_since(Instant::now()));
        match call(self.channel.clone(), request).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(Error::from_status(status, &self.address)),
        }
    }

    /// `message` with credentials and trace context.
    pub(crate) async fn request<M>(&self, message: M, need: Need) -> Result<Request<M>, Error> {
        let mut request = Request::new(message);
        let parent = self.trace.traceparent(rand::random());
        let parent = AsciiMetadataValue::try_from(parent).expect("a traceparent is ASCII");
        request.metadata_mut().insert("traceparent", parent);
        if let Credentials::Bearer(source) = &self.credentials {
            let token = source.token(need).await?;
            let header = credentials::authorization(&token)?;
            let value = AsciiMetadataValue::try_from(header.as_bytes())
                .ok()
                .ok_or(credentials::Error::NotAHeader)?;
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }

    /// Whether a refused token can be replaced by a fresh one; tried once per call.
    pub(crate) fn may_renew(&self, error: &Error, need: Need) -> bool {
        let refused = error
            .rejection()
            .is_some_and(|r| r.code == Code::Unauthenticated);
        match &self.credentials {
            Credentials::Bearer(source) => need == Need::Call && refused && source.renews(),
            Credentials::Anonymous | Credentials::Certificate(_) => false,
        }
    }
}
