use super::testing::{build, build_with, check_error, entry, metrics, run, yaml};
use super::*;

#[test]
fn what_is_no_pipeline_is_refused() {
    check_error(
        "- regex",
        "invalid YAML config, make sure each stage of your pipeline is a YAML object (must end with a `:`), check stage `- regex`",
    );
    check_error("- {docker: , cri: }", "pipeline stage must contain only one key");
    check_error("- nope: {}", "invalid nope stage config: Unknown stage type: nope");
    check_error("docker: {}", "pipeline_stages must be a list of stages, not *");
    let mut deep = "[{docker: {}}]".to_owned();
    for _ in 0..DEPTH_MAX {
        deep = format!("[{{pipeline: {deep}}}]");
    }
    assert!(build_with(&deep, &metrics()).expect_err("too deep").to_string().contains("nested deeper"));
    assert_eq!(build("null").names().len(), 0);
}

#[test]
fn settings_that_do_nothing_are_noted() {
    let (_, notes) = build_with("- regex: {expression: a, sourc: b}", &metrics()).expect("good");
    assert_eq!(notes, ["regex: the setting \"sourc\" is not one of this stage's and does nothing"]);
}

#[test]
fn observers_see_every_stage() {
    #[derive(Default)]
    struct Seen(Vec<String>);
    impl Observer for Seen {
        fn after_stage(&mut self, depth: usize, stage: &str, entries: &[Entry]) {
            let lines: Vec<&str> = entries.iter().map(|entry| entry.line.as_str()).collect();
            self.0.push(format!("{depth} {stage} {}", lines.join(",")));
        }
    }
    let stages = r#"
- match: {selector: '{a="1"}', stages: [{replace: {expression: '(x)', replace: y}}]}
- drop: {expression: z}
"#;
    let mut seen = Seen::default();
    let mut batch = vec![entry(&[("a", "1")], "x"), entry(&[], "z")];
    build(stages).run(&mut batch, &mut Context::observed(0, &mut seen));
    assert_eq!(
        seen.0.iter().filter(|line| !line.ends_with(' ')).collect::<Vec<_>>(),
        ["1 replace y", "0 match y,z", "0 drop y"]
    );
}

/// The pipelines of the exercise's Promtail configuration, as it stands there.
#[test]
fn the_exercises_pipelines() {
    let config = yaml(include_str!("../../tests/configs/exercise-promtail.yaml"));
    let jobs = config["scrape_configs"].as_array().expect("jobs");
    let stages = |job: usize| serde_json::to_string(&jobs[job]["pipeline_stages"]).expect("JSON");
    let metrics = metrics();
    let (mut docker, notes) = build_with(&stages(0), &metrics).expect("the docker job's stages");
    assert_eq!(notes.len(), 2, "{notes:?}");
    let line = r#"{"time": "2025-10-23T14:32:15.123456Z","level":"error","logger":"uvicorn.access","event":"http_request","message":"User test@example.com logged in","method":"GET","status_code":200,"latency_ms":45.3,"user_id":"12345"}"#;
    let wrapped = format!(
        "{{\"log\":{},\"stream\":\"stdout\",\"time\":\"2025-10-23T14:32:16Z\"}}",
        serde_json::Value::from(format!("{line}\n"))
    );
    for given in [line.to_owned(), wrapped] {
        let out = run(&mut docker, vec![entry(&[("container", "gateway")], &given)]);
        assert_eq!(out[0].ts_ns, 1_761_229_935_123_456_000);
        assert_eq!(
            out[0].line.trim_end(),
            r#"{"time": "2025-10-23T14:32:15.123456Z","level":"error","logger":"uvicorn.access","event":"http_request","message":"User ***REDACTED_EMAIL*** logged in","method":"GET","status_code":200,"latency_ms":45.3,"user_id":"***REDACTED***"}"#
        );
        let labels: Vec<&str> =
            out[0].labels.iter().map(|(name, _)| &**name).filter(|name| *name != "stream").collect();
        assert_eq!(labels, ["container", "event", "level", "logger", "method", "status_code"]);
        let message = out[0].extracted.get("message").and_then(Value::to_text).expect("extracted");
        assert_eq!(&*message, "User ***REDACTED_EMAIL*** logged in");
    }
    let names: Vec<String> = metrics.custom.families().iter().map(|family| family.name().to_owned()).collect();
    assert_eq!(
        names,
        [
            "promtail_custom_log_errors_total",
            "promtail_custom_log_lines_total",
            "promtail_custom_request_duration_seconds_from_logs"
        ]
    );

    let mut syslog = build(&stages(2));
    let out = run(&mut syslog, vec![entry(&[], "Oct 23 14:32:15 host1 sshd[42]: Accepted key for root")]);
    assert_eq!(out[0].line, "Accepted key for root");
    assert_eq!(out[0].labels.to_string(), r#"{hostname="host1", process="sshd[42]"}"#);
    // The clock of these tests stands in 1970.
    assert_eq!(out[0].ts_ns, 25_540_335_000_000_000);
}
