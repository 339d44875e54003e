//! What sync spends on virtual clusters, as a table, JSON and YAML. The latter two are a stable contract: fields are
//! added, never renamed or removed.

use serde::Serialize;
use vcluster_client::proto::sync::v1::{Tenant, TenantState, Traffic};

use super::format::{self, Format, table};
use crate::failure::Result;

/// What one virtual cluster costs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spent {
    name: String,
    host_namespace: String,
    state: &'static str,
    message: String,
    cpu_seconds: f64,
    objects: i64,
    queued: i64,
    retrying: i64,
    #[serde(rename = "virtual")]
    virtual_: Side,
    host: Side,
}

/// To and from one API server.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Side {
    requests: i64,
    writes: i64,
    bytes_sent: i64,
    bytes_received: i64,
    watches: i64,
}

impl Side {
    fn new(traffic: Option<Traffic>, writes: i64) -> Self {
        let traffic = traffic.unwrap_or_default();
        Self {
            requests: traffic.requests,
            writes,
            bytes_sent: traffic.bytes_sent,
            bytes_received: traffic.bytes_received,
            watches: traffic.watches,
        }
    }
}

impl From<Tenant> for Spent {
    fn from(tenant: Tenant) -> Self {
        let state = match tenant.state() {
            TenantState::Unspecified => "Unknown",
            TenantState::Starting => "Starting",
            TenantState::Synced => "Synced",
            TenantState::Frozen => "Frozen",
            TenantState::Draining => "Draining",
        };
        let bill = tenant.bill.unwrap_or_default();
        let cpu = bill.cpu_time.unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
        let cpu_seconds = cpu.seconds as f64 + f64::from(cpu.nanos) / 1e9;
        Self {
            name: tenant.name,
            host_namespace: tenant.host_namespace,
            state,
            message: tenant.message,
            cpu_seconds,
            objects: tenant.kinds.iter().map(|kind| kind.objects).sum(),
            queued: tenant.queued,
            retrying: tenant.retrying,
            virtual_: Side::new(bill.r#virtual, tenant.virtual_writes),
            host: Side::new(bill.host, tenant.host_writes),
        }
    }
}

#[derive(Debug, Serialize)]
struct List {
    items: Vec<Spent>,
}

/// Several of them.
pub(crate) fn text(items: Vec<Spent>, form: Format) -> Result<String> {
    match form {
        Format::Json => format::json(&List { items }),
        Format::Yaml => format::yaml(&List { items }),
        Format::Name => {
            let names = items
                .iter()
                .map(|one| format!("{}/{}\n", one.host_namespace, one.name));
            Ok(names.collect())
        }
        Format::Table | Format::Wide => Ok(rows(&items, form == Format::Wide)),
    }
}

fn rows(items: &[Spent], wide: bool) -> String {
    let mut header = vec![
        "NAME",
        "HOST NAMESPACE",
        "STATE",
        "CPU",
        "REQUESTS",
        "SENT",
        "RECEIVED",
        "WATCHES",
        "OBJECTS",
    ];
    if wide {
        header.extend([
            "QUEUED",
            "RETRYING",
            "HOST WRITES",
            "VIRTUAL WRITES",
            "MESSAGE",
        ]);
    }
    let rows = items.iter().map(|one| {
        let both = |of: fn(&Side) -> i64| of(&one.virtual_) + of(&one.host);
        let mut row = vec![
            one.name.clone(),
            one.host_namespace.clone(),
            one.state.to_owned(),
            format!("{:.2}s", one.cpu_seconds),
            both(|side| side.requests).to_string(),
            bytes(both(|side| side.bytes_sent)),
            bytes(both(|side| side.bytes_received)),
            both(|side| side.watches).to_string(),
            one.objects.to_string(),
        ];
        if wide {
            row.extend([
                one.queued.to_string(),
                one.retrying.to_string(),
                one.host.writes.to_string(),
                one.virtual_.writes.to_string(),
                one.message.clone(),
            ]);
        }
        row
    });
    table(&header, rows)
}

/// With a binary unit: `512B`, `3.4Ki`, `12Mi`.
fn bytes(count: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "rounded for people anyway")]
    let mut amount = count as f64;
    if amount < 1024.0 {
        return format!("{count}B");
    }
    for unit in ["Ki", "Mi", "Gi"] {
        amount /= 1024.0;
        if amount < 10.0 {
            return format!("{amount:.1}{unit}");
        }
        if amount < 1024.0 {
            return format!("{amount:.0}{unit}");
        }
    }
    format!("{:.0}Ti", amount / 1024.0)
}

#[cfg(test)]
mod tests {
    use vcluster_client::proto::sync::v1::Bill;

    use super::*;

    #[test]
    fn both_sides_are_added_up_for_people() {
        let tenant = Tenant {
            name: "demo".to_owned(),
            host_namespace: "team-a".to_owned(),
            state: TenantState::Synced.into(),
            bill: Some(Bill {
                cpu_time: Some(prost_types::Duration {
                    seconds: 12,
                    nanos: 340_000_000,
                }),
                r#virtual: Some(Traffic {
                    requests: 10,
                    bytes_sent: 1000,
                    bytes_received: 5 << 20,
                    watches: 9,
                }),
                host: Some(Traffic {
                    requests: 5,
                    bytes_sent: 3000,
                    bytes_received: 0,
                    watches: 0,
                }),
            }),
            ..Tenant::default()
        };
        let table = text(vec![tenant.into()], Format::Table).unwrap();
        insta::assert_snapshot!(table, @r"
        NAME   HOST NAMESPACE   STATE    CPU      REQUESTS   SENT    RECEIVED   WATCHES   OBJECTS
        demo   team-a           Synced   12.34s   15         3.9Ki   5.0Mi      9         0
        ");
    }
}
