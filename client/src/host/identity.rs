//! From a user of a kubeconfig to credentials, in kubectl's order of preference.

use std::{fs, io, path::PathBuf, sync::Arc};

use jiff::Timestamp;
use secrecy::SecretString;

use super::exec::{self, Attendance, ExecToken, Plugin};
use crate::{
    Credentials,
    credentials::{StaticToken, TokenFile},
    kubeconfig::context::{Context, Material},
    tls::{Certificate, Trust},
};

/// Why a user cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that the kubeconfig names cannot be read.
    #[error("{} of the kubeconfig cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The key is not text.
    #[error("the client-key of the kubeconfig is not PEM")]
    Key,
    /// kubectl no longer supports it either.
    #[error(
        "the kubeconfig's user uses the auth-provider {0:?}, which Kubernetes removed in 1.26; \
         let it use an exec plugin instead"
    )]
    AuthProvider(String),
    /// A form that the gateway does not know.
    #[error(
        "the kubeconfig's user has {0}, which the gateway does not accept; use a client certificate, a token or an exec plugin"
    )]
    Unsupported(&'static str),
    /// No credentials at all.
    #[error("the user of the context {0:?} has no client certificate, token or exec plugin")]
    Nobody(String),
    /// The plugin failed.
    #[error(transparent)]
    Exec(#[from] exec::Error),
}

/// The credentials of a context's user. Runs the exec plugin if there is one; `now` is the clock
/// that tells when its token has ended.
pub async fn credentials(
    context: &Context,
    attendance: Attendance,
    now: fn() -> Timestamp,
) -> Result<Credentials, Error> {
    let user = &context.user;
    if user.impersonate.is_some() {
        return Err(Error::Unsupported("impersonation (as)"));
    }
    if let Some((chain, key)) = &user.certificate {
        return Ok(Credentials::Certificate(Certificate {
            chain: read(chain)?,
            key: secret(read(key)?)?,
        }));
    }
    if let Some(path) = &user.token_file {
        return Ok(Credentials::Bearer(Arc::new(TokenFile(path.clone()))));
    }
    if let Some(token) = &user.token {
        return Ok(Credentials::Bearer(Arc::new(StaticToken(token.clone()))));
    }
    if let Some(exec) = &user.exec {
        let plugin = Plugin::new(exec.clone(), context.cluster.clone(), attendance);
        let mut given = plugin.run().await?;
        return Ok(match given.certificate.take() {
            Some(certificate) => Credentials::Certificate(certificate),
            None => Credentials::Bearer(Arc::new(ExecToken::new(plugin, given, now))),
        });
    }
    if let Some(provider) = &user.auth_provider {
        return Err(Error::AuthProvider(provider.clone()));
    }
    if user.username.is_some() {
        return Err(Error::Unsupported("a user name and password"));
    }
    Err(Error::Nobody(context.name.clone()))
}

/// Whose certificates the context accepts of its API server.
pub fn trust(context: &Context) -> Result<Trust, Error> {
    if context.cluster.insecure {
        return Ok(Trust::Anyone);
    }
    match &context.cluster.certificate_authority {
        Some(material) => Ok(Trust::Roots(read(material)?)),
        None => Ok(Trust::System),
    }
}

fn read(material: &Material) -> Result<Vec<u8>, Error> {
    match material {
        Material::Inline(data) => Ok(data.clone()),
        Material::File(path) => fs::read(path).map_err(|source| Error::File {
            path: path.clone(),
            source,
        }),
    }
}

fn secret(pem: Vec<u8>) -> Result<SecretString, Error> {
    String::from_utf8(pem)
        .map(SecretString::from)
        .ok()
        .ok_or(Error::Key)
}
