//! A certificate authority: a self-signed certificate and its key.

use std::fmt;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use secrecy::SecretString;
use time::OffsetDateTime;
use x509_parser::pem::parse_x509_pem;

use super::leaf::{Issued, Leaf};
use super::{AUTHORITY_LIFE, CLOCK_SKEW, Error, LEAF_LIFE};

/// A certificate authority. `Debug` does not show the key.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new one.
    pub fn mint(common_name: &str, now: Timestamp) -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(Error::Generate)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        // It signs leaves only: no authority below it.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        (params.not_before, params.not_after) = life(now, AUTHORITY_LIFE);
        let certificate = params.self_signed(&key).map_err(Error::Generate)?;
        Ok(Self {
            certificate: certificate.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Reads one back; `what` names the pair in errors.
    pub fn from_pem(certificate: &str, key: &str, what: &'static str) -> Result<Self, Error> {
        let unreadable = || Error::Unreadable { what };
        let key = KeyPair::from_pem(key).map_err(|_error| unreadable())?;
        let (_, pem) = parse_x509_pem(certificate.as_bytes()).map_err(|_error| unreadable())?;
        let parsed = pem.parse_x509().map_err(|_error| unreadable())?;
        if parsed.public_key().raw != key.subject_public_key_info() || !parsed.is_ca() {
            return Err(Error::Mismatch { what });
        }
        let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(|_error| unreadable())?;
        Ok(Self {
            certificate: certificate.to_owned(),
            issuer,
        })
    }

    /// Signs a leaf with a new key.
    pub fn issue(&self, leaf: &Leaf, now: Timestamp) -> Result<Issued, Error> {
        let key = KeyPair::generate().map_err(Error::Generate)?;
        let mut params = leaf.params()?;
        (params.not_before, params.not_after) = life(now, LEAF_LIFE);
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(Error::Generate)?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: SecretString::from(key.serialize_pem()),
        })
    }

    /// Its certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its key, PEM (PKCS #8).
    pub fn key(&self) -> SecretString {
        SecretString::from(self.issuer.key().serialize_pem())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

fn life(now: Timestamp, life: std::time::Duration) -> (OffsetDateTime, OffsetDateTime) {
    // Within the range of years that certificates can hold, for every clock that is not absurd.
    let now =
        OffsetDateTime::from_unix_timestamp(now.as_second()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    (now - CLOCK_SKEW, now + life)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn an_authority_that_is_read_back_signs_what_the_first_one_would() {
        let now = Timestamp::UNIX_EPOCH;
        let minted = Authority::mint("demo-ca", now).unwrap();
        let read =
            Authority::from_pem(minted.certificate(), minted.key().expose_secret(), "ca").unwrap();
        let issued = read
            .issue(&Leaf::client("admin", Some("system:masters")), now)
            .unwrap();
        let (_, pem) = parse_x509_pem(issued.certificate.as_bytes()).unwrap();
        let leaf = pem.parse_x509().unwrap();
        assert_eq!(leaf.issuer().to_string(), "CN=demo-ca");
        assert_eq!(leaf.subject().to_string(), "O=system:masters, CN=admin");
    }

    #[test]
    fn a_key_of_another_authority_is_refused() {
        let now = Timestamp::UNIX_EPOCH;
        let (one, other) = (
            Authority::mint("ca", now).unwrap(),
            Authority::mint("ca", now).unwrap(),
        );
        let result = Authority::from_pem(one.certificate(), other.key().expose_secret(), "ca");
        assert!(matches!(result, Err(Error::Mismatch { what: "ca" })));
    }

    #[test]
    fn a_leaf_is_no_authority() {
        let now = Timestamp::UNIX_EPOCH;
        let issued = Authority::mint("ca", now)
            .unwrap()
            .issue(&Leaf::client("x", None), now)
            .unwrap();
        let result = Authority::from_pem(&issued.certificate, issued.key.expose_secret(), "ca");
        assert!(result.is_err());
    }
}
