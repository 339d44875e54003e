//! Which virtual cluster a command about objects inside one means: the one that it names, or the one that kubectl
//! points at since `vcluster connect`.

use clap::Args;
use vcluster_client::{Client, ObjectRef, kubeconfig::connection};

use crate::{
    cli::Target,
    exit::Exit,
    failure::{Failure, Result},
    locate::{self, Guess},
    session::Session,
};

/// Where objects are.
#[derive(Debug, Clone, Args)]
pub(crate) struct Inside {
    /// Namespace inside the virtual cluster, for kinds that have one [default: default]
    #[arg(short = 'n', long = "namespace", value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// The virtual cluster [default: the one that the current context is connected to]
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Its host namespace [default: that of the only cluster of this name]
    #[arg(long, value_name = "HOST-NAMESPACE", requires = "cluster")]
    host_namespace: Option<String>,
}

impl Inside {
    /// Host namespace and name of the virtual cluster.
    pub(crate) async fn cluster(
        &self,
        client: &Client,
        session: &Session,
    ) -> Result<(String, String)> {
        if let Some(name) = &self.cluster {
            let target = Target {
                name: name.clone(),
                namespace: self.host_namespace.clone(),
            };
            let found = locate::locate(client, &target, Guess::Allowed, "--host-namespace").await?;
            return Ok((found.host_namespace, found.name));
        }
        let sources = session.kubeconfig()?;
        let context = session.global.context.as_deref();
        let context = context.or_else(|| sources.current_context());
        match context.and_then(|context| connection::record(&sources, context)) {
            Some(made) => Ok((made.host_namespace, made.name)),
            None => Err(Failure::new(
                Exit::Usage,
                "the current context is no connection to a virtual cluster",
            )
            .hint(
                "name the virtual cluster with --cluster NAME, or `vcluster connect NAME` first",
            )),
        }
    }
}

/// `KIND/NAME`, or `KIND NAME`, as kubectl takes them.
pub(crate) fn object(words: &[String], namespace: Option<&str>) -> Result<ObjectRef> {
    let parts = match words {
        [one] => one.split_once('/'),
        [kind, name] if !kind.contains('/') => Some((kind.as_str(), name.as_str())),
        _ => None,
    };
    let parts =
        parts.filter(|(kind, name)| !kind.is_empty() && !name.is_empty() && !name.contains('/'));
    let Some((kind, name)) = parts else {
        let sentence = format!("{:?} names no object", words.join(" "));
        return Err(
            Failure::new(Exit::Usage, sentence).hint("write KIND/NAME, for example pod/web")
        );
    };
    Ok(ObjectRef {
        kind: kind.to_owned(),
        namespace: namespace.unwrap_or("default").to_owned(),
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn an_object_is_named_as_for_kubectl() {
        for text in ["pod/web", "pod web"] {
            let object = object(&words(text), Some("shop")).unwrap();
            assert_eq!((object.kind.as_str(), object.name.as_str()), ("pod", "web"));
            assert_eq!(object.namespace, "shop");
        }
        assert_eq!(
            object(&words("pod/web"), None).unwrap().namespace,
            "default"
        );
        for text in ["pod", "pod/", "/web", "pod/web x", "a/b/c", "a b c"] {
            assert!(object(&words(text), None).is_err(), "{text}");
        }
    }
}
