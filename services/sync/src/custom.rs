//! Custom resources of tenants: which of a virtual cluster's rules can be followed, and following them.
//!
//! A rule grants nothing: the host's administrator says at the start of the process which kinds may be synced
//! ([`Allowed`]). What a kind is, the host's CustomResourceDefinition says. A rule that cannot be followed is told by
//! the condition `CustomResourcesReady`, and keeps neither the others nor the built-in kinds waiting.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use vcluster_resources::VirtualCluster;
use vcluster_resources::custom_resource::{self, Direction, Rule};
use vcluster_translate::Kind as Table;
use vcluster_translate::custom::definition::{self, Learnt};
use vcluster_translate::custom::{Custom, Kinds, Synced};

use crate::engine::Engine;

mod copy;
pub mod defined;
pub mod definitions;
pub mod follow;
pub mod watches;

/// Value of the chart by which the host's administrator allows kinds.
const VALUE: &str = "sync.customResources";

/// Which custom resources may be synced, as the host's administrator says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed(BTreeMap<String, Extent>);

/// How far a kind may be synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Extent {
    /// It may only be shown.
    Shown,
    /// It may be written, in the tenant's host namespace and about it.
    Written,
    /// Its objects may name other namespaces of the host as well.
    Everywhere,
}

/// A kind that may be synced: `PLURAL.GROUP`, with `=FromHost` if it may only be shown, with `=OtherNamespaces` if its
/// objects may name other namespaces of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    definition: String,
    extent: Extent,
}

/// It is not `PLURAL.GROUP[=FromHost|=OtherNamespaces]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be PLURAL.GROUP, PLURAL.GROUP=FromHost, or PLURAL.GROUP=OtherNamespaces")]
pub struct Malformed;

impl FromStr for Kind {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (definition, extent) = match text.split_once('=') {
            None => (text, Extent::Written),
            Some((definition, "FromHost")) => (definition, Extent::Shown),
            Some((definition, "OtherNamespaces")) => (definition, Extent::Everywhere),
            Some(_) => return Err(Malformed),
        };
        let is_name =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if !definition.contains('.') || !definition.chars().all(is_name) {
            return Err(Malformed);
        }
        Ok(Self {
            definition: definition.to_owned(),
            extent,
        })
    }
}

impl FromIterator<Kind> for Allowed {
    fn from_iter<I: IntoIterator<Item = Kind>>(all: I) -> Self {
        Self(
            all.into_iter()
                .map(|kind| (kind.definition, kind.extent))
                .collect(),
        )
    }
}

impl Allowed {
    fn check(&self, rule: &Rule) -> Result<Extent, Problem> {
        let definition = rule.definition();
        match (self.0.get(&definition), rule.direction) {
            (Some(Extent::Shown), Direction::ToHost) => Err(Problem::ReadOnly),
            (Some(extent), Direction::ToHost | Direction::FromHost) => Ok(*extent),
            (None, _) => Err(Problem::NotAllowed {
                group: rule.group.clone(),
                plural: rule.plural.clone(),
            }),
        }
    }
}

/// Why a rule is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The administrator does not allow the kind.
    #[error(
        "the host cluster's administrator does not allow it: the chart's value {VALUE} must list {{group: {group}, plural: \
         {plural}}}"
    )]
    NotAllowed {
        /// Group.
        group: String,
        /// Collection.
        plural: String,
    },
    /// The administrator does not allow it to be written.
    #[error(
        "the host cluster's administrator allows it only with direction FromHost: see readOnly in the chart's value {VALUE}"
    )]
    ReadOnly,
    /// The rule itself is wrong.
    #[error("{0}")]
    Rule(String),
    /// It is a kind of the table.
    #[error("it is synced without a rule: remove this one")]
    BuiltIn,
    /// The host has no such kind.
    #[error("the host cluster has no CustomResourceDefinition of this name")]
    NoDefinition,
    /// The host's definition and the rule do not fit.
    #[error(transparent)]
    Definition(#[from] definition::Error),
    /// The host's definition cannot be read at the moment.
    #[error("the host cluster's definition cannot be read: {0}")]
    Unreadable(String),
    /// The process knows too many kinds.
    #[error("too many custom kinds are synced on this host cluster")]
    TooMany,
}

