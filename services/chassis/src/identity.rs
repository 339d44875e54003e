//! Who a caller is, as Kubernetes puts it: a user, a UID, groups and extra attributes.
//!
//! Comes from a client certificate here, from request headers in [`headers`], from a token in
//! [`crate::access`]. An identity carries no rights; those are asked for each time.

use std::collections::BTreeMap;

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

pub mod headers;

/// Group of every authenticated caller.
pub const AUTHENTICATED: &str = "system:authenticated";

/// A caller as Kubernetes knows it (`authentication.k8s.io/v1` UserInfo).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Name; never empty.
    pub user: String,
    /// Identifier that outlives a reuse of the name.
    pub uid: Option<String>,
    /// Groups in the order in which they were given.
    pub groups: Vec<String>,
    /// Further attributes; keys in lower case, as far as they are ASCII.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// Makes an identity with a name and nothing else.
    pub fn user(name: impl Into<String>) -> Self {
        Self {
            user: name.into(),
            uid: None,
            groups: Vec::new(),
            extra: BTreeMap::new(),
        }
    }

    /// Adds a group.
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.groups.push(name.into());
        self
    }

    /// Adds the group that every caller has whom Kubernetes has authenticated. TokenReview says it by
    /// itself; certificates and request headers do not.
    pub fn authenticated(mut self) -> Self {
        if !self.groups.iter().any(|group| group == AUTHENTICATED) {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }
}

/// A certificate that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// It is not an X.509 certificate.
    #[error("the certificate is malformed")]
    Malformed,
    /// Its subject has no common name, or an empty one.
    #[error("the certificate's subject has no common name")]
    NoCommonName,
    /// A name of the subject is not text.
    #[error("the certificate's subject is not text")]
    NotText,
}

/// Reads the subject as Kubernetes does: the common name is the user, each organization a group.
///
/// It does not verify: to be asked only about a certificate whose chain has been verified.
pub fn certificate(certificate: &CertificateDer<'_>) -> Result<Identity, CertificateError> {
    let (rest, parsed) =
        X509Certificate::from_der(certificate).map_err(|_error| CertificateError::Malformed)?;
    if !rest.is_empty() {
        return Err(CertificateError::Malformed);
    }
    let text = |name: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        name.as_str()
            .map(ToOwned::to_owned)
            .map_err(|_error| CertificateError::NotText)
    };
    // Go, and with it Kubernetes, takes the last of several common names.
    let user = parsed
        .subject()
        .iter_common_name()
        .last()
        .map(text)
        .transpose()?;
    let user = user
        .filter(|user| !user.is_empty())
        .ok_or(CertificateError::NoCommonName)?;
    let groups = parsed
        .subject()
        .iter_organization()
        .map(text)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Identity {
        user,
        uid: None,
        groups,
        extra: BTreeMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn issue(names: &[(DnType, &str)]) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .der()
            .clone()
    }

    #[test]
    fn common_name_is_the_user_and_organization_the_group() {
        let issued = issue(&[
            (DnType::CommonName, "system:node:a"),
            (DnType::OrganizationName, "system:nodes"),
        ]);
        assert_eq!(
            certificate(&issued),
            Ok(Identity::user("system:node:a").group("system:nodes"))
        );
    }

    #[test]
    fn a_subject_without_common_name_is_refused() {
        let unnamed = issue(&[(DnType::OrganizationName, "system:masters")]);
        assert_eq!(certificate(&unnamed), Err(CertificateError::NoCommonName));
        let empty = issue(&[(DnType::CommonName, ""), (DnType::OrganizationName, "x")]);
        assert_eq!(certificate(&empty), Err(CertificateError::NoCommonName));
    }

    #[test]
    fn what_is_not_a_certificate_is_refused() {
        let garbage = CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
        assert_eq!(certificate(&garbage), Err(CertificateError::Malformed));
        let mut trailing = issue(&[(DnType::CommonName, "a")]).to_vec();
        trailing.push(0);
        assert_eq!(
            certificate(&trailing.into()),
            Err(CertificateError::Malformed)
        );
    }
}
