//! What of a request or an answer may pass the gateway.
//!
//! Pure. On a request it runs before ours are set, on every route and for every caller, so that nothing a
//! client sends can add to, replace or remove what the gateway says about it:
//!
//! | removed from requests | because |
//! |---|---|
//! | `Connection` of every line, each header it names, and the other hop-by-hop headers | they end here; done first, so that none of ours can be named by them |
//! | `X-Remote-*`, known today or not, also spelled with `_` | only the gateway says who the caller is |
//! | `Authorization`, `Proxy-Authorization`, `Cookie`, the bearer subprotocol of WebSocket | they are the caller's credential for the gateway |
//! | `Forwarded`, `X-Forwarded-*`, `X-Real-Ip`, `Via` and kin | only the gateway says where the caller is |
//! | `Expect` | answered here |
//!
//! `Impersonate-*` passes: the virtual API server decides on it for the real user. A request that asks
//! for impersonation and for its removal in one (`Connection: Impersonate-User`) is refused, because
//! taking the headers out would let it run with more rights than it asked for.
//!
//! On answers it removes what would speak for the gateway's whole origin, which all tenants share.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use vcluster_chassis::upgrade::tokens;

/// Marks the element of `Sec-WebSocket-Protocol` in which browsers send a bearer token to Kubernetes.
const BEARER_SUBPROTOCOL: &[u8] = b"bearer.authorization.k8s.io";

/// Headers that end at each hop, besides those that `Connection` names (RFC 9110, 7.6.1).
const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Credentials for the gateway itself, and what it has answered already.
const OURS: [&str; 4] = ["authorization", "cookie", "cookie2", "expect"];

/// Where a request came from, as other proxies tell it; `X-Forwarded-*` goes by its prefix.
const FORWARDED: [&str; 9] = [
    "cf-connecting-ip",
    "client-ip",
    "fastly-client-ip",
    "forwarded",
    "true-client-ip",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-real-ip",
];

/// Headers of answers that speak for the whole origin.
const ORIGIN_WIDE: [&str; 7] = [
    "alt-svc",
    "clear-site-data",
    "public-key-pins",
    "service-worker-allowed",
    "set-cookie",
    "set-cookie2",
    "strict-transport-security",
];

/// A request whose headers cannot be cleaned without changing its meaning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A `Connection` line names something that is no header.
    #[error("a Connection header names something that is not a header name")]
    Connection,
    /// A `Connection` line names a header of impersonation.
    #[error("a Connection header names {header}: impersonation cannot be taken back on the way")]
    Impersonation {
        /// The header.
        header: HeaderName,
    },
}

/// Removes from a request what must not reach whoever it is forwarded to.
pub fn request(headers: &mut HeaderMap) -> Result<(), Malformed> {
    let named = named_by_connection(headers)?;
    if let Some(header) = named.iter().find(|name| is_impersonation(name)) {
        return Err(Malformed::Impersonation {
            header: header.clone(),
        });
    }
    remove_all(headers, named);
    remove_if(headers, |name| {
        let plain = plain(name);
        HOP_BY_HOP.contains(&plain.as_str())
            || OURS.contains(&plain.as_str())
            || FORWARDED.contains(&plain.as_str())
            || plain.starts_with("x-forwarded")
            || plain.starts_with("x-remote-")
            // An alias that the API server would not know, but something behind it might.
            || (name.as_str().contains('_') && plain.starts_with("impersonate-"))
    });
    remove_bearer_subprotocol(headers);
    Ok(())
}

/// Removes from an answer what ends at the gateway or would speak for its whole origin.
pub fn response(headers: &mut HeaderMap) {
    let named = named_by_connection_leniently(headers);
    remove_all(headers, named);
    remove_if(headers, |name| {
        HOP_BY_HOP.contains(&name.as_str()) || ORIGIN_WIDE.contains(&name.as_str())
    });
}

/// Whether a header belongs to Kubernetes' impersonation.
fn is_impersonation(name: &HeaderName) -> bool {
    plain(name).starts_with("impersonate-")
}

/// The name as those read it who take `_` for `-`; header names are lower case already.
fn plain(name: &HeaderName) -> String {
    name.as_str().replace('_', "-")
}

/// Every header that any `Connection` line names.
fn named_by_connection(headers: &HeaderMap) -> Result<Vec<HeaderName>, Malformed> {
    tokens(headers, &header::CONNECTION)
        .map(|token| HeaderName::from_bytes(token).map_err(|_error| Malformed::Connection))
        .collect()
}

fn named_by_connection_leniently(headers: &HeaderMap) -> Vec<HeaderName> {
    tokens(headers, &header::CONNECTION)
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .collect()
}

fn remove_all(headers: &mut HeaderMap, names: Vec<HeaderName>) {
    for name in names {
        headers.remove(name);
    }
}

fn remove_if(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    let found: Vec<HeaderName> = headers
        .keys()
        .filter(|name| unwanted(name))
        .cloned()
        .collect();
    remove_all(headers, found);
}

fn elements(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes()
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
}

/// Takes bearer tokens out of `Sec-WebSocket-Protocol`; every other element keeps its line and place.
fn remove_bearer_subprotocol(headers: &mut HeaderMap) {
    let name = header::SEC_WEBSOCKET_PROTOCOL;
    if !headers
        .get_all(&name)
        .iter()
        .any(|line| holds_bearer(line.as_bytes()))
    {
        return;
    }
    let lines: Vec<HeaderValue> = headers.get_all(&name).iter().cloned().collect();
    headers.remove(&name);
    for line in lines {
        if !holds_bearer(line.as_bytes()) {
            headers.append(&name, line);
            continue;
        }
        let kept: Vec<&[u8]> = elements(&line)
            .filter(|element| !element.is_empty() && !holds_bearer(element))
            .collect();
        // What is left of a header value is one.
        if let Ok(value) = HeaderValue::from_bytes(&kept.join(&b", "[..]))
            && !kept.is_empty()
        {
            headers.append(&name, value);
        }
    }
}

fn holds_bearer(text: &[u8]) -> bool {
    text.windows(BEARER_SUBPROTOCOL.len())
        .any(|window| window.eq_ignore_ascii_case(BEARER_SUBPROTOCOL))
}

#[cfg(test)]
mod tests;
