//! Requests to virtual API servers.
//!
//! The order is the promise: who is it → may it connect → (only now) is there such a cluster → strip → say who it
//! is → forward. A refusal at any step is a Kubernetes `Status`.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Parts as UriParts, PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use vcluster_chassis::identity::headers as identity_headers;
use vcluster_chassis::telemetry::propagation;

use crate::authenticate::{By, Caller, Presented};
use crate::authorize::Grant;
use crate::body::Body;
use crate::clusters::{Place, State};
use crate::gateway::Gateway;
use crate::metrics::Class;
use crate::peer::Peer;
use crate::record::Record;
use crate::refusal::{Kind, Refusal};
use crate::relay::{self, Cut, Ended};
use crate::route::{ClusterKey, ClusterRoute};
use crate::upstream::{Answer, Upstream};
use crate::vigil::Scope;
use crate::{strip, tenant_identity};

mod kind;
mod upgrade;

/// How long the head of an answer may take: an API server gives up on ordinary requests after 60 s.
const SHORT_ANSWER: Duration = Duration::from_secs(75);
/// The same for what may well begin late, such as a followed log or a proxied request.
const LONG_ANSWER: Duration = Duration::from_mins(10);
/// Where the caller is, for the API server's audit.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A caller that was let through to a cluster that is there.
struct Admitted {
    presented: Presented,
    caller: Caller,
    grant: Grant,
    cluster: ClusterKey,
    place: Place,
    /// Headers that say who the caller is inside.
    identity: HeaderMap,
}

