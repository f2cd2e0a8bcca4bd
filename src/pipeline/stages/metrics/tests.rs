use super::*;
use crate::pipeline::testing::{build_with, check_error, entry, metrics, yaml};
use prometheus::{Encoder, TextEncoder};

/// What `/metrics` shows after these lines, without comments.
fn counted(stages: &str, entries: &[(&[(&str, &str)], &str)]) -> Vec<String> {
    let metrics = metrics();
    let (mut pipeline, _) = build_with(stages, &metrics).expect("good");
    let mut batch = entries.iter().map(|(labels, line)| entry(labels, line)).collect();
    pipeline.run(&mut batch, &mut Context::new(0));
    let mut text = Vec::new();
    TextEncoder::new().encode(&metrics.custom.families(), &mut text).expect("encodes");
    let text = String::from_utf8(text).expect("text");
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn counters_gauges_and_histograms() {
    let stages = r#"
- logfmt: {mapping: {app: , payload: , wait: }}
- metrics:
    loki_total: {type: Counter, description: "uniq", source: app, prefix: my_, config: {value: loki, action: inc}}
    lines_total: {type: Counter, config: {match_all: true, action: inc}}
    line_bytes: {type: Counter, config: {match_all: true, count_entry_bytes: true, action: add}}
    payload_total: {type: counter, source: payload, config: {action: add}}
    payload_now: {type: Gauge, source: payload, config: {action: set}}
    payload_sub: {type: Gauge, source: payload, config: {action: sub}}
    wait_seconds: {type: Histogram, source: wait, config: {buckets: [1, 0.5]}}
"#;
    let lines: [(&[(&str, &str)], &str); 3] = [
        (&[("job", "j"), ("__hidden", "x")], "app=loki payload=10 wait=300ms"),
        (&[("job", "j"), ("__hidden", "x")], "app=other payload=20.5 wait=0.75"),
        (&[("job", "k")], "wait=nothing payload=-1"),
    ];
    assert_eq!(
        counted(stages, &lines),
        [
            r#"my_loki_total{job="j"} 1"#,
            r#"promtail_custom_line_bytes{job="j"} 62"#,
            r#"promtail_custom_line_bytes{job="k"} 23"#,
            r#"promtail_custom_lines_total{job="j"} 2"#,
            r#"promtail_custom_lines_total{job="k"} 1"#,
            r#"promtail_custom_payload_now{job="j"} 20.5"#,
            r#"promtail_custom_payload_now{job="k"} -1"#,
            r#"promtail_custom_payload_sub{job="j"} -30.5"#,
            r#"promtail_custom_payload_sub{job="k"} 1"#,
            r#"promtail_custom_payload_total{job="j"} 30.5"#,
            r#"promtail_custom_wait_seconds_bucket{job="j",le="0.5"} 1"#,
            r#"promtail_custom_wait_seconds_bucket{job="j",le="1"} 2"#,
            r#"promtail_custom_wait_seconds_bucket{job="j",le="+Inf"} 2"#,
            r#"promtail_custom_wait_seconds_sum{job="j"} 1.05"#,
            r#"promtail_custom_wait_seconds_count{job="j"} 2"#,
        ]
    );
}

#[test]
fn a_filter_counts_what_it_says() {
    let stages = r#"
- logfmt: {mapping: {level: }}
- metrics: {errors: {type: Counter, source: level, config: {action: inc, value: "1", match_all: false, filter: 'level == "error"'}}}
"#;
    assert_eq!(
        counted(stages, &[(&[], "level=error"), (&[], "level=info"), (&[], "level=error")]),
        ["promtail_custom_errors 2"]
    );
    assert!(build_with(stages, &metrics()).expect("good").1[0].contains("Promtail ignores `filter`"));
}

#[test]
fn idle_series_go() {
    use crate::types::time::{Clock, UnixNanos};
    let clock = Clock::manual(UnixNanos(0));
    let metrics = crate::pipeline::PipelineMetrics::new(clock.clone());
    let stages = "- metrics: {n: {type: Counter, max_idle_duration: 10s, config: {action: inc, match_all: true}}}";
    let (mut pipeline, _) = build_with(stages, &metrics).expect("good");
    pipeline.run(&mut vec![entry(&[], "x")], &mut Context::new(0));
    clock.set(UnixNanos(9_000_000_000));
    assert_eq!(metrics.custom.families().len(), 1);
    clock.set(UnixNanos(10_000_000_000));
    assert_eq!((metrics.custom.families().len(), metrics.custom.families().len()), (1, 0));
}

#[test]
fn refused() {
    let check = |config: &str, words: &str| {
        yaml(config);
        check_error(&format!("- metrics: {{m: {config}}}"), &format!("invalid metrics stage config: {words}"));
    };
    check_error("- metrics:", "invalid metrics stage config: empty metric stage configuration");
    check(
        "{type: Piplne}",
        "invalid metric type 'piplne', metric type must be one of 'counter', 'gauge', or 'histogram'",
    );
    check(
        "{type: Counter, max_idle_duration: 10f}",
        "max_idle_duration could not be parsed as a time.Duration: 'time: unknown unit \"f\" in duration \"10f\"'",
    );
    check("{type: Counter, max_idle_duration: 1ms}", "max_idle_duration less than 1s not allowed");
    check("{type: Counter}", "counter action must be defined as either `inc` or `add`");
    check("{type: Counter, config: {action: del}}", "action del is not valid, action must be either `inc` or `add`");
    check(
        "{type: Counter, config: {action: inc, match_all: true, value: x}}",
        "`match_all: true` cannot be combined with `value`, please remove `match_all` or `value`",
    );
    check(
        "{type: Counter, config: {action: add, count_entry_bytes: true}}",
        "`count_entry_bytes: true` can only be set with `match_all: true`",
    );
    check(
        "{type: Counter, config: {action: inc, match_all: true, count_entry_bytes: true}}",
        "`count_entry_bytes: true` can only be used with `action: add`",
    );
    check("{type: Gauge, config: {action: }}", "gauge action must be defined as `set`, `inc`, `dec`, `add`, or `sub`");
    check(
        "{type: Gauge, config: {action: x}}",
        "action x is not valid, action must be `set`, `inc`, `dec`, `add`, or `sub`",
    );
}
