//! What `vcluster connect` puts into a kubeconfig, and how it is taken out again.
//!
//! A connection is a context, a cluster and a user of one name, each with the extension
//! [`EXTENSION`] that says for which virtual cluster it was made. Only entries with that extension
//! are ever replaced or removed. Pure; disconnecting after connecting restores the current context.

use base64::Engine as _;

use super::{
    document::{Node, Section},
    sources::Sources,
};

/// Name of the extension by which our entries are known.
pub const EXTENSION: &str = "vcluster.dev";
/// API of exec credential plugins.
pub const EXEC_API_VERSION: &str = "client.authentication.k8s.io/v1";

/// Which virtual cluster a connection leads to, and from where it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Address of the gateway.
    pub gateway: String,
    /// Host namespace.
    pub host_namespace: String,
    /// Name of the virtual cluster.
    pub name: String,
    /// Context of the host cluster whose identity is used.
    pub host_context: String,
    /// The kubeconfig files with that context, as in `KUBECONFIG`.
    pub host_kubeconfig: String,
    /// Context that was current before; where `disconnect` goes back to.
    pub previous_context: Option<String>,
}

/// A connection to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Name of the context, the cluster and the user.
    pub context: String,
    /// URL of the virtual API server.
    pub server: String,
    /// CA bundle of the gateway, PEM; `None` for the system's CAs.
    pub certificate_authority: Option<Vec<u8>>,
    /// Program that gives credentials.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it belongs to.
    pub record: Record,
}

/// Why a kubeconfig was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The name is taken by something that we did not make.
    #[error("the kubeconfig already has a {kind} {name:?} that vcluster did not make")]
    Taken {
        /// What kind of entry has the name.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The current context is not a connection.
    #[error("the current context {} is no connection to a virtual cluster", describe(.0.as_deref()))]
    NotConnected(Option<String>),
    /// There is nothing to go back to.
    #[error("the context {0:?} that was current before is no longer there")]
    NoWayBack(String),
}

fn describe(name: Option<&str>) -> String {
    name.map_or_else(|| "(none)".to_owned(), |name| format!("{name:?}"))
}

/// The name that a connection gets if none is asked for.
pub fn default_name(name: &str, host_namespace: &str, host_context: &str) -> String {
    format!("vcluster_{name}_{host_namespace}_{host_context}")
}

/// The record of a context, if we made it.
pub fn record(sources: &Sources, context: &str) -> Option<Record> {
    let content = sources.find(Section::Contexts, context)?.content;
    let extension = extension(content)?;
    let text = |key: &str| {
        extension
            .get(key)
            .and_then(Node::as_text)
            .map(str::to_owned)
    };
    Some(Record {
        gateway: text("gateway")?,
        host_namespace: text("hostNamespace")?,
        name: text("name")?,
        host_context: text("hostContext")?,
        host_kubeconfig: text("hostKubeconfig")?,
        previous_context: text("previousContext"),
    })
}

/// Adds or refreshes `connection` and makes it the current context. The context that was current
/// is remembered, unless it is this very one.
pub fn connect(sources: &mut Sources, connection: &Connection) -> Result<(), Error> {
    let name = connection.context.as_str();
    for (section, kind) in KINDS {
        if let Some(found) = sources.find(section, name)
            && extension(found.content).is_none()
        {
            return Err(Error::Taken {
                kind,
                name: name.to_owned(),
            });
        }
    }
    // Only the context knows the way back: it is all that `disconnect` rewrites.
    let mut written = connection.record.clone();
    written.previous_context = match sources.current_context() {
        Some(current) if current == name => record(sources, name).and_then(|r| r.previous_context),
        Some(current) => Some(current.to_owned()),
        None => None,
    };
    sources.upsert(Section::Clusters, name, cluster(connection));
    sources.upsert(Section::Users, name, user(connection));
    sources.upsert(Section::Contexts, name, context(name, &written));
    sources.set_current_context(Some(name));
    Ok(())
}

/// What `disconnect` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnected {
    /// The connection that was current.
    pub from: String,
    /// Context that is current now; none if none was before.
    pub to: Option<String>,
}

/// Switches back to the context that was current before the connection, and with `remove` takes
/// the connection out.
pub fn disconnect(sources: &mut Sources, remove: bool) -> Result<Disconnected, Error> {
    let current = sources.current_context().map(str::to_owned);
    let Some((from, written)) = current
        .clone()
        .and_then(|from| Some((from.clone(), record(sources, &from)?)))
    else {
        return Err(Error::NotConnected(current));
    };
    let to = way_back(sources, &from, &written)?;
    if remove {
        forget(sources, &from);
    } else {
        // The way back is used up: two connections made from within each other must not lead from
        // one to the other for ever.
        let mut used = written;
        used.previous_context = None;
        sources.upsert(Section::Contexts, &from, context(&from, &used));
    }
    sources.set_current_context(to.as_deref());
    Ok(Disconnected { from, to })
}