/// What becomes of a virtual cluster's rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Kinds that are followed.
    pub kinds: Kinds,
    /// What the host says of each.
    pub learnt: Vec<(Custom, Learnt)>,
    /// Rules that are not followed, by the name of their definition.
    pub problems: BTreeMap<String, Problem>,
}

impl Resolved {
    /// Whether the same question may be answered otherwise in a moment, without any change.
    pub fn is_certain(&self) -> bool {
        let passes = |problem: &Problem| matches!(problem, Problem::Unreadable(_));
        !self.problems.values().any(passes)
    }
}

/// Which of a cluster's rules can be followed. What is asked of the host is asked at once.
pub async fn resolve(engine: &Engine, cluster: &VirtualCluster) -> Resolved {
    let rules = &cluster.spec.sync.custom_resources;
    let (sound, findings) = custom_resource::compile(rules);
    let mut resolved = Resolved::default();
    for finding in findings {
        let name = finding
            .rule
            .and_then(|n| rules.get(n))
            .map(custom_resource::CustomResource::definition);
        let name = name.unwrap_or_else(|| "spec.sync.customResources".to_owned());
        let problem = Problem::Rule(format!("spec.sync.{finding}"));
        resolved.problems.entry(name).or_insert(problem);
    }
    let mut synced = Vec::new();
    let all = sound.into_iter().map(|rule| async {
        let learnt = learn(engine, &rule).await;
        (rule, learnt)
    });
    for (rule, learnt) in futures::future::join_all(all).await {
        match learnt {
            Ok((one, learnt)) => {
                resolved.learnt.push((one.kind, learnt));
                synced.push(one);
            }
            Err(problem) => {
                resolved.problems.insert(rule.definition(), problem);
            }
        }
    }
    let kinds: Kinds = synced.into_iter().collect();
    let is_sent = |rule: &custom_resource::CustomResource| rule.direction == Direction::ToHost;
    let sends = rules.iter().filter(|rule| is_sent(rule)).count();
    let sent = kinds
        .iter()
        .filter(|synced| synced.rule.direction == Direction::ToHost)
        .count();
    resolved.kinds = if sent < sends { kinds.partial() } else { kinds };
    resolved
}

/// Every kind that may be written on the host: whatever the rules say now, earlier ones may have had objects made. One
/// whose definition cannot be read is left out.
pub async fn writable(engine: &Engine) -> Vec<Table> {
    let allowed = &engine.config.custom_resources.0;
    let written = allowed.iter().filter(|(_, extent)| match extent {
        Extent::Written | Extent::Everywhere => true,
        Extent::Shown => false,
    });
    let all = written.map(|(definition, _)| async move {
        let own = &engine.host.own.request;
        let found = engine.definitions.get(own, definition).await;
        let host = found
            .inspect_err(|error| tracing::warn!(definition, error, "cannot be read"))
            .ok()??;
        let identity = definition::stored(&host)?;
        engine.custom(&identity).map(Table::Custom)
    });
    let all = futures::future::join_all(all).await;
    all.into_iter().flatten().collect()
}

async fn learn(engine: &Engine, rule: &Rule) -> Result<(Synced, Learnt), Problem> {
    let definition = rule.definition();
    if Table::all().any(|kind| kind.definition().as_ref() == Some(&definition)) {
        return Err(Problem::BuiltIn);
    }
    let extent = engine.config.custom_resources.check(rule)?;
    let host = engine
        .definitions
        .get(&engine.host.own.request, &definition)
        .await;
    let host = host
        .map_err(Problem::Unreadable)?
        .ok_or(Problem::NoDefinition)?;
    let learnt = definition::learn(&host, rule)?;
    let kind = engine.custom(&learnt.identity).ok_or(Problem::TooMany)?;
    let synced = Synced {
        kind,
        rule: rule.clone(),
        has_status: learnt.has_status,
        may_name_namespaces: extent == Extent::Everywhere,
    };
    Ok((synced, learnt))
}

impl fmt::Display for Resolved {
    /// The kinds that are followed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self
            .kinds
            .iter()
            .map(|synced| synced.kind.definition())
            .collect();
        f.write_str(&names.join(", "))
    }
}

#[cfg(test)]
mod tests;
