//! Who calls: the front proxy on somebody's behalf, or the bearer of a token.
//!
//! 1. A client certificate that the listener has verified and whose common name is on the list is the
//!    front proxy's. Its `x-remote-*` headers say who the caller is.
//! 2. Everybody else's `x-remote-*` headers are removed unread; `authorization: Bearer` is reviewed.
//! 3. Without either the call is `UNAUTHENTICATED`, and the message says what to send.
//!
//! The listener must verify client certificates against the front proxy's authority and no other one:
//! a name proves nothing if somebody else may issue it. Rights are not asked for here.

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use secrecy::SecretString;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::access::{self, TokenReviewer};
use crate::identity::{self, Identity, headers};
use crate::tls::PeerCertificates;

/// Paths that need no caller: probes and tools must work before anybody can log in.
const OPEN: [&str; 2] = ["/grpc.health.v1.Health/", "/grpc.reflection."];

const WHAT_TO_SEND: &str = "no credentials: send `authorization: Bearer <token>` with a token of the \
                            host cluster, or call through the gateway";

/// Reads the caller of a request.
///
/// Fails only if some layer was left out, so handlers may use `?` without a second thought.
pub fn of<T>(request: &tonic::Request<T>) -> Result<&Identity, Status> {
    let missing = || Status::new(Code::Unauthenticated, WHAT_TO_SEND);
    request.extensions().get::<Identity>().ok_or_else(missing)
}

/// Puts the caller's [`Identity`] into each request's extensions, or refuses the request.
#[derive(Debug, Clone)]
pub struct CallerLayer {
    front_proxies: Arc<BTreeSet<String>>,
    reviewer: TokenReviewer,
}

impl CallerLayer {
    /// Trusts these common names to speak for others, and asks `reviewer` about tokens.
    pub fn new(
        front_proxies: impl IntoIterator<Item = impl Into<String>>,
        reviewer: TokenReviewer,
    ) -> Self {
        let front_proxies = front_proxies.into_iter().map(Into::into).collect();
        Self {
            front_proxies: Arc::new(front_proxies),
            reviewer,
        }
    }

    /// Decides who calls. `peer` is what the listener verified.
    async fn identify(
        &self,
        headers: &HeaderMap,
        peer: Option<&PeerCertificates>,
    ) -> Result<Identity, Status> {
        if self.is_front_proxy(peer) {
            match headers::decode(headers) {
                Ok(Some(identity)) => return Ok(identity.authenticated()),
                Ok(None) => {}
                Err(error) => return Err(Status::unauthenticated(error.to_string())),
            }
        }
        let token = bearer(headers)?;
        self.reviewer.review(&token).await.map_err(refuse)
    }

    fn is_front_proxy(&self, peer: Option<&PeerCertificates>) -> bool {
        let Some(leaf) = peer.and_then(PeerCertificates::leaf) else {
            return false;
        };
        identity::certificate(leaf).is_ok_and(|proxy| self.front_proxies.contains(&proxy.user))
    }
}

fn refuse(error: access::Error) -> Status {
    error.into()
}

/// Takes the token of the one `authorization` header.
fn bearer(headers: &HeaderMap) -> Result<SecretString, Status> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values
        .next()
        .ok_or_else(|| Status::unauthenticated(WHAT_TO_SEND))?;
    if values.next().is_some() {
        return Err(Status::unauthenticated(
            "authorization stands more than once",
        ));
    }
    // The scheme is not case-sensitive (RFC 9110, 11.1).
    let token = value.to_str().ok().and_then(|value| value.split_once(' '));
    match token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(SecretString::from(token.trim()))
        }
        Some(_) | None => Err(Status::unauthenticated(WHAT_TO_SEND)),
    }
}

impl<S> Layer<S> for CallerLayer {
    type Service = Caller<S>;

    fn layer(&self, inner: S) -> Caller<S> {
        Caller {
            layer: self.clone(),
            inner,
        }
    }
}

/// The service of [`CallerLayer`].
#[derive(Debug, Clone)]
pub struct Caller<S> {
    layer: CallerLayer,
    inner: S,
}

impl<S> Service<Request<Body>> for Caller<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The service that was polled ready is the one to call; the clone stays for the next.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let layer = self.layer.clone();
        Box::pin(async move {
            let open = OPEN
                .iter()
                .any(|prefix| request.uri().path().starts_with(prefix));
            // Nothing but this layer names callers, neither extensions nor headers.
            request.extensions_mut().remove::<Identity>();
            if !open {
                let peer = request.extensions().get::<PeerCertificates>().cloned();
                match layer.identify(request.headers(), peer.as_ref()).await {
                    Ok(identity) => drop(request.extensions_mut().insert(identity)),
                    Err(status) => return Ok(status.into_http()),
                }
            }
            headers::strip(request.headers_mut());
            request.headers_mut().remove(AUTHORIZATION);
            inner.call(request).await
        })
    }
}

#[cfg(test)]
mod tests;
