//! Flags, checked and in the terms of the modules that take them.

use http::Uri;
use vcluster_resources::HostNamespace;

use crate::address::Range;
use crate::args::Serve;
use crate::distro::Images;
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
}

impl TryFrom<&Serve> for Config {
    type Error = Error;

    fn try_from(args: &Serve) -> Result<Self, Error> {
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
            },
            gateway: gateway(address, &args.gateway.gateway_san)?,
            ranges: args
                .host_service_cidr
                .iter()
                .map(|text| range(text))
                .collect::<Result<_, _>>()?,
            instance: args.pod_name.clone().unwrap_or_else(made_up),
        })
    }
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
