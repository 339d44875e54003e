//! `vcluster explain`: why an object of a virtual cluster is as it is on the host.

use clap::Args;

use crate::{
    failure::Result,
    inside::{self, Inside},
    session::Session,
    ui::{explained, format::Format},
};

/// Options of `explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vcluster explain pod/web -n shop
  vcluster explain ingress web -n shop --cluster demo
  vcluster explain pvc/data -n shop -o json")]
pub(crate) struct Explain {
    /// The object, as KIND/NAME or KIND NAME
    #[arg(required = true, num_args = 1..=2, value_name = "KIND/NAME")]
    object: Vec<String>,
    #[command(flatten)]
    inside: Inside,
}

/// Carries it out.
pub(crate) async fn run(args: &Explain, session: &Session) -> Result {
    let object = inside::object(&args.object, args.inside.namespace.as_deref())?;
    let connected = session.connect().await?;
    let client = &connected.client;
    let (host_namespace, name) = args.inside.cluster(client, session).await?;
    let answer = client.explain(&host_namespace, &name, object).await?;
    let explained = explained::Explained::new(answer, (host_namespace, name));
    let text = match session.global.output.unwrap_or_default() {
        Format::Json => crate::ui::format::json(&explained)?,
        Format::Yaml => crate::ui::format::yaml(&explained)?,
        Format::Table | Format::Wide => explained.text(session.now()),
        Format::Name => explained.name(),
    };
    session.terminal.data(&text)?;
    Ok(())
}
