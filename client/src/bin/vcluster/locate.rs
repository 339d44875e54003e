//! Which virtual cluster a name means when no host namespace is given: the only one of that name
//! that the user can see.

use tonic::Code;
use vcluster_client::{Client, proto::control::v1::VirtualCluster};

use crate::{
    cli::Target,
    exit::Exit,
    failure::{Failure, Result},
};

/// The host namespace that `create` uses if none is given.
pub(crate) fn default_namespace(name: &str) -> String {
    format!("vcluster-{name}")
}

/// What to do if the user may not list all host namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guess {
    /// Look in the namespace that `create` would have used.
    Allowed,
    /// Ask the user: the command destroys.
    Forbidden,
}

/// The flag by which most commands are told the host namespace.
pub(crate) const FLAG: &str = "-n";

/// Finds the cluster. Where the name alone does not do, the user is told of the flag that names the host namespace.
pub(crate) async fn locate(
    client: &Client,
    target: &Target,
    guess: Guess,
    flag: &str,
) -> Result<VirtualCluster> {
    let name = &target.name;
    if let Some(namespace) = &target.namespace {
        return client
            .get(namespace, name)
            .await
            .map_err(|error| missing(error, name));
    }
    match client.list(None).await {
        Ok(all) => choose(all, name, flag),
        Err(error) if error.code() == Code::PermissionDenied => {
            let likely = default_namespace(name);
            match guess {
                Guess::Allowed => match client.get(&likely, name).await {
                    Ok(found) => Ok(found),
                    Err(_) => Err(ask_for_namespace(error, flag)),
                },
                Guess::Forbidden => Err(ask_for_namespace(error, flag)),
            }
        }
        Err(error) => Err(error.into()),
    }
}

fn ask_for_namespace(error: vcluster_client::Error, flag: &str) -> Failure {
    Failure::from(error)
        .context("you may not list virtual clusters of all host namespaces")
        .hint(format!(
            "name the host namespace with {flag} HOST-NAMESPACE"
        ))
}

fn missing(error: vcluster_client::Error, name: &str) -> Failure {
    let absent = error.code() == Code::NotFound;
    let failure = Failure::from(error);
    if absent {
        failure.hint(format!(
            "`vcluster list` shows what there is; `vcluster create {name}` makes it"
        ))
    } else {
        failure
    }
}

/// The only one of that name.
fn choose(all: Vec<VirtualCluster>, name: &str, flag: &str) -> Result<VirtualCluster> {
    let mut named = all.into_iter().filter(|cluster| cluster.name == name);
    let Some(first) = named.next() else {
        let sentence = format!("there is no virtual cluster {name:?} that you can see");
        return Err(Failure::new(Exit::NotFound, sentence).hint(format!(
            "`vcluster list` shows what there is; `vcluster create {name}` makes it"
        )));
    };
    let mut namespaces = vec![first.host_namespace.clone()];
    namespaces.extend(named.map(|cluster| cluster.host_namespace));
    if namespaces.len() == 1 {
        return Ok(first);
    }
    let sentence = format!(
        "there are {} virtual clusters {name:?}, in the host namespaces {}",
        namespaces.len(),
        namespaces.join(", ")
    );
    Err(Failure::new(Exit::Usage, sentence).hint(format!("choose one with {flag} HOST-NAMESPACE")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(name: &str, namespace: &str) -> VirtualCluster {
        VirtualCluster {
            name: name.to_owned(),
            host_namespace: namespace.to_owned(),
            ..VirtualCluster::default()
        }
    }

    #[test]
    fn one_cluster_of_a_name_needs_no_namespace() {
        let all = vec![cluster("a", "x"), cluster("b", "y")];
        assert_eq!(choose(all, "b", FLAG).unwrap().host_namespace, "y");
    }

    #[test]
    fn several_are_listed() {
        let all = vec![cluster("a", "x"), cluster("a", "y")];
        let failure = choose(all, "a", FLAG).unwrap_err();
        insta::assert_snapshot!(crate::ui::style::plain(&failure.render()), @r#"
        error: there are 2 virtual clusters "a", in the host namespaces x, y
        hint: choose one with -n HOST-NAMESPACE
        "#);
    }
}
