//! Is this certificate still the one that is wanted?

use std::net::{Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use rcgen::{KeyPair, PublicKeyData};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::parse_x509_pem;

use super::leaf::{Leaf, Usage};

/// Why a leaf is issued again; worded to follow the name of the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It, or its key, is not there.
    Missing,
    /// It, or its key, cannot be read.
    Unreadable,
    /// Its key belongs to another certificate.
    WrongKey,
    /// Another authority signed it.
    OtherIssuer,
    /// It is for another subject, other names or another use.
    OtherSubject,
    /// Two thirds of its life are over.
    Expiring,
    /// Something that is copied into the Secret is not the current one.
    Stale,
}

impl Flaw {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "is missing",
            Self::Unreadable => "cannot be read",
            Self::WrongKey => "has a key that does not belong to it",
            Self::OtherIssuer => "was signed by another authority",
            Self::OtherSubject => "is for another subject or other names",
            Self::Expiring => "is near its end",
            Self::Stale => "is out of date",
        }
    }
}

/// Checks a certificate and key against what they should be, and who should have signed them.
pub fn leaf(
    certificate: &str,
    key: &str,
    authority: &str,
    wanted: &Leaf,
    now: Timestamp,
) -> Result<(), Flaw> {
    let (_, pem) = parse_x509_pem(certificate.as_bytes()).map_err(|_error| Flaw::Unreadable)?;
    let found = pem.parse_x509().map_err(|_error| Flaw::Unreadable)?;
    let (_, pem) = parse_x509_pem(authority.as_bytes()).map_err(|_error| Flaw::OtherIssuer)?;
    let authority = pem.parse_x509().map_err(|_error| Flaw::OtherIssuer)?;
    let key = KeyPair::from_pem(key).map_err(|_error| Flaw::Unreadable)?;
    if found.public_key().raw != key.subject_public_key_info() {
        return Err(Flaw::WrongKey);
    }
    if !signed_by(&found, &authority) {
        return Err(Flaw::OtherIssuer);
    }
    if !is(&found, wanted) {
        return Err(Flaw::OtherSubject);
    }
    let validity = found.validity();
    let (begin, end) = (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    );
    let renew_at = begin + (end - begin) / 3 * 2;
    if now.as_second() < begin || now.as_second() >= renew_at {
        return Err(Flaw::Expiring);
    }
    Ok(())
}

/// Whether the PEM holds a certificate at all.
pub fn is_certificate(pem: &[u8]) -> bool {
    parse_x509_pem(pem).is_ok_and(|(_, pem)| pem.parse_x509().is_ok())
}

/// By the identifiers of their keys: the signature itself is checked by those who rely on it.
fn signed_by(leaf: &X509Certificate<'_>, authority: &X509Certificate<'_>) -> bool {
    let issuer = leaf.extensions().iter().find_map(|extension| {
        let ParsedExtension::AuthorityKeyIdentifier(id) = extension.parsed_extension() else {
            return None;
        };
        id.key_identifier.as_ref().map(|id| id.0)
    });
    let subject = authority.extensions().iter().find_map(|extension| {
        let ParsedExtension::SubjectKeyIdentifier(id) = extension.parsed_extension() else {
            return None;
        };
        Some(id.0)
    });
    issuer.is_some() && issuer == subject && leaf.issuer() == authority.subject()
}

fn is(found: &X509Certificate<'_>, wanted: &Leaf) -> bool {
    let text = |value: Option<&x509_parser::x509::AttributeTypeAndValue<'_>>| {
        value
            .and_then(|value| value.as_str().ok())
            .map(ToOwned::to_owned)
    };
    let subject = found.subject();
    text(subject.iter_common_name().next()).as_deref() == Some(wanted.common_name.as_str())
        && text(subject.iter_organization().next()).as_deref() == wanted.organization
        && has_names(found, wanted)
        && has_usage(found, wanted.usage)
}

fn has_names(found: &X509Certificate<'_>, wanted: &Leaf) -> bool {
    let names = match found.subject_alternative_name() {
        Ok(Some(extension)) => extension.value.general_names.as_slice(),
        Ok(None) | Err(_) => &[],
    };
    let mut names: Vec<String> = names.iter().filter_map(name).collect();
    let tenant = wanted.tenant.as_ref().map(ToString::to_string);
    let mut wanted: Vec<String> = wanted.names.iter().cloned().chain(tenant).collect();
    for list in [&mut names, &mut wanted] {
        list.sort_unstable();
        list.dedup();
    }
    names == wanted
}

