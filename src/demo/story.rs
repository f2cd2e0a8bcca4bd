//! What the demo says: what happened, and where to click.

use std::io::Write;
use std::ops::Range;
use std::path::Path;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::types::time::UnixNanos;

/// Prints the story.
pub(super) fn tell(address: &str, data: &Path, lines: usize, spike: &Range<UnixNanos>) -> std::io::Result<()> {
    let base = format!("http://{address}");
    let clock = |time: UnixNanos| chrono::DateTime::from_timestamp_nanos(time.0).format("%H:%M").to_string();
    let (from, to) = (clock(spike.start), clock(spike.end));
    let explore = |query: &str| format!("{base}/#explore?q={}&range=1h", utf8_percent_encode(query, NON_ALPHANUMERIC));
    let errors = explore(r#"{service="inference-gateway", level="error"}"#);
    let rate = explore(r#"sum by (level) (rate({service="inference-gateway"}[1m]))"#);
    let latency = explore(
        r#"quantile_over_time(0.95, {service="inference-gateway"} | json | unwrap latency_ms | __error__="" [1m]) by (model_version)"#,
    );
    let mut out = std::io::stdout();
    writeln!(
        out,
        "\n\
An hour of a prediction gateway is in: {lines} lines. New ones come every second.\n\n\
1. Between {from} and {to} UTC its feature store failed. The errors of the hour:\n   {errors}\n\
2. The spike, as lines a second by level:\n   {rate}\n\
3. What users felt, the 95th percentile of the latency by model:\n   {latency}\n\
4. Open a line, press = beside trace_id: everything of that request, of both services.\n\
5. Alerts fire within half a minute: ErrorBudgetSpent, FeatureNotFoundErrors.\n   {base}/#rules\n\
6. Press Live: lines as they come. The other tabs: SQL, queries and storage.\n   {base}/#sql   {base}/#server\n\
7. Grafana: a data source of type Loki with the URL {base}; dashboards are in dashboards/.\n\n\
Everything is in {}. Ctrl-C ends the demo.\n",
        data.display()
    )?;
    out.flush()
}
