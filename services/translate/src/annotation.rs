//! Annotations of virtual objects that go to the host as they are, for controllers there.
//!
//! A controller of the host reads an annotation with its own rights, which are wider than the tenant's: it may put
//! the text into the configuration of a proxy that all share, have a certificate issued in somebody's name, write a
//! DNS record, take an address or join a load balancer of others. So only those pass that are listed here, which
//! steer nothing but the object's own traffic, and those that the host's administrator allows
//! ([`Annotations`](crate::Annotations)). The others stay inside. Of those that somebody may have meant for the
//! host, the host object bears a note, and the user is told when that is written.

use serde_json::{Map, Value};

use crate::json::strings;

/// Annotation of a host object: which of its annotations are the user's, so that one the user takes
/// away goes, and one of the host's stays.
pub(crate) const PASSED_LIST: &str = "vcluster.dev/passed-annotations";
/// Annotation of a host object: which of the user's stayed inside although they may be meant for the host.
const KEPT_LIST: &str = "vcluster.dev/kept-annotations";
/// Most keys in that list.
const KEPT: usize = 20;

/// What passes of an Ingress: its class, and what the nginx controller does with the Ingress's own requests. Not
/// listed are, with reason: snippets, `auth-url` and mirrors (have the proxy run or call what they name), `canary`
/// and `server-alias` (take requests of other Ingresses), whatever switches off what the administrator set.
pub(crate) const INGRESS: &[&str] = &[
    "kubernetes.io/ingress.class",
    "nginx.ingress.kubernetes.io/affinity",
    "nginx.ingress.kubernetes.io/affinity-mode",
    "nginx.ingress.kubernetes.io/app-root",
    "nginx.ingress.kubernetes.io/auth-realm",
    "nginx.ingress.kubernetes.io/auth-secret",
    "nginx.ingress.kubernetes.io/auth-secret-type",
    "nginx.ingress.kubernetes.io/auth-tls-pass-certificate-to-upstream",
    "nginx.ingress.kubernetes.io/auth-tls-secret",
    "nginx.ingress.kubernetes.io/auth-tls-verify-client",
    "nginx.ingress.kubernetes.io/auth-tls-verify-depth",
    "nginx.ingress.kubernetes.io/auth-type",
    "nginx.ingress.kubernetes.io/backend-protocol",
    "nginx.ingress.kubernetes.io/client-body-buffer-size",
    "nginx.ingress.kubernetes.io/cors-allow-credentials",
    "nginx.ingress.kubernetes.io/cors-allow-headers",
    "nginx.ingress.kubernetes.io/cors-allow-methods",
    "nginx.ingress.kubernetes.io/cors-allow-origin",
    "nginx.ingress.kubernetes.io/cors-expose-headers",
    "nginx.ingress.kubernetes.io/cors-max-age",
    "nginx.ingress.kubernetes.io/default-backend",
    "nginx.ingress.kubernetes.io/denylist-source-range",
    "nginx.ingress.kubernetes.io/enable-cors",
    "nginx.ingress.kubernetes.io/force-ssl-redirect",
    "nginx.ingress.kubernetes.io/limit-burst-multiplier",
    "nginx.ingress.kubernetes.io/limit-connections",
    "nginx.ingress.kubernetes.io/limit-rate",
    "nginx.ingress.kubernetes.io/limit-rate-after",
    "nginx.ingress.kubernetes.io/limit-rpm",
    "nginx.ingress.kubernetes.io/limit-rps",
    "nginx.ingress.kubernetes.io/load-balance",
    "nginx.ingress.kubernetes.io/preserve-trailing-slash",
    "nginx.ingress.kubernetes.io/proxy-body-size",
    "nginx.ingress.kubernetes.io/proxy-buffer-size",
    "nginx.ingress.kubernetes.io/proxy-buffering",
    "nginx.ingress.kubernetes.io/proxy-buffers-number",
    "nginx.ingress.kubernetes.io/proxy-connect-timeout",
    "nginx.ingress.kubernetes.io/proxy-http-version",
    "nginx.ingress.kubernetes.io/proxy-read-timeout",
    "nginx.ingress.kubernetes.io/proxy-request-buffering",
    "nginx.ingress.kubernetes.io/proxy-send-timeout",
    "nginx.ingress.kubernetes.io/proxy-ssl-secret",
    "nginx.ingress.kubernetes.io/proxy-ssl-verify",
    "nginx.ingress.kubernetes.io/proxy-ssl-verify-depth",
    "nginx.ingress.kubernetes.io/rewrite-target",
    "nginx.ingress.kubernetes.io/service-upstream",
    "nginx.ingress.kubernetes.io/session-cookie-expires",
    "nginx.ingress.kubernetes.io/session-cookie-max-age",
    "nginx.ingress.kubernetes.io/session-cookie-name",
    "nginx.ingress.kubernetes.io/session-cookie-path",
    "nginx.ingress.kubernetes.io/session-cookie-samesite",
    "nginx.ingress.kubernetes.io/session-cookie-secure",
    "nginx.ingress.kubernetes.io/ssl-redirect",
    "nginx.ingress.kubernetes.io/use-regex",
    "nginx.ingress.kubernetes.io/whitelist-source-range",
];

