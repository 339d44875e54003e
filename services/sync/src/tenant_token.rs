//! The identity by which sync acts in one host namespace: short-lived tokens of the tenant's own
//! ServiceAccount.
//!
//! Sync's own account may mint tokens for that one named ServiceAccount only where control has bound it to.
//! A token is minted when first needed and again at four fifths of its life; the old one serves on
//! while a new one cannot be had. A 401 throws the token away: the ServiceAccount was made again.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Request, Response, StatusCode};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use kube::Client;
use kube::client::Body;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tower::{BoxError, Service};
use vcluster_chassis::clock::Clock;
use vcluster_resources::layout::TENANT_SERVICE_ACCOUNT;

/// Lifetime that is asked for, in seconds.
const LIFETIME: i64 = 3600;
/// When a renewal is tried again that failed; the old token serves meanwhile.
const AGAIN: Duration = Duration::from_secs(20);
/// How long minting may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// No token could be had. Kept apart from answers about objects: a 404 here does not say that an
/// object is gone.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ServiceAccount, or its namespace, does not exist.
    #[error("the ServiceAccount {TENANT_SERVICE_ACCOUNT} of namespace {namespace} does not exist")]
    Gone {
        /// Host namespace.
        namespace: String,
    },
    /// The host does not let us.
    #[error("the host API server refuses a token for {namespace}/{TENANT_SERVICE_ACCOUNT}")]
    Refused {
        /// Host namespace.
        namespace: String,
        /// What it said.
        source: Box<kube::Error>,
    },
    /// It may work in a moment.
    #[error("no token for {namespace}/{TENANT_SERVICE_ACCOUNT}")]
    Unavailable {
        /// Host namespace.
        namespace: String,
        /// What went wrong; absent if it took too long.
        source: Option<Box<kube::Error>>,
    },
}

impl Error {
    /// The error of this kind that a client's error holds, if it holds one.
    pub fn of(error: &kube::Error) -> Option<&Self> {
        if let kube::Error::Service(cause) = error {
            cause.downcast_ref()
        } else {
            None
        }
    }
}

/// The token of one tenant.
pub struct TenantToken {
    namespace: String,
    own: Client,
    clock: Arc<dyn Clock>,
    current: Mutex<Option<Minted>>,
}

struct Minted {
    header: HeaderValue,
    renew: Instant,
    expires: Instant,
}

impl fmt::Debug for TenantToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantToken")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl TenantToken {
    /// Makes it without a token yet; `own` is sync's own client.
    pub fn new(namespace: &str, own: Client, clock: Arc<dyn Clock>) -> Self {
        Self {
            namespace: namespace.to_owned(),
            own,
            clock,
            current: Mutex::new(None),
        }
    }

    /// The value of `Authorization`.
    pub async fn header(&self) -> Result<HeaderValue, Error> {
        // Held while minting: whoever comes meanwhile wants the same token.
        let mut current = self.current.lock().await;
        let now = Instant::now();
        if let Some(minted) = current.as_ref().filter(|minted| now < minted.renew) {
            return Ok(minted.header.clone());
        }
        match self.mint().await {
            Ok(minted) => Ok(current.insert(minted).header.clone()),
            Err(error) => match current.as_mut().filter(|minted| now < minted.expires) {
                Some(old) => {
                    tracing::warn!(namespace = self.namespace, %error, "token is not renewed yet");
                    old.renew = Instant::now() + AGAIN;
                    Ok(old.header.clone())
                }
                None => Err(error),
            },
        }
    }

    /// Throws `refused` away, unless it has been replaced already.
    async fn discard(&self, refused: &HeaderValue) {
        let mut current = self.current.lock().await;
        if current
            .as_ref()
            .is_some_and(|minted| minted.header == *refused)
        {
            *current = None;
        }
    }

    async fn mint(&self) -> Result<Minted, Error> {
        let namespace = || self.namespace.clone();
        let asked = Instant::now();
        let minted = tokio::time::timeout(DEADLINE, self.request()).await;
        let answer = match minted {
            Ok(Ok(answer)) => answer,
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
                return Err(Error::Gone {
                    namespace: namespace(),
                });
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                let source = Box::new(kube::Error::Api(status));
                return Err(Error::Refused {
                    namespace: namespace(),
                    source,
                });
            }
            Ok(Err(error)) => {
                let source = Some(Box::new(error));
                return Err(Error::Unavailable {
                    namespace: namespace(),
                    source,
                });
            }
            Err(_elapsed) => {
                return Err(Error::Unavailable {
                    namespace: namespace(),
                    source: None,
                });
            }
        };
        let unusable = || Error::Unavailable {
            namespace: namespace(),
            source: None,
        };
        let status = answer.status.ok_or_else(unusable)?;
        let mut header = HeaderValue::try_from(format!("Bearer {}", status.token))
            .map_err(|_error| unusable())?;
        header.set_sensitive(true);
        let life = status
            .expiration_timestamp
            .0
            .duration_since(self.clock.now());
        let life = Duration::try_from(life).unwrap_or_default();
        Ok(Minted {
            header,
            renew: asked + life.mul_f64(0.8),
            expires: asked + life,
        })
    }

    async fn request(&self) -> Result<TokenRequest, kube::Error> {
        let wanted = TokenRequest {
            spec: TokenRequestSpec {
                expiration_seconds: Some(LIFETIME),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let body = serde_json::to_vec(&wanted).map_err(kube::Error::SerdeError)?;
        let path = format!(
            "/api/v1/namespaces/{}/serviceaccounts/{TENANT_SERVICE_ACCOUNT}/token",
            self.namespace
        );
        let request = Request::post(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(kube::Error::HttpError)?;
        self.own.request(request).await
    }
}

/// Sends each request with the tenant's token.
#[derive(Debug, Clone)]
pub(crate) struct Bearer<S> {
    inner: S,
    token: Arc<TenantToken>,
}

impl<S> Bearer<S> {
    pub(crate) fn new(inner: S, token: Arc<TenantToken>) -> Self {
        Self { inner, token }
    }
}

impl<S, B> Service<Request<Body>> for Bearer<S>
where
    B: Send + 'static,
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let token = Arc::clone(&self.token);
        Box::pin(async move {
            let header = token.header().await?;
            request.headers_mut().insert(AUTHORIZATION, header.clone());
            let response = inner.call(request).await.map_err(Into::into)?;
            if response.status() == StatusCode::UNAUTHORIZED {
                token.discard(&header).await;
            }
            Ok(response)
        })
    }
}

