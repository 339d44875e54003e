//! Exec credential plugins, run as kubectl runs them (KEP-541).
//!
//! The plugin gets `KUBERNETES_EXEC_INFO`, inherits standard error, and standard input only if it
//! may ask the user; its standard output is one `ExecCredential`. It has a deadline, and is killed
//! with it.

use std::{fmt, process::Stdio, time::Duration};

use futures::future::BoxFuture;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::{
    credentials::{self, Need, TokenSource},
    kubeconfig::context::{Cluster, Exec},
    tls::Certificate,
};

const V1: &str = "client.authentication.k8s.io/v1";
const V1BETA1: &str = "client.authentication.k8s.io/v1beta1";
/// A plugin that asks nobody answers within this.
const UNATTENDED: Duration = Duration::from_mins(1);
/// A plugin that may open a browser gets time for a person.
const ATTENDED: Duration = Duration::from_mins(5);
/// Most bytes of an answer.
const MOST: usize = 1 << 20;

/// Whether somebody can answer a plugin's questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attendance {
    /// Standard input is a terminal that belongs to us.
    Attended,
    /// Nobody is there.
    Unattended,
}

/// Why a plugin gave no credentials.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It speaks a version that we do not.
    #[error(
        "the exec plugin {command:?} asks for {version:?}; only {V1} and {V1BETA1} are supported"
    )]
    Version {
        /// The plugin.
        command: String,
        /// Its version.
        version: String,
    },
    /// It needs a person, and none is there.
    #[error("the exec plugin {0:?} needs a terminal (interactiveMode: Always)")]
    NeedsTerminal(String),
    /// It is not installed.
    #[error("the exec plugin {command:?} cannot be run{}", advice(.hint.as_deref()))]
    Start {
        /// The plugin.
        command: String,
        /// Its own advice.
        hint: Option<String>,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It failed; what it wrote to standard error has been shown.
    #[error("the exec plugin {command:?} failed ({status})")]
    Failed {
        /// The plugin.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// It did not answer.
    #[error("the exec plugin {command:?} gave no answer within {} s", after.as_secs())]
    Deadline {
        /// The plugin.
        command: String,
        /// Its deadline.
        after: Duration,
    },
    /// Its answer is no credential.
    #[error("the answer of the exec plugin {command:?} is no ExecCredential: {problem}")]
    Answer {
        /// The plugin.
        command: String,
        /// What is wrong.
        problem: String,
    },
}

fn advice(hint: Option<&str>) -> String {
    hint.map_or_else(String::new, |hint| format!(". {}", hint.trim()))
}

/// What a plugin gave.
#[derive(Debug, Clone)]
pub struct Given {
    /// Bearer token.
    pub token: Option<SecretString>,
    /// Client certificate.
    pub certificate: Option<Certificate>,
    /// When both end.
    pub expires: Option<Timestamp>,
}

/// A plugin that is ready to be run.
#[derive(Clone)]
pub struct Plugin {
    exec: Exec,
    cluster: Cluster,
    attendance: Attendance,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments and environment may hold secrets.
        f.debug_tuple("Plugin").field(&self.exec.command).finish()
    }
}

impl Plugin {
    /// The plugin of a user, for a cluster.
    pub fn new(exec: Exec, cluster: Cluster, attendance: Attendance) -> Self {
        Self {
            exec,
            cluster,
            attendance,
        }
    }

