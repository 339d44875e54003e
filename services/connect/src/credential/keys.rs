//! The key that signs credentials, and the one before it.
//!
//! The key comes from a file and may be replaced while the gateway runs. The one before is kept for
//! verifying as long as a credential of it can live. Before a key is used it must sign and verify a probe.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, MissedTickBehavior};
use vcluster_chassis::drain::Shutdown;

use super::Error;
use super::claims::{Claims, ISSUER, TYPE};

/// How long a key that was replaced still verifies: the longest life of a credential and some.
const RETIRED_FOR: Duration = Duration::from_mins(65);
/// How often the file is looked at.
const POLL: Duration = Duration::from_secs(5);
/// A key is a few hundred bytes.
const MAX_FILE: usize = 64 << 10;

/// A signing key that cannot be used. Nothing of the key is ever part of it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read the signing key {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not a P-256 key in PKCS #8 PEM.
    #[error("the signing key is not a P-256 private key in PKCS #8 PEM")]
    Unusable,
    /// It does not verify what it has signed.
    #[error("the signing key does not verify what it signs")]
    SelfTest,
}

/// One key pair.
pub(super) struct Key {
    id: String,
    signing: EncodingKey,
    verifying: DecodingKey,
}

impl Key {
    fn from_pem(pem: &SecretString) -> Result<Self, KeyError> {
        let signing = EncodingKey::from_ec_pem(pem.expose_secret().as_bytes())
            .map_err(|_may_quote_the_key| KeyError::Unusable)?;
        let public = Jwk::from_encoding_key(&signing, Algorithm::ES256)
            .map_err(|_may_quote_the_key| KeyError::Unusable)?;
        let AlgorithmParameters::EllipticCurve(point) = &public.algorithm else {
            return Err(KeyError::Unusable);
        };
        let verifying = DecodingKey::from_ec_components(&point.x, &point.y)
            .map_err(|_malformed| KeyError::Unusable)?;
        let digest = Sha256::digest(format!("{}.{}", point.x, point.y));
        let key = Self {
            id: hex::encode(&digest[..8]),
            signing,
            verifying,
        };
        key.self_test()?;
        Ok(key)
    }

    /// Fails at start rather than at the first login: without a crypto backend the library panics or
    /// refuses at run time.
    fn self_test(&self) -> Result<(), KeyError> {
        let probe = Claims {
            iss: ISSUER.to_owned(),
            aud: "vcluster.dev/self/test".to_owned(),
            sub: "self-test".to_owned(),
            jti: String::new(),
            iat: 0,
            nbf: 0,
            exp: 0,
            uid: None,
            groups: Vec::new(),
            extra: BTreeMap::new(),
        };
        let token = self.sign(&probe).map_err(|_error| KeyError::SelfTest)?;
        match self.verify(&token) {
            Ok(claims) if claims == probe => Ok(()),
            Ok(_) | Err(_) => Err(KeyError::SelfTest),
        }
    }

    pub(super) fn sign(&self, claims: &Claims) -> Result<String, jsonwebtoken::errors::Error> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(self.id.clone());
        jsonwebtoken::encode(&header, claims, &self.signing)
    }

    /// Verifies signature, header and the types of the claims; not the time.
    fn verify(&self, token: &str) -> Result<Claims, Error> {
        let mut validation = Validation::new(Algorithm::ES256);
        // Checked by `Claims` and `Credentials`, with the clock that was handed in.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let data = jsonwebtoken::decode::<Claims>(token, &self.verifying, &validation)
            .map_err(|_error| Error::Forged)?;
        let ours = data.header.typ.as_deref() == Some(TYPE)
            && data.header.kid.as_deref() == Some(self.id.as_str())
            && data.header.crit.is_none();
        if ours {
            Ok(data.claims)
        } else {
            Err(Error::Forged)
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Ring {
    current: Arc<Key>,
    retired: Option<(Arc<Key>, Instant)>,
}

/// The keys of this moment. Clones are the same.
#[derive(Debug, Clone)]
pub struct Keys {
    ring: Arc<RwLock<Ring>>,
}

impl Keys {
    /// Reads a key.
    pub fn from_pem(pem: &SecretString) -> Result<Self, KeyError> {
        let current = Arc::new(Key::from_pem(pem)?);
        Ok(Self {
            ring: Arc::new(RwLock::new(Ring {
                current,
                retired: None,
            })),
        })
    }

    /// Loads a key from a file and follows it in a tracked task; a broken file never replaces a good key.
    pub async fn follow(path: PathBuf, shutdown: &Shutdown) -> Result<Self, KeyError> {
        let pem = read(&path).await?;
        let keys = Self::from_pem(&pem)?;
        let token = shutdown.token();
        let following = keys.clone();
        shutdown.spawn("signing key", async move {
            token.run_until_cancelled(following.poll(path, pem)).await;
        });
        Ok(keys)
    }

    #[expect(clippy::infinite_loop, reason = "ends by being dropped")]
    async fn poll(self, path: PathBuf, mut seen: SecretString) {
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match read(&path).await {
                Ok(pem) if pem.expose_secret() == seen.expose_secret() => {}
                Ok(pem) => {
                    match self.replace(&pem) {
                        Ok(()) => tracing::info!("the signing key was replaced"),
                        Err(error) => {
                            tracing::error!(%error, "new signing key is broken, the old one is kept");
                        }
                    }
                    seen = pem;
                }
                Err(error) => {
                    tracing::warn!(%error, "the signing key cannot be read, the old one is kept");
                }
            }
        }
    }

    /// Signs with another key from now on.
    pub fn replace(&self, pem: &SecretString) -> Result<(), KeyError> {
        let next = Arc::new(Key::from_pem(pem)?);
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        if ring.current.id != next.id {
            let retired = std::mem::replace(&mut ring.current, next);
            ring.retired = Some((retired, Instant::now() + RETIRED_FOR));
        }
        Ok(())
    }

    pub(super) fn current(&self) -> Arc<Key> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&ring.current)
    }

    /// Verifies with the key that the token names, if it is one of ours.
    pub(super) fn verify(&self, token: &str) -> Result<Claims, Error> {
        let header = jsonwebtoken::decode_header(token).map_err(|_error| Error::Forged)?;
        let id = header.kid.ok_or(Error::Forged)?;
        self.find(&id).ok_or(Error::Forged)?.verify(token)
    }

    fn find(&self, id: &str) -> Option<Arc<Key>> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        if ring.current.id == id {
            return Some(Arc::clone(&ring.current));
        }
        let (retired, until) = ring.retired.as_ref()?;
        (retired.id == id && Instant::now() < *until).then(|| Arc::clone(retired))
    }
}

async fn read(path: &PathBuf) -> Result<SecretString, KeyError> {
    let failed = |source| KeyError::Read {
        path: path.clone(),
        source,
    };
    let bytes = tokio::fs::read(path).await.map_err(failed)?;
    if bytes.len() > MAX_FILE {
        return Err(KeyError::Unusable);
    }
    String::from_utf8(bytes)
        .map(SecretString::from)
        .map_err(|_not_text| KeyError::Unusable)
}
