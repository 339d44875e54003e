//! The three roots of trust of one virtual cluster: its certificate authority, its front-proxy
//! authority, and the key that signs its service-account tokens.
//!
//! They are kept in one Secret in the release namespace, made exactly once. Every other Secret of
//! the virtual cluster is derived from it and can be made again.

use std::fmt;

use jiff::Timestamp;
use rcgen::KeyPair;
use secrecy::{ExposeSecret, SecretString};

use super::{Authority, Error, Material};
use crate::subject::Subject;

/// Key of the authority's certificate.
pub const CA_CERT: &str = "ca.crt";
/// Key of the authority's private key.
pub const CA_KEY: &str = "ca.key";
/// Key of the front-proxy authority's certificate.
pub const FRONT_PROXY_CA_CERT: &str = "front-proxy-ca.crt";
/// Key of the front-proxy authority's private key.
pub const FRONT_PROXY_CA_KEY: &str = "front-proxy-ca.key";
/// Key of the public key that verifies service-account tokens.
pub const SERVICE_ACCOUNT_PUBLIC: &str = "sa.pub";
/// Key of the private key that signs service-account tokens.
pub const SERVICE_ACCOUNT_PRIVATE: &str = "sa.key";

/// The roots of one virtual cluster. `Debug` shows no key.
pub struct Roots {
    /// Signs the API server's certificate and every client's.
    pub cluster: Authority,
    /// Signs those who may name a user in request headers.
    pub front_proxy: Authority,
    /// Verifies service-account tokens, PEM.
    pub service_account_public: String,
    /// Signs service-account tokens, PEM.
    pub service_account_private: SecretString,
}

impl Roots {
    /// Makes new ones.
    pub fn mint(subject: &Subject, now: Timestamp) -> Result<Self, Error> {
        let name = subject.name().as_str();
        let service_accounts = KeyPair::generate().map_err(Error::Generate)?;
        Ok(Self {
            cluster: Authority::mint(&format!("{name}-ca"), now)?,
            front_proxy: Authority::mint(&format!("{name}-front-proxy-ca"), now)?,
            service_account_public: service_accounts.public_key_pem(),
            service_account_private: SecretString::from(service_accounts.serialize_pem()),
        })
    }

    /// Reads them back; fails if anything is missing, unreadable or does not belong together.
    pub fn read(material: &Material) -> Result<Self, Error> {
        let text = |what| match material.get(what) {
            None => Err(Error::Missing { what }),
            Some(_) => material.text(what).ok_or(Error::Unreadable { what }),
        };
        let private = text(SERVICE_ACCOUNT_PRIVATE)?;
        let pair = KeyPair::from_pem(private).map_err(|_error| Error::Unreadable {
            what: SERVICE_ACCOUNT_PRIVATE,
        })?;
        let public = text(SERVICE_ACCOUNT_PUBLIC)?;
        if pair.public_key_pem() != public {
            return Err(Error::Mismatch {
                what: SERVICE_ACCOUNT_PUBLIC,
            });
        }
        Ok(Self {
            cluster: Authority::from_pem(text(CA_CERT)?, text(CA_KEY)?, CA_KEY)?,
            front_proxy: Authority::from_pem(
                text(FRONT_PROXY_CA_CERT)?,
                text(FRONT_PROXY_CA_KEY)?,
                FRONT_PROXY_CA_KEY,
            )?,
            service_account_public: public.to_owned(),
            service_account_private: SecretString::from(private),
        })
    }

    /// The contents of their Secret.
    pub fn material(&self) -> Material {
        let mut material = Material::default();
        material.insert(CA_CERT, self.cluster.certificate());
        material.insert(CA_KEY, self.cluster.key().expose_secret());
        material.insert(FRONT_PROXY_CA_CERT, self.front_proxy.certificate());
        material.insert(FRONT_PROXY_CA_KEY, self.front_proxy.key().expose_secret());
        material.insert(SERVICE_ACCOUNT_PUBLIC, self.service_account_public.as_str());
        material.insert(
            SERVICE_ACCOUNT_PRIVATE,
            self.service_account_private.expose_secret(),
        );
        material
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minted() -> Material {
        Roots::mint(&Subject::sample(), Timestamp::UNIX_EPOCH)
            .unwrap()
            .material()
    }

    #[test]
    fn roots_survive_their_secret() {
        let material = minted();
        let read = Roots::read(&material).unwrap();
        assert_eq!(read.material().fingerprint(), material.fingerprint());
    }

    #[test]
    fn a_missing_or_damaged_key_is_named() {
        assert!(matches!(
            Roots::read(&Material::default()),
            Err(Error::Missing {
                what: SERVICE_ACCOUNT_PRIVATE
            })
        ));
        let mut damaged = minted();
        damaged.insert(CA_KEY, "garbage");
        assert!(matches!(
            Roots::read(&damaged),
            Err(Error::Unreadable { what: CA_KEY })
        ));
    }

    #[test]
    fn parts_of_two_clusters_are_not_mixed() {
        let mut mixed = minted();
        let other = minted();
        mixed.insert(CA_CERT, other.get(CA_CERT).unwrap());
        assert!(matches!(
            Roots::read(&mixed),
            Err(Error::Mismatch { what: CA_KEY })
        ));
    }
}