/// What passes of a Service: how its own traffic is spread and its own health is asked for. Not listed are those that
/// name addresses, networks, security groups or certificates, or join a load balancer that others have.
pub(crate) const SERVICE: &[&str] = &[
    "service.beta.kubernetes.io/aws-load-balancer-backend-protocol",
    "service.beta.kubernetes.io/aws-load-balancer-connection-draining-enabled",
    "service.beta.kubernetes.io/aws-load-balancer-connection-draining-timeout",
    "service.beta.kubernetes.io/aws-load-balancer-connection-idle-timeout",
    "service.beta.kubernetes.io/aws-load-balancer-cross-zone-load-balancing-enabled",
    "service.beta.kubernetes.io/aws-load-balancer-healthcheck-healthy-threshold",
    "service.beta.kubernetes.io/aws-load-balancer-healthcheck-interval",
    "service.beta.kubernetes.io/aws-load-balancer-healthcheck-path",
    "service.beta.kubernetes.io/aws-load-balancer-healthcheck-port",
    "service.beta.kubernetes.io/aws-load-balancer-healthcheck-protocol",
    "service.beta.kubernetes.io/aws-load-balancer-healthcheck-timeout",
    "service.beta.kubernetes.io/aws-load-balancer-healthcheck-unhealthy-threshold",
    "service.beta.kubernetes.io/aws-load-balancer-proxy-protocol",
    "service.beta.kubernetes.io/azure-load-balancer-tcp-idle-timeout",
    "service.kubernetes.io/topology-mode",
];

/// Domains, with all below them, of annotations by which controllers of ingresses, load balancers, certificates, DNS
/// and clouds' identities are steered. Of others (helm's, a monitor's, a GitOps tool's) nobody need be told that they stay inside.
const STEERING: [&str; 19] = [
    "alb.ingress.kubernetes.io",
    "azure.workload.identity",
    "cert-manager.io",
    "cloud.google.com",
    "eks.amazonaws.com",
    "external-dns.alpha.kubernetes.io",
    "haproxy-ingress.github.io",
    "haproxy.org",
    "iam.gke.io",
    "ingress.kubernetes.io",
    "io.cilium",
    "konghq.com",
    "load-balancer.openstack.org",
    "loadbalancer.openstack.org",
    "metallb.io",
    "metallb.universe.tf",
    "networking.gke.io",
    "nginx.org",
    "service.beta.kubernetes.io",
];

/// The user's annotations that pass, by one of our lists or by the administrator's, and their list; and the list of
/// those that stay inside and may be missed.
pub(crate) fn passed(object: &Value, listed: &[&str], allowed: &[String]) -> Map<String, Value> {
    let is_allowed = |key: &str| {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => key.starts_with(beginning),
            None => key == pattern,
        };
        !is_nobodys(key) && allowed.iter().any(matches)
    };
    let passes =
        |key: &str, value: &str| is_allowed(key) || (listed.contains(&key) && is_plain(value));
    let mut kept: Vec<_> = strings(object, "/metadata/annotations")
        .filter(|(key, value)| !passes(key, value) && (listed.contains(key) || steers(key)))
        .map(|(key, _)| key)
        .collect();
    kept.sort_unstable();
    kept.truncate(KEPT);
    let mut passed = of(object, passes);
    if !kept.is_empty() {
        passed.insert(KEPT_LIST.to_owned(), kept.join(",").into());
    }
    passed
}

/// Ours, and kubectl's copy of the whole object: never passed on.
fn is_nobodys(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let ours = domain == "vcluster.dev" || domain.ends_with(".vcluster.dev");
    ours || domain == "kubectl.kubernetes.io"
}

/// Whether a value has none of the characters by which it could end a word in a proxy's configuration and say
/// something else there.
fn is_plain(value: &str) -> bool {
    value
        .chars()
        .all(|c| (c.is_ascii_graphic() || c == ' ') && !"\"'`\\;{}#".contains(c))
}

