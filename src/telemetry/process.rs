//! What the kernel knows of this process, under Prometheus's usual names. Linux only; elsewhere nothing.

use prometheus::proto::MetricFamily;
use prometheus::{Gauge, core::Collector, core::Desc};

/// Ticks a second of `/proc/self/stat`: fixed at 100 by Linux's interface to user space.
const TICKS_PER_SECOND: f64 = 100.0;
const PAGE_BYTES: f64 = 4096.0;

/// Reads `/proc/self` when metrics are gathered.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    cpu_seconds: Gauge,
    resident_bytes: Gauge,
    open_fds: Gauge,
    threads: Gauge,
}

impl ProcessCollector {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        Ok(ProcessCollector {
            cpu_seconds: Gauge::new("process_cpu_seconds_total", "User and system CPU time spent, in seconds.")?,
            resident_bytes: Gauge::new("process_resident_memory_bytes", "Resident memory, in bytes.")?,
            open_fds: Gauge::new("process_open_fds", "Open file descriptors.")?,
            threads: Gauge::new("process_threads", "Threads of the process.")?,
        })
    }

    fn gauges(&self) -> [&Gauge; 4] {
        [&self.cpu_seconds, &self.resident_bytes, &self.open_fds, &self.threads]
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges().into_iter().flat_map(|gauge| gauge.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(stat) = std::fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(parse_stat) else {
            return Vec::new();
        };
        self.cpu_seconds.set(stat.cpu_seconds);
        self.resident_bytes.set(stat.resident_bytes);
        self.threads.set(stat.threads);
        self.open_fds.set(std::fs::read_dir("/proc/self/fd").map_or(0.0, |entries| entries.count() as f64));
        self.gauges().into_iter().flat_map(|gauge| gauge.collect()).collect()
    }
}

#[derive(Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    resident_bytes: f64,
    threads: f64,
}

/// Fields 14, 15, 20 and 24 of proc(5), counted after the parenthesised name.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at - 3)?.parse::<f64>().ok();
    Some(Stat {
        cpu_seconds: (number(14)? + number(15)?) / TICKS_PER_SECOND,
        resident_bytes: number(24)? * PAGE_BYTES,
        threads: number(20)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets_does_not_shift_the_fields() {
        let text =
            "42 (a) b) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 7 0 100 200000 11 18446744073709551615 0 0";
        let expected = Stat { cpu_seconds: 2.0, resident_bytes: 45056.0, threads: 7.0 };
        assert_eq!(parse_stat(text), Some(expected));
        assert_eq!(parse_stat("garbage"), None);
    }
}
