//! Flags, checked and in the terms of the modules that take them.

use http::Uri;
use vcluster_resources::HostNamespace;

use crate::address::Range;
use crate::args::{self, Serve};
use crate::distro::Images;
use crate::isolation::{self, Family, Isolation};
use crate::manifest::Installation;
use crate::platform::Gateway;

/// What is wrong with the flags.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A flag is missing.
    #[error("--{0} is required")]
    Missing(&'static str),
    /// The gateway's address is not one.
    #[error("--gateway-address must be https://HOST[:PORT], is {0:?}")]
    GatewayAddress(String),
    /// The namespace is not one.
    #[error("--namespace {0}")]
    Namespace(#[source] vcluster_resources::name::Error),
    /// A range is not one.
    #[error("--host-service-cidr {0:?} {1}")]
    Range(String, #[source] crate::address::NotARange),
    /// Not a family of addresses.
    #[error("--public-egress must be IPv4, IPv6 or both, is {0:?}")]
    Family(String),
    /// A range is not one.
    #[error("--denied-egress {0:?} must be a range such as 203.0.113.0/24")]
    Denied(String, #[source] ipnet::AddrParseError),
    /// Rules are none.
    #[error("--host-dns-egress or --control-plane-egress")]
    Egress(#[source] isolation::Error),
}

/// What the service is built from.
#[derive(Debug, Clone)]
pub struct Config {
    /// This installation.
    pub installation: Installation,
    /// The gateway, as users reach it.
    pub gateway: Gateway,
    /// The host's Service ranges, if they were given.
    pub ranges: Vec<Range>,
    /// Name of this process.
    pub instance: String,
    /// UID of the pod that it runs in.
    pub pod_uid: Option<String>,
}

impl Config {
    /// Checks flags. `resolv_conf` is the file of that name of a pod of the host, as this one is.
    ///
    /// # Errors
    /// A flag that cannot be meant.
    pub fn new(args: &Serve, resolv_conf: &str) -> Result<Self, Error> {
        let namespace = args
            .namespace
            .as_deref()
            .ok_or(Error::Missing("namespace"))?;
        let namespace: HostNamespace = namespace.parse().map_err(Error::Namespace)?;
        let address = args.gateway.gateway_address.as_deref();
        let address = address.ok_or(Error::Missing("gateway-address"))?;
        let made_up = || format!("vcluster-control-{}", uuid::Uuid::new_v4());
        Ok(Self {
            installation: Installation {
                namespace: namespace.to_string(),
                control_account: args.service_account.clone(),
                sync_account: args.sync_service_account.clone(),
                images: Images {
                    kube_apiserver: args.images.image_kube_apiserver.clone(),
                    kube_controller_manager: args.images.image_kube_controller_manager.clone(),
                    kine: args.images.image_kine.clone(),
                    coredns: args.images.image_coredns.clone(),
                    pull_policy: args.images.image_pull_policy.clone(),
                },
                isolation: isolation(&args.isolation, resolv_conf)?,
            },
            gateway: gateway(address, &args.gateway.gateway_san)?,
            ranges: args
                .host_service_cidr
                .iter()
                .map(|text| range(text))
                .collect::<Result<_, _>>()?,
            instance: args.pod_name.clone().unwrap_or_else(made_up),
            pod_uid: args.pod_uid.clone(),
        })
    }
}

fn isolation(args: &args::Isolation, resolv_conf: &str) -> Result<Option<Isolation>, Error> {
    if !args.isolate {
        return Ok(None);
    }
    let given = |texts: &[String]| -> Vec<String> {
        let texts = texts.iter().filter(|text| !text.is_empty());
        texts.cloned().collect()
    };
    let family = |text: String| match text.as_str() {
        "IPv4" => Ok(Family::V4),
        "IPv6" => Ok(Family::V6),
        _ => Err(Error::Family(text)),
    };
    let denied = |text: String| text.parse().map_err(|error| Error::Denied(text, error));
    let public = given(&args.public_egress).into_iter().map(family);
    let denied = given(&args.denied_egress).into_iter().map(denied);
    let options = isolation::Options {
        host_dns: &args.host_dns_egress,
        nameservers: isolation::nameservers(resolv_conf),
        public: public.collect::<Result<_, _>>()?,
        denied: denied.collect::<Result<_, _>>()?,
        further: &args.control_plane_egress,
    };
    let isolation = Isolation::new(&options).map_err(Error::Egress)?;
    Ok(Some(isolation))
}

fn gateway(address: &str, further: &[String]) -> Result<Gateway, Error> {
    let malformed = || Error::GatewayAddress(address.to_owned());
    let trimmed = address.strip_suffix('/').unwrap_or(address);
    let uri: Uri = trimmed.parse().map_err(|_error| malformed())?;
    let host = uri
        .host()
        .filter(|host| !host.is_empty())
        .ok_or_else(malformed)?;
    let bare = uri
        .path_and_query()
        .is_none_or(|path| matches!(path.as_str(), "" | "/"));
    let named = !uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'));
    if uri.scheme_str() != Some("https") || !bare || !named {
        return Err(malformed());
    }
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let mut names = vec![host];
    names.extend(further.iter().filter(|name| !name.is_empty()).cloned());
    Ok(Gateway {
        address: trimmed.to_owned(),
        names,
    })
}

fn range(text: &str) -> Result<Range, Error> {
    text.parse()
        .map_err(|error| Error::Range(text.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_the_address_is_a_name_of_the_certificate() {
        let gateway = gateway("https://gw.example.com:8443/", &["10.0.0.1".to_owned()]).unwrap();
        assert_eq!(gateway.address, "https://gw.example.com:8443");
        assert_eq!(gateway.names, ["gw.example.com", "10.0.0.1"]);
        assert_eq!(
            super::gateway("https://[::1]:443", &[]).unwrap().names,
            ["::1"]
        );
    }

    fn config(flags: &[&str]) -> Result<Config, Error> {
        use clap::Parser as _;
        let needed = ["c", "--namespace=x", "--gateway-address=https://gw"];
        let args = args::Args::parse_from(needed.iter().chain(flags));
        Config::new(&args.serve, "nameserver 10.96.0.10\n")
    }

    #[test]
    fn control_planes_are_isolated_unless_that_is_switched_off() {
        let isolation = |flags: &[&str]| config(flags).unwrap().installation.isolation;
        let subject = crate::subject::Subject::sample();
        let policy = |flags: &[&str]| {
            let isolation = isolation(flags).unwrap();
            isolation.control_plane(&subject, "x").to_string()
        };
        assert_eq!(isolation(&["--isolate=false"]), None);
        let default = policy(&[]);
        assert!(default.contains("10.96.0.10/32") && default.contains("0.0.0.0/0"));
        assert!(!default.contains("2000::/3"));
        assert!(policy(&["--public-egress=IPv4,IPv6"]).contains("2000::/3"));
        assert!(!policy(&["--public-egress="]).contains("0.0.0.0/0"));
        assert!(policy(&["--denied-egress=11.0.0.0/8"]).contains("11.0.0.0/8"));
    }

    #[test]
    fn flags_of_isolation_that_cannot_be_meant_are_refused_by_name() {
        for (flag, words) in [
            ("--public-egress=ipv4", ["--public-egress", "ipv4"]),
            ("--denied-egress=11.0.0.0", ["--denied-egress", "11.0.0.0"]),
            (
                "--control-plane-egress=[{}]",
                ["--control-plane-egress", ""],
            ),
            ("--host-dns-egress={}", ["--host-dns-egress", ""]),
        ] {
            let said = config(&[flag]).unwrap_err().to_string();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
    }

    #[test]
    fn an_address_that_users_could_not_use_is_refused() {
        for bad in [
            "http://gw",
            "gw:443",
            "https://",
            "https://gw/path",
            "https://u@gw",
            "",
        ] {
            assert!(gateway(bad, &[]).is_err(), "{bad}");
        }
    }
}
