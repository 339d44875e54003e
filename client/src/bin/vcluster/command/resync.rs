//! `vcluster resync`: has sync look at objects of a virtual cluster again.

use clap::Args;
use vcluster_client::ObjectRef;

use crate::{
    failure::Result,
    inside::{self, Inside},
    session::Session,
};

/// Options of `resync`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vcluster resync pod/web -n shop
  vcluster resync --cluster demo             everything, once a minute at most")]
pub(crate) struct Resync {
    /// The object, as KIND/NAME or KIND NAME [default: all objects]
    #[arg(num_args = 0..=2, value_name = "KIND/NAME")]
    object: Vec<String>,
    #[command(flatten)]
    inside: Inside,
}

/// Carries it out.
pub(crate) async fn run(args: &Resync, session: &Session) -> Result {
    let namespace = args.inside.namespace.as_deref();
    let objects = if args.object.is_empty() {
        ObjectRef {
            namespace: namespace.unwrap_or_default().to_owned(),
            ..ObjectRef::default()
        }
    } else {
        inside::object(&args.object, namespace)?
    };
    let connected = session.connect().await?;
    let client = &connected.client;
    let (host_namespace, name) = args.inside.cluster(client, session).await?;
    let asked = objects.clone();
    let count = client.resync(&host_namespace, &name, objects).await?;
    let terminal = &session.terminal;
    if asked.name.is_empty() {
        let objects = if count == 1 {
            "object is"
        } else {
            "objects are"
        };
        terminal.success(&format!(
            "{count} {objects} looked at again in virtual cluster {name:?}, behind everything else there is to do"
        ));
    } else {
        let object = format!("{}/{}", asked.kind, asked.name);
        terminal.success(&format!(
            "{object} is read anew on both sides of virtual cluster {name:?}"
        ));
        terminal.hint(&format!(
            "`vcluster explain {object} -n {} --cluster {name} --host-namespace {host_namespace}` says what came of it",
            asked.namespace
        ));
    }
    Ok(())
}