/// Serves one request to a virtual API server.
pub(crate) async fn serve(
    gateway: &Gateway,
    peer: &Arc<Peer>,
    route: ClusterRoute,
    request: Request<Incoming>,
    mut record: Record,
) -> Response<Body> {
    record.cluster(&route.cluster);
    let discovers = kind::is_discovery(&route.rest, request.headers());
    // Whatever follows a handshake that failed is not meant as a request.
    let closes =
        request.version() < Version::HTTP_2 && request.headers().contains_key(header::UPGRADE);
    match forward(gateway, peer, route, request, &mut record).await {
        Ok(Forwarded::Answer {
            head,
            body,
            ended,
            cut,
            entered,
        }) => Response::from_parts(
            *head,
            relay::answer(body, ended, cut, record, Some(entered)),
        ),
        Ok(Forwarded::Upgrade(upgraded)) => upgrade::finish(gateway, *upgraded, record),
        Err(refusal) => {
            record.refused(&refusal);
            let response = if discovers {
                refusal.into_text()
            } else {
                refusal.into_http()
            };
            let mut response = response.map(|body| relay::whole(body, record));
            if closes {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            response
        }
    }
}

enum Forwarded {
    Answer {
        head: Box<http::response::Parts>,
        body: Box<Answer>,
        ended: Ended,
        cut: Cut,
        entered: crate::limits::Entered,
    },
    Upgrade(Box<upgrade::Upgraded>),
}

async fn forward(
    gateway: &Gateway,
    peer: &Arc<Peer>,
    route: ClusterRoute,
    mut request: Request<Incoming>,
    record: &mut Record,
) -> Result<Forwarded, Refusal> {
    let admitted = admit(gateway, peer, &route.cluster, request.headers(), record).await?;
    let asked = upgrade::asked(&request)?;
    let class = match &asked {
        Some(_) => Class::Upgrade,
        None => kind::class(&route.rest),
    };
    let entered = gateway
        .limits
        .enter(&admitted.caller.identity.user, class)?;
    record.started(class);
    strip::request(request.headers_mut())
        .map_err(|error| Refusal::new(Kind::Bad, error.to_string()))?;
    say_who(request.headers_mut(), &admitted.identity, peer);
    propagation::inject(request.headers_mut());
    let upstream = gateway
        .upstreams
        .get(&admitted.cluster, &admitted.place)
        .await;
    let upstream = upstream.map_err(|error| told(&error, &admitted))?;
    *request.uri_mut() = uri(&upstream, route.rest.clone())?;
    if let Some(asked) = asked {
        let upgraded =
            upgrade::begin(gateway, &admitted, &upstream, asked, request, entered).await?;
        record.answered(upgraded.code());
        return Ok(Forwarded::Upgrade(Box::new(upgraded)));
    }
    let response = send(gateway, &admitted, &upstream, class, request, record).await?;
    let (mut head, body) = response.into_parts();
    check_trust(gateway, &admitted, head.status, &route.rest)?;
    strip::response(&mut head.headers);
    keep_prefix(&mut head.headers, &route.prefix);
    head.version = Version::default();
    head.extensions.clear();
    record.answered(head.status);
    let watch = kind::is_watch(&route.rest);
    let ended = watch_over(gateway, admitted, class == Class::Long);
    let cut = if watch { Cut::Cleanly } else { Cut::Abruptly };
    Ok(Forwarded::Answer {
        head: Box::new(head),
        body: Box::new(body),
        ended,
        cut,
        entered,
    })
}

/// Finds out who asks, what it may, and only then whether the cluster is there.
async fn admit(
    gateway: &Gateway,
    peer: &Arc<Peer>,
    cluster: &ClusterKey,
    headers: &HeaderMap,
    record: &mut Record,
) -> Result<Admitted, Refusal> {
    let presented = Presented::read(peer, headers);
    let caller = gateway.authenticator.authenticate(&presented).await?;
    record.caller(&caller);
    match &caller.by {
        By::Credential { cluster: only, .. } if only != cluster => {
            return Err(Refusal::new(
                Kind::Unauthenticated,
                format!("the credential is good for virtual cluster {only} only"),
            ));
        }
        By::Credential { .. } | By::Certificate | By::Token => {}
    }
    let grant = gateway.access.grant(&caller.identity, cluster).await?;
    let inside = tenant_identity::inside(&caller.identity, grant)
        .map_err(|error| Refusal::new(Kind::Forbidden, error.to_string()))?;
    let identity = identity_headers::encode(&inside).map_err(|error| {
        Refusal::new(
            Kind::Forbidden,
            format!("the caller cannot be told to the virtual cluster: {error}"),
        )
    })?;
    let place = place(gateway, cluster)?;
    Ok(Admitted {
        presented,
        caller,
        grant,
        cluster: cluster.clone(),
        place,
        identity,
    })
}

fn place(gateway: &Gateway, cluster: &ClusterKey) -> Result<Place, Refusal> {
    let (name, namespace) = (cluster.name.as_str(), cluster.namespace.as_str());
    let unavailable = |what: String| {
        Refusal::new(
            Kind::Unavailable,
            format!("virtual cluster {name:?} in host namespace {namespace:?} {what}"),
        )
        .retry_after(Duration::from_secs(1))
    };
    match gateway.clusters.get(cluster) {
        Some(State::At(place)) => Ok(place),
        Some(State::NotReady(waits_for)) => {
            Err(unavailable(format!("is not ready yet: {waits_for}")))
        }
        Some(State::Deleting) => Err(unavailable("is being deleted".to_owned())),
        Some(State::Broken) => Err(unavailable(
            "has no usable address in its status".to_owned(),
        )),
        None => Err(Refusal::new(
            Kind::NotFound,
            format!("there is no virtual cluster {name:?} in host namespace {namespace:?}"),
        )),
    }
}

/// Sets what only the gateway says; everything of these names is gone by now.
fn say_who(headers: &mut HeaderMap, identity: &HeaderMap, peer: &Peer) {
    for (name, value) in identity {
        headers.append(name, value.clone());
    }
    if let Ok(address) = HeaderValue::try_from(peer.address.to_canonical().to_string()) {
        headers.insert(FORWARDED_FOR, address);
    }
}

fn uri(upstream: &Upstream, rest: PathAndQuery) -> Result<Uri, Refusal> {
    let mut parts = UriParts::default();
    parts.scheme = Some(Scheme::HTTPS);
    parts.authority = upstream.target.authority().parse().ok();
    parts.path_and_query = Some(rest);
    Uri::from_parts(parts).map_err(|_malformed| {
        Refusal::new(
            Kind::Bad,
            "the path within the virtual cluster is malformed",
        )
    })
}

async fn send(
    gateway: &Gateway,
    admitted: &Admitted,
    upstream: &Upstream,
    class: Class,
    mut request: Request<Incoming>,
    record: &Record,
) -> Result<Response<Answer>, Refusal> {
    // The authority stands in the target; HTTP/2 has no Host.
    request.headers_mut().remove(header::HOST);
    request.extensions_mut().clear();
    *request.version_mut() = Version::HTTP_2;
    let request = request.map(|body| relay::request(body, record.received()));
    let (pool, deadline) = match class {
        Class::Short => (&upstream.short, SHORT_ANSWER),
        Class::Long | Class::Upgrade => (&upstream.long, LONG_ANSWER),
    };
    pool.send(request, deadline).await.map_err(|error| {
        gateway.upstreams.distrust(&admitted.cluster);
        told(&error, admitted)
    })
}

/// What the caller is told of an upstream that gave no answer.
fn told(error: &crate::upstream::Error, admitted: &Admitted) -> Refusal {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(%error, cause, cluster = %admitted.cluster, "virtual API server gave no answer");
    let who = format!(
        "the API server of virtual cluster \"{}\" in host namespace \"{}\"",
        admitted.cluster.name, admitted.cluster.namespace
    );
    error.refusal(&who, admitted.place.waits_for.as_deref())
}

/// A `401` says that the API server did not believe the gateway: the caller can do nothing about it and must
/// not be sent to log in again. Behind a proxy path, or one to a container, it is a workload's or a
/// kubelet's own answer.
fn check_trust(
    gateway: &Gateway,
    admitted: &Admitted,
    status: StatusCode,
    rest: &PathAndQuery,
) -> Result<(), Refusal> {
    if status != StatusCode::UNAUTHORIZED || kind::is_answered_elsewhere(rest) {
        return Ok(());
    }
    gateway.upstreams.distrust(&admitted.cluster);
    tracing::warn!(cluster = %admitted.cluster, "virtual API server does not accept the gateway's credential");
    Err(Refusal::new(
        Kind::BadGateway,
        "the virtual API server does not accept the gateway's credential now: try again in a moment",
    )
    .retry_after(Duration::from_secs(2)))
}

/// Puts the prefix back in front of a redirect within the virtual API server. Others pass as they are; none is
/// followed here.
fn keep_prefix(headers: &mut HeaderMap, prefix: &str) {
    let Some(location) = headers.get(header::LOCATION) else {
        return;
    };
    let within = location.as_bytes().starts_with(b"/") && !location.as_bytes().starts_with(b"//");
    if within
        && !prefix.is_empty()
        && let Ok(value) =
            HeaderValue::from_bytes(&[prefix.as_bytes(), location.as_bytes()].concat())
    {
        headers.insert(header::LOCATION, value);
    }
}

fn watch_over(gateway: &Gateway, admitted: Admitted, resumable: bool) -> Ended {
    let vigil = gateway.vigil.clone();
    let scope = Scope::Cluster(admitted.cluster, admitted.grant);
    Box::pin(vigil.ended(admitted.presented, admitted.caller, scope, resumable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_within_the_cluster_keeps_the_prefix_and_others_pass() {
        for (location, expected) in [
            ("/api/v1/x/proxy/", "/clusters/a/b/api/v1/x/proxy/"),
            ("//evil.example/x", "//evil.example/x"),
            ("http://169.254.169.254/", "http://169.254.169.254/"),
            ("relative", "relative"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, HeaderValue::from_static(location));
            keep_prefix(&mut headers, "/clusters/a/b");
            assert_eq!(headers[header::LOCATION], expected);
        }
    }
}
