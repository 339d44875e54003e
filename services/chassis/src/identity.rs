//! Who a caller is, as Kubernetes puts it: a user, a UID, groups and extra attributes.
//!
//! Comes from a client certificate here, from request headers in [`headers`], from a token in
//! [`crate::access`]. An identity carries no rights; those are asked for each time.

use std::collections::BTreeMap;

use rustls_pki_types::CertificateDer;
use x509_parser::der_parser::{Oid, oid};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

pub mod headers;

/// Group of every authenticated caller.
pub const AUTHENTICATED: &str = "system:authenticated";

/// Group of every caller who is not.
const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Name of the caller who has none.
const ANONYMOUS: &str = "system:anonymous";
/// Attribute of a certificate's subject that holds a UID (Kubernetes' `AllowParsingUserUIDFromCertAuth`).
const UID: Oid<'static> = oid!(1.3.6.1.4.1.57683.2);

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
    /// itself; certificates and request headers do not. As in Kubernetes, who is called anonymous or
    /// unauthenticated stays so.
    pub fn authenticated(mut self) -> Self {
        let decided = |group: &String| group == AUTHENTICATED || group == UNAUTHENTICATED;
        if self.user != ANONYMOUS && !self.groups.iter().any(decided) {
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
    /// Its subject has several UIDs, or an empty one.
    #[error("the certificate's subject has no single UID")]
    Uid,
}

/// Reads the subject as Kubernetes does: the common name is the user, each organization a group, and
/// attribute 1.3.6.1.4.1.57683.2 the UID. The digest that Kubernetes adds as an extra attribute is left out: it
/// is for audit logs.
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
    let uids = parsed
        .subject()
        .iter_by_oid(&UID)
        .map(text)
        .collect::<Result<Vec<_>, _>>()?;
    let uid = match uids.as_slice() {
        [] => None,
        [uid] if !uid.is_empty() => Some(uid.clone()),
        [_, ..] => return Err(CertificateError::Uid),
    };
    Ok(Identity {
        user,
        uid,
        groups,
        extra: BTreeMap::new(),
    })
}

/// Reads the URIs among the subject's alternative names, in their order.
///
/// It does not verify: to be asked only about a certificate whose chain has been verified.
pub fn uris(certificate: &CertificateDer<'_>) -> Result<Vec<String>, CertificateError> {
    let (rest, parsed) =
        X509Certificate::from_der(certificate).map_err(|_error| CertificateError::Malformed)?;
    if !rest.is_empty() {
        return Err(CertificateError::Malformed);
    }
    let names = parsed
        .subject_alternative_name()
        .map_err(|_error| CertificateError::Malformed)?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        GeneralName::OtherName(..)
        | GeneralName::RFC822Name(_)
        | GeneralName::DNSName(_)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::IPAddress(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::Invalid(..) => None,
    };
    Ok(names.filter_map(uri).collect())
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
    fn who_is_anonymous_or_unauthenticated_does_not_become_authenticated() {
        let jane = Identity::user("jane").authenticated().authenticated();
        assert_eq!(jane.groups, [AUTHENTICATED]);
        let anonymous = Identity::user("system:anonymous");
        assert_eq!(anonymous.clone().authenticated(), anonymous);
        let stranger = Identity::user("x").group("system:unauthenticated");
        assert_eq!(stranger.clone().authenticated(), stranger);
    }

    #[test]
    fn a_certificate_may_bear_one_uid() {
        let uid = || DnType::from_oid(&[1, 3, 6, 1, 4, 1, 57683, 2]);
        let one = certificate(&issue(&[(DnType::CommonName, "jane"), (uid(), "42")])).unwrap();
        assert_eq!(one.uid.as_deref(), Some("42"));
        let none = certificate(&issue(&[(DnType::CommonName, "jane"), (uid(), "")]));
        assert_eq!(none, Err(CertificateError::Uid));
    }

    #[test]
    fn a_subject_without_common_name_is_refused() {
        let unnamed = issue(&[(DnType::OrganizationName, "system:masters")]);
        assert_eq!(certificate(&unnamed), Err(CertificateError::NoCommonName));
        let empty = issue(&[(DnType::CommonName, ""), (DnType::OrganizationName, "x")]);
        assert_eq!(certificate(&empty), Err(CertificateError::NoCommonName));
    }

    #[test]
    fn uris_are_read_and_other_alternative_names_are_not() {
        let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
        let uri = rcgen::SanType::URI("vcluster://a/b/c".try_into().unwrap());
        params.subject_alt_names.push(uri);
        let key = KeyPair::generate().unwrap();
        let issued = params.self_signed(&key).unwrap().der().clone();
        assert_eq!(uris(&issued), Ok(vec!["vcluster://a/b/c".to_owned()]));
        assert_eq!(uris(&issue(&[(DnType::CommonName, "a")])), Ok(vec![]));
    }

    #[test]
    fn what_is_not_a_certificate_is_refused() {
        let garbage = CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
        assert_eq!(uris(&garbage), Err(CertificateError::Malformed));
        assert_eq!(certificate(&garbage), Err(CertificateError::Malformed));
        let mut trailing = issue(&[(DnType::CommonName, "a")]).to_vec();
        trailing.push(0);
        assert_eq!(
            certificate(&trailing.into()),
            Err(CertificateError::Malformed)
        );
    }
}
