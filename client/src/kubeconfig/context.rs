//! A context with its cluster and user, as kubectl would use it.

use std::path::PathBuf;

use base64::Engine as _;
use serde::Deserialize;

use super::{
    document::{Node, Section},
    sources::{Found, Sources},
};

/// A context, complete.
#[derive(Debug, Clone)]
pub struct Context {
    /// Its name.
    pub name: String,
    /// Its API server.
    pub cluster: Cluster,
    /// Its credentials.
    pub user: User,
}

/// Inline data, or a file that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// Decoded data.
    Inline(Vec<u8>),
    /// An absolute path.
    File(PathBuf),
}

/// How an API server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// URL.
    pub server: String,
    /// CA bundle, PEM; the system's CAs if absent.
    pub certificate_authority: Option<Material>,
    /// Do not check the certificate.
    pub insecure: bool,
    /// Name to expect in the certificate.
    pub tls_server_name: Option<String>,
    /// A proxy on the way.
    pub proxy_url: Option<String>,
    /// The entry as JSON, for exec plugins that ask for it.
    pub raw: serde_json::Value,
}

/// Credentials, in the order in which kubectl prefers them.
#[derive(Debug, Clone, Default)]
pub struct User {
    /// Client certificate and key.
    pub certificate: Option<(Material, Material)>,
    /// File with a bearer token; goes before `token`.
    pub token_file: Option<PathBuf>,
    /// Bearer token.
    pub token: Option<secrecy::SecretString>,
    /// Program that gives credentials.
    pub exec: Option<Exec>,
    /// Name of a legacy auth provider.
    pub auth_provider: Option<String>,
    /// User name of HTTP basic authentication.
    pub username: Option<String>,
    /// User to impersonate.
    pub impersonate: Option<String>,
    /// The whole entry as text, by which a cache knows that it has changed.
    pub fingerprint: secrecy::SecretString,
}

/// An exec credential plugin.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exec {
    /// Program: absolute, relative to the kubeconfig, or a name to look for in `PATH`.
    pub command: String,
    /// Arguments.
    #[serde(default, deserialize_with = "null_is_default")]
    pub args: Vec<String>,
    /// Environment variables to add.
    #[serde(default, deserialize_with = "null_is_default")]
    pub env: Vec<ExecEnv>,
    /// `client.authentication.k8s.io/v1` or `v1beta1`.
    #[serde(default)]
    pub api_version: String,
    /// What to tell a user who lacks the program.
    #[serde(default)]
    pub install_hint: Option<String>,
    /// Whether to tell the program about the cluster.
    #[serde(default)]
    pub provide_cluster_info: bool,
    /// `Never`, `IfAvailable` or `Always`.
    #[serde(default)]
    pub interactive_mode: Option<String>,
}

/// One environment variable of an exec plugin.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ExecEnv {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// Why there is no such context.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No context is current and none was named.
    #[error(
        "no kubeconfig context is current; name one with --context, or set one with `kubectl config use-context`"
    )]
    NoCurrentContext,
    /// A context, cluster or user that is not there.
    #[error("the kubeconfig has no {kind} {name:?}{}", others(.known))]
    Missing {
        /// What is missing.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Those that exist.
        known: Vec<String>,
    },
    /// An entry that cannot be used.
    #[error("{kind} {name:?} of the kubeconfig: {problem}")]
    Invalid {
        /// What kind of entry.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
}

fn others(names: &[String]) -> String {
    if names.is_empty() {
        String::new()
    } else {
        format!("; it has {}", names.join(", "))
    }
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An entry's fields, before paths and data are resolved.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawCluster {
    server: Option<String>,
    certificate_authority: Option<String>,
    certificate_authority_data: Option<String>,
    #[serde(default)]
    insecure_skip_tls_verify: Option<bool>,
    tls_server_name: Option<String>,
    proxy_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawUser {
    client_certificate: Option<String>,
    client_certificate_data: Option<String>,
    client_key: Option<String>,
    client_key_data: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    token: Option<String>,
    exec: Option<Exec>,
    auth_provider: Option<RawProvider>,
    username: Option<String>,
    #[serde(rename = "as")]
    impersonate: Option<String>,
}

#[derive(Deserialize)]
struct RawProvider {
    #[serde(default)]
    name: String,
}

/// One entry on its way from YAML to a type, for errors that name it.
#[derive(Clone, Copy)]
struct Entry<'a> {
    kind: &'static str,
    name: &'a str,
    found: Found<'a>,
}

