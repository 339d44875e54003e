//! What a caller must be allowed to do, in the words of Kubernetes' authorizers.

use vcluster_chassis::access::Attributes;

/// What is done to virtual clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Delete,
}

/// To which ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope<'a> {
    /// All, in every namespace.
    All,
    /// Those of a namespace.
    Namespace(&'a str),
    /// One.
    One { namespace: &'a str, name: &'a str },
}

/// The right to do that.
pub(super) fn virtual_clusters(verb: Verb, scope: Scope<'_>) -> Attributes {
    let (namespace, name) = match scope {
        Scope::All => ("", ""),
        Scope::Namespace(namespace) => (namespace, ""),
        Scope::One { namespace, name } => (namespace, name),
    };
    let verb = match verb {
        Verb::Get => "get",
        Verb::List => "list",
        Verb::Watch => "watch",
        Verb::Create => "create",
        Verb::Update => "update",
        Verb::Delete => "delete",
    };
    Attributes {
        group: "vcluster.dev".to_owned(),
        resource: "virtualclusters".to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        verb: verb.to_owned(),
        ..Attributes::default()
    }
}

/// The right to make that namespace.
pub(super) fn create_namespace(name: &str) -> Attributes {
    Attributes {
        resource: "namespaces".to_owned(),
        name: name.to_owned(),
        verb: "create".to_owned(),
        ..Attributes::default()
    }
}
