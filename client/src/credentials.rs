//! Who the caller is: a client certificate, or a bearer token from somewhere.

use std::{fmt, path::PathBuf, sync::Arc};

use futures::future::BoxFuture;
use secrecy::{ExposeSecret as _, SecretString};

use crate::{host::exec, tls::Certificate};

/// Identity that a client presents.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// None: only health and reflection will answer.
    Anonymous,
    /// A client certificate, presented in the TLS handshake.
    Certificate(Certificate),
    /// A token, asked for before each call.
    Bearer(Arc<dyn TokenSource>),
}

/// Why a token is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A call is about to be made; a token from memory will do.
    Call,
    /// The last token was refused; one from memory is of no use.
    Refused,
}

/// Where bearer tokens come from.
pub trait TokenSource: fmt::Debug + Send + Sync {
    /// A token that is valid now. Must bound its own time.
    fn token(&self, need: Need) -> BoxFuture<'_, Result<SecretString, Error>>;

    /// Whether asking again after a refusal can give another token.
    fn renews(&self) -> bool;
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file with the token cannot be read.
    #[error("the token file {} cannot be read", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The token holds characters that no HTTP header can.
    #[error("the token holds characters that an HTTP header cannot hold")]
    NotAHeader,
    /// The exec plugin failed.
    #[error(transparent)]
    Exec(#[from] exec::Error),
}

/// A token that never changes.
#[derive(Debug, Clone)]
pub struct StaticToken(pub SecretString);

impl TokenSource for StaticToken {
    fn token(&self, _need: Need) -> BoxFuture<'_, Result<SecretString, Error>> {
        Box::pin(async { Ok(self.0.clone()) })
    }

    fn renews(&self) -> bool {
        false
    }
}

/// A token in a file that somebody keeps fresh, such as a projected service-account token.
#[derive(Debug, Clone)]
pub struct TokenFile(pub PathBuf);

impl TokenSource for TokenFile {
    fn token(&self, _need: Need) -> BoxFuture<'_, Result<SecretString, Error>> {
        Box::pin(async {
            let text =
                tokio::fs::read_to_string(&self.0)
                    .await
                    .map_err(|source| Error::TokenFile {
                        path: self.0.clone(),
                        source,
                    })?;
            Ok(SecretString::from(text.trim()))
        })
    }

    fn renews(&self) -> bool {
        true
    }
}

/// The value of an `authorization` header with this token, marked as secret.
pub(crate) fn authorization(token: &SecretString) -> Result<http::HeaderValue, Error> {
    let text = format!("Bearer {}", token.expose_secret());
    let mut value = http::HeaderValue::try_from(text)
        .ok()
        .ok_or(Error::NotAHeader)?;
    value.set_sensitive(true);
    Ok(value)
}