/// The context of that name, or the current one.
pub fn resolve(sources: &Sources, name: Option<&str>) -> Result<Context, Error> {
    let name = name
        .or_else(|| sources.current_context())
        .ok_or(Error::NoCurrentContext)?;
    let context = find(sources, Section::Contexts, "context", name)?;
    let part = |key: &'static str| {
        context
            .found
            .content
            .get(key)
            .and_then(Node::as_text)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| context.invalid(format!("it names no {key}")))
    };
    let cluster = find(sources, Section::Clusters, "cluster", part("cluster")?)?;
    // A context without a user is an anonymous one.
    let user = match part("user") {
        Ok(user) => read_user(find(sources, Section::Users, "user", user)?)?,
        Err(_) => User::default(),
    };
    Ok(Context {
        name: name.to_owned(),
        cluster: read_cluster(cluster)?,
        user,
    })
}

fn find<'a>(
    sources: &'a Sources,
    section: Section,
    kind: &'static str,
    name: &'a str,
) -> Result<Entry<'a>, Error> {
    let found = sources.find(section, name).ok_or_else(|| Error::Missing {
        kind,
        name: name.to_owned(),
        known: sources
            .names(section)
            .into_iter()
            .map(str::to_owned)
            .collect(),
    })?;
    Ok(Entry { kind, name, found })
}

impl Entry<'_> {
    fn invalid(&self, problem: impl Into<String>) -> Error {
        Error::Invalid {
            kind: self.kind,
            name: self.name.to_owned(),
            problem: problem.into(),
        }
    }

    fn read<T: serde::de::DeserializeOwned>(&self) -> Result<(T, serde_json::Value), Error> {
        let json = serde_json::to_value(self.found.content)
            .map_err(|error| self.invalid(error.to_string()))?;
        let typed = serde_json::from_value(json.clone())
            // serde's message names the field, and of a value only its type or a short word.
            .map_err(|error| self.invalid(error.to_string()))?;
        Ok((typed, json))
    }

    /// Data goes before a file, as in kubectl; empty strings are absent.
    fn material(
        &self,
        data: Option<String>,
        file: Option<String>,
        key: &str,
    ) -> Result<Option<Material>, Error> {
        if let Some(data) = data.filter(|text| !text.is_empty()) {
            let decoded = base64::engine::general_purpose::STANDARD
                .decode(data.trim())
                .ok()
                .ok_or_else(|| self.invalid(format!("{key}-data is not base64")))?;
            return Ok(Some(Material::Inline(decoded)));
        }
        Ok(file
            .filter(|text| !text.is_empty())
            .map(|path| Material::File(self.found.resolve(&path))))
    }
}

fn read_cluster(entry: Entry<'_>) -> Result<Cluster, Error> {
    let (raw, json): (RawCluster, _) = entry.read()?;
    let nonempty = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(Cluster {
        server: nonempty(raw.server).ok_or_else(|| entry.invalid("it has no server"))?,
        certificate_authority: entry.material(
            raw.certificate_authority_data,
            raw.certificate_authority,
            "certificate-authority",
        )?,
        insecure: raw.insecure_skip_tls_verify.unwrap_or_default(),
        tls_server_name: nonempty(raw.tls_server_name),
        proxy_url: nonempty(raw.proxy_url),
        raw: json,
    })
}

fn read_user(entry: Entry<'_>) -> Result<User, Error> {
    let (raw, json): (RawUser, _) = entry.read()?;
    let nonempty = |text: Option<String>| text.filter(|text| !text.is_empty());
    let chain = entry.material(
        raw.client_certificate_data,
        raw.client_certificate,
        "client-certificate",
    )?;
    let key = entry.material(raw.client_key_data, raw.client_key, "client-key")?;
    let certificate = match (chain, key) {
        (Some(chain), Some(key)) => Some((chain, key)),
        (None, None) => None,
        (Some(_), None) => {
            return Err(entry.invalid("it has a client-certificate and no client-key"));
        }
        (None, Some(_)) => {
            return Err(entry.invalid("it has a client-key and no client-certificate"));
        }
    };
    let exec = raw.exec.map(|mut exec| {
        // As kubectl: a command with a slash is relative to the kubeconfig, a bare one is in PATH.
        if exec.command.contains('/') {
            exec.command = entry
                .found
                .resolve(&exec.command)
                .to_string_lossy()
                .into_owned();
        }
        exec
    });
    Ok(User {
        certificate,
        token_file: nonempty(raw.token_file).map(|path| entry.found.resolve(&path)),
        token: nonempty(raw.token).map(secrecy::SecretString::from),
        exec,
        auth_provider: raw.auth_provider.map(|provider| provider.name),
        username: nonempty(raw.username),
        impersonate: nonempty(raw.impersonate),
        fingerprint: secrecy::SecretString::from(json.to_string()),
    })
}

#[cfg(test)]
mod tests;
