//! What the command line means, checked before anything is started.

use http::Uri;

use crate::args::Args;
use crate::limits::PerUser;
use crate::listener;
use crate::route::Domain;

/// Port of the services behind the gateway.
const SERVICE_PORT: u16 = 8443;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The command line as it came; what follows replaces parts of it.
    pub args: Args,
    /// The domain of clusters' own hosts.
    pub domain: Option<Domain>,
    /// Where control is.
    pub control: Address,
    /// Where sync is.
    pub sync: Address,
    /// Limits of the public port.
    pub listener: listener::Limits,
    /// Limits of users.
    pub per_user: PerUser,
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A flag whose value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--{flag}: {reason}")]
pub struct Error {
    flag: &'static str,
    reason: String,
}

impl TryFrom<Args> for Config {
    type Error = Error;

    fn try_from(args: Args) -> Result<Self, Error> {
        let wrong = |flag, reason: &str| Error {
            flag,
            reason: reason.to_owned(),
        };
        let domain = args
            .domain
            .as_deref()
            .map(Domain::parse)
            .transpose()
            .map_err(|reason| Error {
                flag: "domain",
                reason,
            })?;
        for (flag, number) in [
            ("max-connections", args.max_connections),
            (
                "max-connections-per-source",
                args.max_connections_per_source,
            ),
            (
                "max-streams-per-connection",
                args.max_streams_per_connection as usize,
            ),
            ("max-requests-per-user", args.max_requests_per_user),
            ("max-streams-per-user", args.max_streams_per_user),
        ] {
            if number == 0 {
                return Err(wrong(flag, "must be at least 1"));
            }
        }
        let service = |name: &str| format!("https://{name}.{}.svc:{SERVICE_PORT}", args.namespace);
        let control = args
            .control_address
            .clone()
            .unwrap_or_else(|| service("vcluster-control"));
        let sync = args
            .sync_address
            .clone()
            .unwrap_or_else(|| service("vcluster-sync"));
        Ok(Self {
            domain,
            control: Address::parse("control-address", &control)?,
            sync: Address::parse("sync-address", &sync)?,
            listener: listener::Limits {
                connections: args.max_connections,
                per_source: args.max_connections_per_source,
                handshake: args.handshake_timeout,
                header: args.header_timeout,
                idle: args.idle_timeout,
                streams: args.max_streams_per_connection,
            },
            per_user: PerUser {
                short: args.max_requests_per_user,
                long: args.max_streams_per_user,
            },
            args,
        })
    }
}

impl Address {
    fn parse(flag: &'static str, text: &str) -> Result<Self, Error> {
        let wrong = || Error {
            flag,
            reason: format!("{text:?} is not https://HOST[:PORT]"),
        };
        let uri: Uri = text.parse().map_err(|_malformed| wrong())?;
        let bare = uri.path() == "/" && uri.query().is_none();
        let host = uri
            .host()
            .filter(|_| bare && uri.scheme_str() == Some("https"));
        let host = host
            .ok_or_else(wrong)?
            .trim_start_matches('[')
            .trim_end_matches(']');
        Ok(Self {
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(443),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn config(flags: &[&str]) -> Result<Config, Error> {
        Config::try_from(Args::parse_from(["vcluster-connect"].iter().chain(flags)))
    }

    #[test]
    fn services_are_found_by_the_namespace() {
        let config = config(&["--namespace=platform"]).unwrap();
        let control = Address {
            host: "vcluster-control.platform.svc".to_owned(),
            port: 8443,
        };
        assert_eq!(config.control, control);
        assert_eq!(config.sync.host, "vcluster-sync.platform.svc");
    }

    #[test]
    fn values_that_cannot_work_name_their_flag() {
        for (flag, name) in [
            ("--control-address=http://control", "--control-address"),
            ("--sync-address=https://sync/x", "--sync-address"),
            ("--domain=not a domain", "--domain"),
            ("--max-connections=0", "--max-connections"),
        ] {
            assert!(
                config(&[flag]).unwrap_err().to_string().starts_with(name),
                "{flag}"
            );
        }
    }
}
