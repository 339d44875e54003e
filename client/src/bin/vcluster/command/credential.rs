//! `vcluster credential`: what kubectl runs to get a token for a virtual cluster (an exec
//! credential plugin, `client.authentication.k8s.io/v1`).

mod cache;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use vcluster_client::{Issued, kubeconfig::connection::EXEC_API_VERSION};

pub(crate) use self::cache::Cache;
use crate::{
    exit::Exit,
    failure::{Failure, Result},
    session::{self, Host, Session},
    ui::format,
};

/// kubectl asks again this long before the token really ends, so that none is refused on its way.
const EARLY: SignedDuration = SignedDuration::from_secs(15);

/// Options of `credential`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example, as `vcluster connect` writes it into the kubeconfig:
  vcluster credential demo --namespace=team-a --gateway=https://gw.example \\
      --host-context=production --host-kubeconfig=/home/me/.kube/config")]
pub(crate) struct Credential {
    /// Name of the virtual cluster
    name: String,
    /// Its host namespace
    #[arg(short = 'n', long = "namespace", value_name = "HOST-NAMESPACE")]
    namespace: String,
    /// CA bundle of the gateway, PEM in base64
    #[arg(long, value_name = "BASE64")]
    gateway_ca_data: Option<String>,
    /// Context whose identity is used
    #[arg(long, value_name = "NAME", requires = "host_kubeconfig")]
    host_context: Option<String>,
    /// kubeconfig files that have it, separated as in $KUBECONFIG
    #[arg(long, value_name = "FILES", requires = "host_context")]
    host_kubeconfig: Option<String>,
}

/// Carries it out.
pub(crate) async fn run(args: &Credential, session: &Session) -> Result {
    let host = match (&args.host_context, &args.host_kubeconfig) {
        (Some(context), Some(files)) => session::host_of(files, context)?,
        (None | Some(_), None) | (None, Some(_)) => session.host()?,
    };
    let gateway = session
        .configured_gateway(&host.context.name, args.gateway_ca_data.as_deref())?
        .ok_or_else(|| {
            Failure::new(Exit::Usage, "--gateway is missing").hint(
                "this is what `vcluster connect` has kubectl run, with every option; unlike other \
                 commands it does not look for the gateway",
            )
        })?;
    let address = gateway.address.to_string();
    let issue = async || {
        let credentials = session.credentials(&host).await?;
        let client = session.client(&gateway, credentials)?;
        let issued = client
            .issue_credential(&args.namespace, &args.name, None)
            .await;
        issued.map_err(|error| {
            Failure::from(error).context(format!(
                "no credential for virtual cluster {:?} in host namespace {:?}",
                args.name, args.namespace
            ))
        })
    };
    let issued = match cache(session) {
        Some(cache) => {
            let key = key(&address, &args.namespace, &args.name, &host)?;
            cache.get_or(&key, || session.now(), issue).await?
        }
        None => issue().await?,
    };
    session
        .terminal
        .data(&format::json(&exec_credential(&issued))?)?;
    Ok(())
}

fn exec_credential(issued: &Issued) -> serde_json::Value {
    let early = issued.expires.checked_sub(EARLY).unwrap_or(Timestamp::MIN);
    serde_json::json!({
        "apiVersion": EXEC_API_VERSION,
        "kind": "ExecCredential",
        "status": {
            "token": issued.token.expose_secret(),
            // Kubernetes reads times to the second.
            "expirationTimestamp": early.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        },
    })
}

/// The cache of this user, if there is a place for one.
pub(crate) fn cache(session: &Session) -> Option<Cache> {
    session
        .environment
        .cache()
        .map(|folder| Cache::new(folder.join("credentials")))
}

/// What a cached credential is good for: one virtual cluster, at one gateway, for one identity. A
/// changed user entry in the kubeconfig is another identity.
pub(crate) fn key(gateway: &str, namespace: &str, name: &str, host: &Host) -> Result<String> {
    let files = host.kubeconfig()?;
    let mut digest = Sha256::new();
    let identity = host.context.user.fingerprint.expose_secret();
    for part in [
        gateway,
        namespace,
        name,
        &host.context.name,
        &files,
        identity,
    ] {
        // Lengths keep the parts apart.
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    Ok(hex::encode(digest.finalize()))
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn the_answer_is_what_kubectl_expects() {
        let issued = Issued {
            token: SecretString::from("abc"),
            expires: "2030-01-01T00:10:00.25Z".parse().unwrap(),
            path: "/clusters/ns/demo".to_owned(),
        };
        insta::assert_snapshot!(format::json(&exec_credential(&issued)).unwrap(), @r#"
        {
          "apiVersion": "client.authentication.k8s.io/v1",
          "kind": "ExecCredential",
          "status": {
            "expirationTimestamp": "2030-01-01T00:09:45Z",
            "token": "abc"
          }
        }
        "#);
    }
}
