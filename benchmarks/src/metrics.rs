//! Counters of a server, as it exposes them.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use crate::client::Client;

/// Every series with its value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts(BTreeMap<String, f64>);

impl Counts {
    /// Reads the text format; what is no series is left out.
    pub(crate) fn parse(text: &str) -> Self {
        let series = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (name, value) = line.trim().rsplit_once(' ')?;
                Some((name.to_owned(), value.parse().ok()?))
            });
        Self(series.collect())
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds another's, series by series.
    pub(crate) fn add(&mut self, other: Self) {
        for (series, value) in other.0 {
            *self.0.entry(series).or_default() += value;
        }
    }

    /// The sum of the series of this name.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let is_it = |series: &str| series.split('{').next() == Some(name);
        self.sum_of(is_it)
    }

    /// The sum of the series of this name that have this label.
    pub(crate) fn labelled(&self, name: &str, label: &str, value: &str) -> f64 {
        let wanted = format!("{label}=\"{value}\"");
        let is_it =
            |series: &str| series.split('{').next() == Some(name) && series.contains(&wanted);
        self.sum_of(is_it)
    }

    fn sum_of(&self, is_it: impl Fn(&str) -> bool) -> f64 {
        let series = self.0.iter().filter(|(series, _)| is_it(series));
        // The sum of no floats is -0.
        0.0 + series.map(|(_, value)| value).sum::<f64>()
    }

    /// What has been added since.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let added = self.0.iter().map(|(series, value)| {
            let earlier = before.0.get(series).copied().unwrap_or(0.0);
            (series.clone(), value - earlier)
        });
        Self(added.filter(|(_, value)| *value != 0.0).collect())
    }
}

/// Requests that an API server has answered, by verb and resource: `POST pods/binding`. Those that last, and those
/// that an API server sends itself, are left out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests(BTreeMap<String, f64>);

impl Requests {
    /// Asks the server.
    pub(crate) async fn of(client: &Client) -> Result<Self> {
        let text = client.get_bytes("/metrics").await?;
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> Self {
        let mut all = BTreeMap::new();
        for line in text
            .lines()
            .filter(|line| line.starts_with("apiserver_request_total{"))
        {
            let label = |name: &str| -> &str {
                let after = line
                    .split_once(&format!("{name}=\""))
                    .map_or("", |(_, after)| after);
                after.split('"').next().unwrap_or_default()
            };
            let (verb, resource) = (label("{verb").max(label(",verb")), label(",resource"));
            let own = [
                "leases",
                "",
                "apiservices",
                // Admission asks for those of a namespace that it has not seen lately.
                "limitranges",
                "flowschemas",
                "prioritylevelconfigurations",
            ];
            if own.contains(&resource) || ["WATCH", "CONNECT"].contains(&verb) {
                continue;
            }
            let name = match label("subresource") {
                "" => format!("{verb} {resource}"),
                sub => format!("{verb} {resource}/{sub}"),
            };
            let value = line
                .rsplit_once(' ')
                .and_then(|(_, value)| value.parse::<f64>().ok());
            *all.entry(name).or_default() += value.unwrap_or(0.0);
        }
        Self(all)
    }

    /// What has been added since.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let added = self.0.iter().map(|(name, value)| {
            let earlier = before.0.get(name).copied().unwrap_or(0.0);
            (name.clone(), value - earlier)
        });
        Self(added.filter(|(_, value)| *value > 0.0).collect())
    }

    /// How many were of these.
    pub(crate) fn of_kind(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// How many there were.
    pub(crate) fn total(&self) -> f64 {
        self.0.values().sum()
    }

    /// For the report.
    pub(crate) fn json(&self) -> Value {
        json!(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_verb_resource_and_subresource() {
        let text = r#"apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="binding",verb="POST",version="v1"} 4
apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="",verb="POST",version="v1"} 3
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="cluster",subresource="",verb="WATCH",version="v1"} 9
"#;
        let requests = Requests::parse(text);
        assert!((requests.of_kind("POST pods/binding") - 4.0).abs() < 1e-9);
        assert!((requests.total() - 7.0).abs() < 1e-9);
    }

    #[test]
    fn series_are_summed_by_name_and_label() {
        let counts = Counts::parse(
            "# HELP a\na_total{side=\"host\"} 2\na_total{side=\"virtual\"} 3\nab 9\n",
        );
        assert!((counts.sum("a_total") - 5.0).abs() < 1e-9);
        assert!((counts.labelled("a_total", "side", "host") - 2.0).abs() < 1e-9);
    }
}