    /// Runs it.
    pub async fn run(&self) -> Result<Given, Error> {
        let interactive = self.interactive()?;
        let after = if interactive { ATTENDED } else { UNATTENDED };
        let mut command = tokio::process::Command::new(&self.exec.command);
        command
            .args(&self.exec.args)
            .envs(self.exec.env.iter().map(|e| (&e.name, &e.value)))
            .env("KUBERNETES_EXEC_INFO", self.info(interactive).to_string())
            .stdin(if interactive {
                Stdio::inherit()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let child = command.spawn().map_err(|source| Error::Start {
            command: self.exec.command.clone(),
            hint: self.exec.install_hint.clone(),
            source,
        })?;
        let output = tokio::time::timeout(after, child.wait_with_output())
            .await
            .map_err(|_elapsed| Error::Deadline {
                command: self.exec.command.clone(),
                after,
            })?
            .map_err(|error| self.answer(error.to_string()))?;
        if !output.status.success() {
            return Err(Error::Failed {
                command: self.exec.command.clone(),
                status: output.status,
            });
        }
        self.parse(&output.stdout)
    }

    fn interactive(&self) -> Result<bool, Error> {
        let version = self.exec.api_version.as_str();
        if version != V1 && version != V1BETA1 {
            return Err(Error::Version {
                command: self.exec.command.clone(),
                version: version.to_owned(),
            });
        }
        match (self.exec.interactive_mode.as_deref(), self.attendance) {
            (Some("Never"), _) | (_, Attendance::Unattended)
                if self.exec.interactive_mode.as_deref() != Some("Always") =>
            {
                Ok(false)
            }
            (Some("Always"), Attendance::Unattended) => {
                Err(Error::NeedsTerminal(self.exec.command.clone()))
            }
            (_, Attendance::Attended | Attendance::Unattended) => Ok(true),
        }
    }

    fn info(&self, interactive: bool) -> serde_json::Value {
        let mut spec = serde_json::json!({ "interactive": interactive });
        if self.exec.provide_cluster_info {
            spec["cluster"] = self.cluster_info();
        }
        serde_json::json!({
            "apiVersion": self.exec.api_version,
            "kind": "ExecCredential",
            "spec": spec,
        })
    }

    /// The fields of the cluster that the API has, as they stand in the kubeconfig.
    fn cluster_info(&self) -> serde_json::Value {
        let mut info = serde_json::Map::new();
        for key in [
            "server",
            "tls-server-name",
            "insecure-skip-tls-verify",
            "certificate-authority-data",
            "proxy-url",
        ] {
            if let Some(value) = self.cluster.raw.get(key) {
                info.insert(key.to_owned(), value.clone());
            }
        }
        // kubectl passes on this one extension.
        let config = self.cluster.raw["extensions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|extension| extension["name"] == "client.authentication.k8s.io/exec");
        if let Some(extension) = config {
            info.insert("config".to_owned(), extension["extension"].clone());
        }
        serde_json::Value::Object(info)
    }

    fn parse(&self, answer: &[u8]) -> Result<Given, Error> {
        if answer.len() > MOST {
            return Err(self.answer("it is larger than 1 MiB"));
        }
        let credential: ExecCredential = serde_json::from_slice(answer)
            // Only the place: the text may hold the token.
            .map_err(|e| self.answer(format!("line {} column {}", e.line(), e.column())))?;
        if credential.kind != "ExecCredential" || credential.api_version != self.exec.api_version {
            return Err(self.answer(format!(
                "it is {} {}, not {} ExecCredential",
                credential.api_version, credential.kind, self.exec.api_version
            )));
        }
        let status = credential
            .status
            .ok_or_else(|| self.answer("it has no status"))?;
        let nonempty = |text: Option<String>| text.filter(|text| !text.is_empty());
        let chain = nonempty(status.client_certificate_data);
        let key = nonempty(status.client_key_data);
        let certificate = match (chain, key) {
            (Some(chain), Some(key)) => Some(Certificate {
                chain: chain.into_bytes(),
                key: SecretString::from(key),
            }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(self.answer("it has a certificate or a key without the other"));
            }
        };
        let token = nonempty(status.token).map(SecretString::from);
        if token.is_none() && certificate.is_none() {
            return Err(self.answer("it has neither token nor certificate"));
        }
        Ok(Given {
            token,
            certificate,
            expires: status.expiration_timestamp,
        })
    }

    fn answer(&self, problem: impl Into<String>) -> Error {
        Error::Answer {
            command: self.exec.command.clone(),
            problem: problem.into(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    status: Option<ExecStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecStatus {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    expiration_timestamp: Option<Timestamp>,
}

/// The bearer token of a plugin, kept until it ends or is refused.
#[derive(Debug)]
pub struct ExecToken {
    plugin: Plugin,
    given: Mutex<Given>,
    now: fn() -> Timestamp,
}

impl ExecToken {
    /// From a plugin that has been run once.
    pub fn new(plugin: Plugin, given: Given, now: fn() -> Timestamp) -> Self {
        Self {
            plugin,
            given: Mutex::new(given),
            now,
        }
    }
}

impl TokenSource for ExecToken {
    fn token(&self, need: Need) -> BoxFuture<'_, Result<SecretString, credentials::Error>> {
        Box::pin(async move {
            let mut given = self.given.lock().await;
            let ended = given.expires.is_some_and(|end| end <= (self.now)());
            match &given.token {
                Some(token) if need == Need::Call && !ended => return Ok(token.clone()),
                Some(_) | None => {}
            }
            *given = self.plugin.run().await?;
            let token = given.token.clone();
            Ok(token.ok_or_else(|| self.plugin.answer("it has no token this time"))?)
        })
    }

    fn renews(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
