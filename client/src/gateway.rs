//! Where the gateway is, and whose certificate it shows.

use std::{fmt, str::FromStr};

use http::Uri;

use crate::tls::Trust;

/// The address of a gateway: `https://HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

/// A gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Where it listens.
    pub address: Address,
    /// Whose certificates are accepted there.
    pub trust: Trust,
}

/// The text is no address of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the address of a gateway: {problem}; it must be https://HOST[:PORT]")]
pub struct InvalidAddress {
    text: String,
    problem: &'static str,
}

impl Address {
    /// Host name or IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = |problem| InvalidAddress {
            text: text.to_owned(),
            problem,
        };
        let uri: Uri = text
            .trim()
            .trim_end_matches('/')
            .parse()
            .map_err(|_not_a_url: http::uri::InvalidUri| invalid("it is not a URL"))?;
        match uri.scheme_str() {
            Some("https") => {}
            Some(_) => return Err(invalid("only https protects your credentials")),
            None => return Err(invalid("it has no scheme")),
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(invalid("it has a path"));
        }
        let authority = uri.authority().ok_or_else(|| invalid("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("it holds a user"));
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        if host.is_empty() {
            return Err(invalid("it has no host"));
        }
        Ok(Self {
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(443),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("https://")?;
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if self.port == 443 {
            Ok(())
        } else {
            write!(f, ":{}", self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_in_one_form() {
        for (text, shown) in [
            ("https://gw.example", "https://gw.example"),
            ("https://gw.example:443/", "https://gw.example"),
            (" https://127.0.0.1:8443\n", "https://127.0.0.1:8443"),
            ("https://[::1]:8443", "https://[::1]:8443"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_would_leak_or_mislead_is_refused() {
        for text in [
            "",
            "gw.example:443",
            "http://gw.example",
            "https://",
            "https://gw.example/clusters",
            "https://user@gw.example",
            "https://gw.example?x=y",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