/// A client over another that brings the token.
#[cfg(test)]
pub(crate) fn client(inner: Client, token: Arc<TenantToken>) -> Client {
    let service = tower::service_fn(move |request| {
        let inner = inner.clone();
        async move { inner.send(request).await }
    });
    Client::new(Bearer::new(service, token), "default")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use vcluster_chassis::testing::{ApiServer, ManualClock, json as answer};

    use super::*;

    fn minting(clock: &ManualClock, code: u16) -> ApiServer {
        let clock = clock.clone();
        ApiServer::new(move |_call| {
            if code != 201 {
                return answer(
                    code,
                    json!({"kind": "Status", "code": code, "message": "no"}),
                );
            }
            let expires: Timestamp = clock.now() + Duration::from_hours(1);
            answer(
                201,
                json!({
                    "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                    "metadata": {}, "spec": {"audiences": []},
                    "status": {"token": format!("t{}", clock.now().as_second()), "expirationTimestamp": expires},
                }),
            )
        })
    }

    fn token(server: &ApiServer, clock: &ManualClock) -> TenantToken {
        TenantToken::new("team-a", server.client(), Arc::new(clock.clone()))
    }

    async fn pass(clock: &ManualClock, minutes: u64) {
        let time = Duration::from_secs(minutes * 60);
        clock.advance(time);
        tokio::time::advance(time).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_minted_once_and_again_at_four_fifths_of_its_life() {
        let clock = ManualClock::default();
        let server = minting(&clock, 201);
        let token = token(&server, &clock);
        let first = token.header().await.unwrap();
        pass(&clock, 47).await;
        assert_eq!(token.header().await.unwrap(), first);
        assert_eq!(server.calls().len(), 1);
        let path = "/api/v1/namespaces/team-a/serviceaccounts/vcluster-sync/token";
        assert_eq!(server.calls()[0].path, path);
        pass(&clock, 2).await;
        assert_ne!(token.header().await.unwrap(), first);
        assert_eq!(server.calls().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_fails_is_not_tried_again_at_once_and_the_old_token_serves() {
        let clock = ManualClock::default();
        let server = minting(&clock, 201);
        let token = token(&server, &clock);
        let first = token.header().await.unwrap();
        let failing = minting(&clock, 503);
        let token = TenantToken {
            own: failing.client(),
            ..token
        };
        pass(&clock, 50).await;
        for _ in 0..10 {
            assert_eq!(token.header().await.unwrap(), first);
        }
        assert_eq!(failing.calls().len(), 1);
        pass(&clock, 1).await;
        assert_eq!(token.header().await.unwrap(), first);
        assert_eq!(failing.calls().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_service_account_is_told_apart_from_a_missing_object() {
        let clock = ManualClock::default();
        let refused = token(&minting(&clock, 403), &clock).header().await;
        assert!(matches!(refused, Err(Error::Refused { .. })));
        let gone = token(&minting(&clock, 404), &clock).header().await;
        assert!(matches!(gone, Err(Error::Gone { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_token_is_not_used_again() {
        let clock = ManualClock::default();
        let server = minting(&clock, 201);
        let token = Arc::new(token(&server, &clock));
        let host = ApiServer::new(|_call| answer(401, json!({"kind": "Status", "code": 401})));
        let client = client(host.client(), token);
        for _ in 0..2 {
            let request = Request::get("/api/v1/x").body(Vec::new()).unwrap();
            assert!(client.request_text(request).await.is_err());
        }
        assert_eq!(server.calls().len(), 2, "minted anew after the 401");
    }
}