fn steers(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let within = |known: &&str| {
        let rest = domain.strip_suffix(*known);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    STEERING.iter().any(within)
}

/// The user's annotations of which `passes` is true, and their list.
pub(crate) fn passed_of(object: &Value, passes: impl Fn(&str) -> bool) -> Map<String, Value> {
    of(object, |key, _value| passes(key))
}

fn of(object: &Value, passes: impl Fn(&str, &str) -> bool) -> Map<String, Value> {
    let mut passed: Map<String, Value> = strings(object, "/metadata/annotations")
        .filter(|(key, value)| passes(key, value))
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    if !passed.is_empty() {
        let mut keys: Vec<_> = passed.keys().map(String::as_str).collect();
        keys.sort_unstable();
        let list = keys.join(",");
        passed.insert(PASSED_LIST.to_owned(), list.into());
    }
    passed
}

/// Whether the annotation `key` of a host object is there because the user's passed, or did not.
pub(crate) fn is_passed(host: &Value, key: &str) -> bool {
    let list = host
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(PASSED_LIST))
        .and_then(Value::as_str)
        .unwrap_or_default();
    matches!(key, PASSED_LIST | KEPT_LIST) || list.split(',').any(|passed| passed == key)
}

/// What the user is to be told once `written`, a new host object or the body of a patch of one, is on the host: which
/// annotations stay inside. Nothing if that is not news.
pub fn kept(written: &Value) -> Option<String> {
    let annotations = written.pointer("/metadata/annotations")?;
    let keys = annotations.get(KEPT_LIST)?.as_str()?.replace(',', ", ");
    Some(format!(
        "these annotations, or their values, do not reach the host cluster's controllers: {keys}; the host's \
         administrator can allow more"
    ))
}

/// Leaves the note of [`kept`] for a later write.
pub(crate) fn forget_kept(host: &mut Value) {
    let annotations = host.pointer_mut("/metadata/annotations");
    if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
        annotations.remove(KEPT_LIST);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ingress(annotations: &[(&str, &str)]) -> Value {
        let annotations: Map<String, Value> = annotations
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).into()))
            .collect();
        json!({"metadata": {"annotations": annotations}})
    }

    #[test]
    fn what_steers_others_stays_inside_and_is_told_and_what_is_harmless_passes() {
        let nginx = |key: &str| format!("nginx.ingress.kubernetes.io/{key}");
        let (timeout, snippet, rewrite) = (
            nginx("proxy-read-timeout"),
            nginx("configuration-snippet"),
            nginx("rewrite-target"),
        );
        let object = ingress(&[
            (&timeout, "60"),
            (&snippet, "return 200;"),
            (&rewrite, "/$1;}} server {"),
            ("cert-manager.io/cluster-issuer", "internal"),
            (
                "traefik.ingress.kubernetes.io/router.middlewares",
                "other-auth@kubernetescrd",
            ),
            ("meta.helm.sh/release-name", "web"),
            ("vcluster.dev/uid", "forged"),
        ]);
        let passed = passed(&object, INGRESS, &[]);
        assert_eq!(passed[&timeout], "60");
        let kept = passed[KEPT_LIST].as_str().unwrap();
        assert_eq!(
            kept,
            format!(
                "cert-manager.io/cluster-issuer,{snippet},{rewrite},traefik.ingress.kubernetes.io/router.middlewares"
            )
        );
        assert_eq!(passed.len(), 3, "with both lists: {passed:?}");
        let written = json!({"metadata": {"annotations": passed}});
        assert!(super::kept(&written).unwrap().contains(&snippet));
        assert_eq!(super::kept(&ingress(&[("a", "b")])), None);
    }

    #[test]
    fn the_host_s_administrator_lets_more_pass_but_never_ours() {
        let object = ingress(&[
            ("cert-manager.io/cluster-issuer", "public"),
            ("example.com/one", "{}"),
            ("kubectl.kubernetes.io/last-applied-configuration", "{}"),
            ("vcluster.dev/uid", "forged"),
            ("label.vcluster.dev/app", "forged"),
        ]);
        let allowed = ["example.com/*".to_owned(), "*".to_owned()];
        let keys = |allowed: &[String]| -> Vec<String> {
            let passed = passed(&object, INGRESS, allowed);
            passed
                .keys()
                .filter(|key| !is_nobodys(key))
                .cloned()
                .collect()
        };
        assert_eq!(keys(&allowed[..1]), ["example.com/one"]);
        let everything = keys(&allowed);
        assert_eq!(
            everything,
            ["cert-manager.io/cluster-issuer", "example.com/one"]
        );
        let all = passed(&object, INGRESS, &allowed);
        assert!(
            !all.contains_key("vcluster.dev/uid") && !all.contains_key("label.vcluster.dev/app")
        );
    }
}