/// Removes every connection to this virtual cluster; if one is current, switches back first.
/// Returns their names.
pub fn forget_cluster(
    sources: &mut Sources,
    gateway: &str,
    host_namespace: &str,
    name: &str,
) -> Vec<String> {
    let ours: Vec<String> = sources
        .names(Section::Contexts)
        .into_iter()
        .filter(|context| {
            record(sources, context).is_some_and(|r| {
                r.gateway == gateway && r.host_namespace == host_namespace && r.name == name
            })
        })
        .map(str::to_owned)
        .collect();
    // Contexts of the same cluster may point back at each other, so each is left in turn.
    for _ in 0..=ours.len() {
        let current = sources.current_context().unwrap_or_default();
        if !ours.iter().any(|context| context == current) {
            break;
        }
        if disconnect(sources, false).is_err() {
            sources.set_current_context(None);
        }
    }
    for context in &ours {
        forget(sources, context);
    }
    ours
}

const KINDS: [(Section, &str); 3] = [
    (Section::Contexts, "context"),
    (Section::Clusters, "cluster"),
    (Section::Users, "user"),
];

fn way_back(sources: &Sources, from: &str, written: &Record) -> Result<Option<String>, Error> {
    let exists = |name: &str| sources.find(Section::Contexts, name).is_some();
    match &written.previous_context {
        None if exists(&written.host_context) && written.host_context != from => {
            Ok(Some(written.host_context.clone()))
        }
        None => Ok(None),
        Some(previous) if exists(previous) => Ok(Some(previous.clone())),
        Some(_) if exists(&written.host_context) => Ok(Some(written.host_context.clone())),
        Some(previous) => Err(Error::NoWayBack(previous.clone())),
    }
}

fn forget(sources: &mut Sources, name: &str) {
    for (section, _) in KINDS {
        let ours = |s: &Sources| {
            s.find(section, name)
                .is_some_and(|f| extension(f.content).is_some())
        };
        while ours(sources) {
            sources.remove(section, name);
        }
    }
}

fn extension(content: &Node) -> Option<&Node> {
    content
        .get("extensions")?
        .as_list()?
        .iter()
        .find(|e| e.get("name").and_then(Node::as_text) == Some(EXTENSION))?
        .get("extension")
}

fn extensions(record: &Record) -> Node {
    let mut fields = vec![
        ("gateway".to_owned(), Node::text(&record.gateway)),
        ("hostContext".to_owned(), Node::text(&record.host_context)),
        (
            "hostKubeconfig".to_owned(),
            Node::text(&record.host_kubeconfig),
        ),
        (
            "hostNamespace".to_owned(),
            Node::text(&record.host_namespace),
        ),
        ("name".to_owned(), Node::text(&record.name)),
    ];
    if let Some(previous) = &record.previous_context {
        fields.push(("previousContext".to_owned(), Node::text(previous)));
    }
    Node::List(vec![Node::map([
        ("extension", Node::Map(fields)),
        ("name", Node::text(EXTENSION)),
    ])])
}

fn context(name: &str, record: &Record) -> Node {
    Node::map([
        ("cluster", Node::text(name)),
        ("extensions", extensions(record)),
        ("user", Node::text(name)),
    ])
}

fn cluster(connection: &Connection) -> Node {
    let mut fields = Vec::new();
    if let Some(pem) = &connection.certificate_authority {
        let data = base64::engine::general_purpose::STANDARD.encode(pem);
        fields.push(("certificate-authority-data".to_owned(), Node::Text(data)));
    }
    fields.push(("extensions".to_owned(), extensions(&connection.record)));
    fields.push(("server".to_owned(), Node::text(&connection.server)));
    Node::Map(fields)
}

fn user(connection: &Connection) -> Node {
    let args = connection.args.iter().map(Node::text).collect();
    let exec = Node::map([
        ("apiVersion", Node::text(EXEC_API_VERSION)),
        ("args", Node::List(args)),
        ("command", Node::text(&connection.command)),
        ("env", Node::Null),
        (
            "installHint",
            Node::text(
                "The vcluster command is needed to get credentials for this virtual cluster, and \
                 was not found where it was when the context was made. Install it and run \
                 `vcluster connect` again.",
            ),
        ),
        ("interactiveMode", Node::text("Never")),
        ("provideClusterInfo", Node::Bool(false)),
    ]);
    Node::map([
        ("exec", exec),
        ("extensions", extensions(&connection.record)),
    ])
}

#[cfg(test)]
mod tests;
