//! Memory, file descriptors and processor time of this process, read from `/proc` at each scrape.
//!
//! Names and units are those that Prometheus' client libraries agreed on. What cannot be read is left
//! out; a scrape never fails for it.

use std::fmt;
use std::fs;

use prometheus_client::collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Reads the process' own figures at each scrape.
#[derive(Debug, Clone, Copy)]
pub struct Collector;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Usage {
    cpu_seconds: f64,
    threads: i64,
    resident_bytes: i64,
    virtual_bytes: i64,
}

impl collector::Collector for Collector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(usage) = usage() {
            counter(
                &mut encoder,
                "process_cpu_seconds",
                "User and system time",
                usage.cpu_seconds,
            )?;
            gauge(&mut encoder, "process_threads", "Threads", usage.threads)?;
            let resident = usage.resident_bytes;
            gauge(
                &mut encoder,
                "process_resident_memory_bytes",
                "Memory in RAM",
                resident,
            )?;
            let mapped = usage.virtual_bytes;
            gauge(
                &mut encoder,
                "process_virtual_memory_bytes",
                "Memory mapped",
                mapped,
            )?;
        }
        if let Some(open) = open_files() {
            gauge(
                &mut encoder,
                "process_open_fds",
                "Open file descriptors",
                open,
            )?;
        }
        if let Some(limit) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            gauge(
                &mut encoder,
                "process_max_fds",
                "Limit of open file descriptors",
                limit,
            )?;
        }
        Ok(())
    }
}

fn usage() -> Option<Usage> {
    parse_stat(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// Parses `/proc/self/stat` (proc_pid_stat(5)).
fn parse_stat(stat: &str) -> Option<Usage> {
    // The command stands in parentheses and may hold spaces and parentheses itself: cut at the last.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    // Field n of the manual stands at n - 3: the first two are cut off, and counting begins at one.
    let field = |number: usize| fields.get(number - 3)?.parse::<i64>().ok();
    let ticks = u32::try_from(field(14)? + field(15)?).ok()?;
    let page = i64::try_from(rustix::param::page_size()).ok()?;
    Some(Usage {
        cpu_seconds: f64::from(ticks) / ticks_per_second(),
        threads: field(20)?,
        virtual_bytes: field(23)?,
        resident_bytes: field(24)?.saturating_mul(page),
    })
}

fn ticks_per_second() -> f64 {
    u32::try_from(rustix::param::clock_ticks_per_second()).map_or(100.0, f64::from)
}

fn open_files() -> Option<i64> {
    // The listing itself holds one descriptor open.
    let open = fs::read_dir("/proc/self/fd")
        .ok()?
        .count()
        .saturating_sub(1);
    i64::try_from(open).ok()
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: f64,
) -> Result<(), fmt::Error> {
    let metric = ConstCounter::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: i64,
) -> Result<(), fmt::Error> {
    let metric = ConstGauge::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 150 0 0 20 0 9 0 11 4096 3 1844";
        let usage = parse_stat(stat).unwrap();
        let page = i64::try_from(rustix::param::page_size()).unwrap();
        assert_eq!(
            (usage.threads, usage.virtual_bytes, usage.resident_bytes),
            (9, 4096, 3 * page)
        );
        assert!((usage.cpu_seconds - 400.0 / ticks_per_second()).abs() < 1e-9);
    }

    #[test]
    fn a_short_line_gives_nothing() {
        assert_eq!(parse_stat("7 (x) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }
}
