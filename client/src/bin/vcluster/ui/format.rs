//! `-o`: how clusters become text.

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use jiff::Timestamp;
use serde::Serialize;
use vcluster_client::{gateway::Address, proto::control::v1::VirtualCluster};

use super::{
    age::age,
    style::safe,
    view::{Cluster, List},
};
use crate::{
    exit::Exit,
    failure::{Failure, Result},
};

/// A form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// A table for people
    #[default]
    Table,
    /// A table with more columns
    Wide,
    /// JSON, stable
    Json,
    /// YAML, the same as JSON
    Yaml,
    /// Only names, as HOST-NAMESPACE/NAME
    Name,
}

/// Several clusters.
pub(crate) fn list(
    clusters: Vec<VirtualCluster>,
    format: Format,
    gateway: &Address,
    now: Timestamp,
) -> Result<String> {
    let items: Vec<Cluster> = clusters
        .into_iter()
        .map(|cluster| Cluster::new(cluster, gateway))
        .collect();
    match format {
        Format::Json => json(&List { items }),
        Format::Yaml => yaml(&List { items }),
        Format::Table | Format::Wide | Format::Name => Ok(text(&items, format, now)),
    }
}

/// One cluster.
pub(crate) fn one(
    cluster: VirtualCluster,
    format: Format,
    gateway: &Address,
    now: Timestamp,
) -> Result<String> {
    let cluster = Cluster::new(cluster, gateway);
    match format {
        Format::Json => json(&cluster),
        Format::Yaml => yaml(&cluster),
        Format::Table | Format::Wide | Format::Name => Ok(text(&[cluster], format, now)),
    }
}

/// One cluster with its conditions, for people.
pub(crate) fn describe(cluster: VirtualCluster, gateway: &Address, now: Timestamp) -> String {
    let cluster = Cluster::new(cluster, gateway);
    let mut out = text(std::slice::from_ref(&cluster), Format::Wide, now);
    if !cluster.status.conditions.is_empty() {
        out.push('\n');
        let header = ["CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"];
        let rows = cluster.status.conditions.iter().map(|condition| {
            vec![
                condition.kind.clone(),
                condition.status.clone(),
                condition.reason.clone(),
                age(condition.last_transition_time, now),
                condition.message.clone(),
            ]
        });
        out.push_str(&table(&header, rows));
    }
    out
}

fn text(clusters: &[Cluster], format: Format, now: Timestamp) -> String {
    if format == Format::Name {
        let names = clusters
            .iter()
            .map(|c| format!("{}/{}\n", c.host_namespace, c.name));
        return names.collect();
    }
    let wide = format == Format::Wide;
    let mut header = vec!["NAME", "HOST NAMESPACE", "STATUS", "VERSION", "AGE"];
    if wide {
        header.extend(["DISTRO", "SERVER", "MESSAGE"]);
    }
    let rows = clusters.iter().map(|cluster| {
        let version = if cluster.status.version.is_empty() {
            &cluster.spec.version
        } else {
            &cluster.status.version
        };
        let mut row = vec![
            cluster.name.clone(),
            cluster.host_namespace.clone(),
            cluster.status.phase.to_owned(),
            version.clone(),
            age(cluster.create_time, now),
        ];
        if wide {
            row.extend([
                cluster.spec.distro.to_owned(),
                cluster.status.server.clone(),
                cluster.status.message.clone(),
            ]);
        }
        row
    });
    table(&header, rows)
}

/// Columns as kubectl aligns them: no borders, three spaces between, `-` for what is empty.
pub(crate) fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(row.into_iter().map(|cell| {
            let cell = safe(&cell).replace('\n', " ");
            if cell.is_empty() {
                "-".to_owned()
            } else {
                cell
            }
        }));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
        column.set_cell_alignment(CellAlignment::Left);
    }
    let lines = table.to_string();
    lines
        .lines()
        .flat_map(|line| {
            [
                line.trim_end(),
                "
",
            ]
        })
        .collect()
}

/// Indented JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value);
    text.map_err(|error| Failure::of(Exit::Unexpected, error))
}

/// YAML.
pub(crate) fn yaml(value: &impl Serialize) -> Result<String> {
    let text = serde_saphyr::to_string(value);
    text.map_err(|error| Failure::of(Exit::Unexpected, error))
}

#[cfg(test)]
mod tests;