/// A name as text; ours are of these three kinds only. A URI is never a DNS name or an address.
fn name(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::DNSName(name) | GeneralName::URI(name) = name {
        return Some((*name).to_owned());
    }
    let GeneralName::IPAddress(bytes) = name else {
        return None;
    };
    if let Ok(v4) = <[u8; 4]>::try_from(*bytes) {
        return Some(Ipv4Addr::from(v4).to_string());
    }
    let v6 = <[u8; 16]>::try_from(*bytes).ok()?;
    Some(Ipv6Addr::from(v6).to_string())
}

fn has_usage(found: &X509Certificate<'_>, wanted: Usage) -> bool {
    let Ok(Some(usage)) = found.extended_key_usage() else {
        return false;
    };
    let (server, client) = match wanted {
        Usage::Server => (true, false),
        Usage::Client => (false, true),
        Usage::Both => (true, true),
    };
    usage.value.server_auth == server && usage.value.client_auth == client
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, ToSpan as _};
    use secrecy::ExposeSecret;

    use super::*;
    use crate::pki::{Authority, Issued, LEAF_LIFE};

    fn now() -> Timestamp {
        "2026-06-01T00:00:00Z".parse().unwrap()
    }

    fn server() -> Leaf {
        Leaf::server(
            "demo",
            vec!["demo.team-a.svc".to_owned(), "10.96.7.17".to_owned()],
        )
    }

    fn issued() -> (Authority, Issued) {
        let authority = Authority::mint("ca", now()).unwrap();
        let issued = authority.issue(&server(), now()).unwrap();
        (authority, issued)
    }

    fn check(wanted: &Leaf, at: Timestamp) -> Result<(), Flaw> {
        let (authority, issued) = issued();
        leaf(
            &issued.certificate,
            issued.key.expose_secret(),
            authority.certificate(),
            wanted,
            at,
        )
    }

    #[test]
    fn a_fresh_leaf_is_kept() {
        assert_eq!(check(&server(), now()), Ok(()));
    }

    #[test]
    fn a_leaf_is_kept_until_two_thirds_of_its_life_are_over() {
        let life = SignedDuration::try_from(LEAF_LIFE).unwrap();
        assert_eq!(check(&server(), now() + life / 3 * 2 - 1.hours()), Ok(()));
        assert_eq!(
            check(&server(), now() + life / 3 * 2 + 1.hours()),
            Err(Flaw::Expiring)
        );
    }

    #[test]
    fn other_names_or_another_use_mean_another_leaf() {
        let mut names = server();
        names.names.push("localhost".to_owned());
        assert_eq!(check(&names, now()), Err(Flaw::OtherSubject));
        let usage = Leaf {
            usage: Usage::Both,
            ..server()
        };
        assert_eq!(check(&usage, now()), Err(Flaw::OtherSubject));
        let user = Leaf {
            common_name: "other".to_owned(),
            ..server()
        };
        assert_eq!(check(&user, now()), Err(Flaw::OtherSubject));
    }

    #[test]
    fn a_leaf_of_another_authority_of_the_same_name_is_noticed() {
        let (one, other) = (
            Authority::mint("ca", now()).unwrap(),
            Authority::mint("ca", now()).unwrap(),
        );
        let issued = one.issue(&server(), now()).unwrap();
        let result = leaf(
            &issued.certificate,
            issued.key.expose_secret(),
            other.certificate(),
            &server(),
            now(),
        );
        assert_eq!(result, Err(Flaw::OtherIssuer));
    }

    #[test]
    fn garbage_is_unreadable_and_a_strange_key_is_noticed() {
        let authority = Authority::mint("ca", now()).unwrap();
        let (one, other) = (
            authority.issue(&server(), now()).unwrap(),
            authority.issue(&server(), now()).unwrap(),
        );
        let check = |certificate: &str, key: &str| {
            leaf(certificate, key, authority.certificate(), &server(), now())
        };
        assert_eq!(
            check("garbage", one.key.expose_secret()),
            Err(Flaw::Unreadable)
        );
        assert_eq!(check(&one.certificate, "garbage"), Err(Flaw::Unreadable));
        assert_eq!(
            check(&one.certificate, other.key.expose_secret()),
            Err(Flaw::WrongKey)
        );
    }
}
