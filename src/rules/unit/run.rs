//! Runs the tests of a file.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compare::{Item, difference};
use super::file::{ExprTest, Test, TestFile, read_tests};
use super::input::{push_body, samples, series_labels};
use super::world::World;
use crate::rules::alerts::AlertState;
use crate::rules::directory::read_file;
use crate::rules::expr::RuleExpr;
use crate::rules::group::{GroupRound, GroupTask, Outcome, Surroundings};
use crate::rules::journal::Journal;
use crate::rules::model::RuleGroup;
use crate::rules::notify::{Notifier, NotifierSettings};
use crate::rules::states::States;
use crate::rules::view::Mode;
use crate::telemetry::metrics::Metrics;
use crate::types::labels::Labels;
use crate::types::sample::SampleSink;
use crate::types::time::UnixNanos;
use crate::types::units::GoDuration;

/// Evaluations of one group in one test.
const EVALUATIONS_MAX: i64 = 1_000_000;

/// What came of a file.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    pub tests: usize,
    pub checks: usize,
    /// One text a failed check.
    pub failures: Vec<String>,
}

/// Runs a test file. Must be called within a runtime of several threads.
///
/// # Errors
/// When the file or a rule file cannot be read.
pub async fn run_file(path: &Path) -> Result<Report, String> {
    let at_fault = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| at_fault(&error))?;
    let file = read_tests(&text).map_err(|error| at_fault(&error))?;
    let groups = load_groups(path, &file)?;
    let interval = file.evaluation_interval.filter(|interval| interval.0 > 0).unwrap_or(GoDuration::from_secs(60));
    let mut report = Report::default();
    for (number, test) in file.tests.iter().enumerate() {
        report.tests += 1;
        let name = test.name.clone().unwrap_or_else(|| format!("test {}", number + 1));
        match run_test(test, &groups, interval).await {
            Ok(outcome) => {
                report.checks += outcome.checks;
                report.failures.extend(outcome.failures.into_iter().map(|failure| format!("{name}: {failure}")));
            }
            Err(error) => report.failures.push(format!("{name}: {error}\n")),
        }
    }
    Ok(report)
}

fn load_groups(path: &Path, file: &TestFile) -> Result<Vec<(String, Arc<RuleGroup>)>, String> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut groups = Vec::new();
    for pattern in &file.rule_files {
        let mut found: Vec<PathBuf> = glob::glob(&directory.join(pattern).to_string_lossy())
            .map_err(|error| format!("rule_files: {pattern:?}: {error}"))?
            .filter_map(Result::ok)
            .collect();
        found.sort();
        if found.is_empty() {
            return Err(format!("rule_files: {} is not there", directory.join(pattern).display()));
        }
        for path in found {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let rules = read_file(&path).map_err(|error| error.to_string())?;
            groups.extend(rules.groups.into_iter().map(|group| (name.clone(), group)));
        }
    }
    let rank =
        |group: &RuleGroup| file.group_eval_order.iter().position(|name| *name == group.name).unwrap_or(usize::MAX);
    if let Some(unknown) =
        file.group_eval_order.iter().find(|name| !groups.iter().any(|(_, group)| group.name == **name))
    {
        return Err(format!("group_eval_order: there is no group {unknown:?}"));
    }
    groups.sort_by_key(|(_, group)| rank(group));
    Ok(groups)
}

async fn run_test(
    test: &Test,
    groups: &[(String, Arc<RuleGroup>)],
    evaluation_interval: GoDuration,
) -> Result<Report, String> {
    let world = World::new()?;
    let interval = test.interval.filter(|interval| interval.0 > 0).unwrap_or(evaluation_interval);
    for series in &test.input_series {
        world.samples.append(&world.tenant, samples(series, interval)?).map_err(|error| error.to_string())?;
    }
    world.push(&push_body(&test.input_streams)?)?;
    let scratch = Scratch::new()?;
    let surroundings = surroundings(&world, test, &scratch)?;
    let mut tasks: Vec<(i64, GroupTask)> = Vec::new();
    for (namespace, group) in groups {
        let every = group.interval.unwrap_or(evaluation_interval).0.max(1_000_000);
        let modes = group.rules.iter().map(|_| Mode::Asked("a test".to_owned())).collect();
        let (tenant, surroundings) = (world.tenant.clone(), surroundings.clone());
        tasks.push((every, GroupTask::new(tenant, namespace, group.clone(), every, modes, surroundings)));
    }
    let mut report = Report::default();
    let times = test.alert_rule_test.iter().map(|alert| alert.eval_time);
    let times = times.chain(test.promql_expr_test.iter().chain(&test.logql_expr_test).map(|expr| expr.eval_time));
    let mut times: Vec<i64> = times.map(|time| time.0).collect();
    times.sort_unstable();
    times.dedup();
    let mut next = vec![0_i64; tasks.len()];
    for time in times {
        evaluate_until(&world, &mut tasks, &mut next, time).await?;
        check_alerts(test, time, &tasks, &mut report);
        for (language, expr) in test
            .promql_expr_test
            .iter()
            .map(|expr| ("promql", expr))
            .chain(test.logql_expr_test.iter().map(|expr| ("logql", expr)))
        {
            if expr.eval_time.0 == time {
                report.checks += 1;
                if let Err(failure) = check_expr(&world, language, expr).await {
                    report.failures.push(failure);
                }
            }
        }
    }
    Ok(report)
}

/// Makes all evaluations up to and with `until`, in the order of time and then of groups.
async fn evaluate_until(
    world: &World,
    tasks: &mut [(i64, GroupTask)],
    next: &mut [i64],
    until: i64,
) -> Result<(), String> {
    loop {
        let Some(at) = next.iter().copied().filter(|at| *at <= until).min() else { return Ok(()) };
        for ((every, task), next) in tasks.iter_mut().zip(next.iter_mut()) {
            if *next != at {
                continue;
            }
            if at / *every > EVALUATIONS_MAX {
                return Err(format!("more than {EVALUATIONS_MAX} evaluations: lengthen evaluation_interval"));
            }
            world.clock.set(UnixNanos(at));
            let rules = task.rules();
            let outcomes = (0..rules).map(|_| Outcome::Ask).collect();
            task.evaluate(GroupRound { at: UnixNanos(at), is_aligned: true, outcomes, seconds: vec![0.0; rules] })
                .await;
            *next += *every;
        }
    }
}

fn check_alerts(test: &Test, time: i64, tasks: &[(i64, GroupTask)], report: &mut Report) {
    for alert in test.alert_rule_test.iter().filter(|alert| alert.eval_time.0 == time) {
        report.checks += 1;
        let expected = alert.exp_alerts.iter().map(|expected| {
            let name = ("alertname".to_owned(), alert.alertname.clone());
            Item {
                labels: Labels::from_pairs(expected.exp_labels.clone().into_iter().chain([name])),
                value: None,
                annotations: expected.exp_annotations.clone(),
            }
        });
        let mut got = Vec::new();
        let mut errors = Vec::new();
        for (_, task) in tasks {
            let view = task.view();
            let view = view.lock();
            errors.extend(view.rules.iter().map(|rule| rule.last_error.clone()).filter(|error| !error.is_empty()));
            for rule in &view.rules {
                let firing = rule.alerts.iter().filter(|alert| alert.state == AlertState::Firing);
                got.extend(firing.filter(|known| known.labels.get("alertname") == Some(&alert.alertname)).map(
                    |alert| {
                        let annotations = alert.annotations.iter();
                        Item {
                            labels: alert.labels.clone(),
                            value: None,
                            annotations: annotations.map(|(name, text)| (name.to_owned(), text.to_owned())).collect(),
                        }
                    },
                ));
            }
        }
        if let Some(lines) = difference(expected.collect(), got) {
            let mut failure = format!("alertname {} at {}:\n{lines}", alert.alertname, alert.eval_time);
            errors.iter().for_each(|error| {
                let _ = writeln!(failure, "      (a rule failed: {error})");
            });
            report.failures.push(failure);
        }
    }
}

async fn check_expr(world: &World, language: &str, test: &ExprTest) -> Result<(), String> {
    let what = format!("{} at {}:", test.expr.trim(), test.eval_time);
    let expr = match (language, RuleExpr::parse(&test.expr)) {
        ("promql", _) => RuleExpr::PromQl(test.expr.clone()),
        (_, Ok(expr @ RuleExpr::LogQl(_))) => expr,
        (_, Ok(RuleExpr::PromQl(_))) => return Err(format!("{what} this is PromQL: use promql_expr_test\n")),
        (_, Err(error)) => return Err(format!("{what} {error}\n")),
    };
    let at = UnixNanos(test.eval_time.0);
    let samples = world.asker.ask(&world.tenant, &expr, at).await.map_err(|error| format!("{what} {error}\n"))?;
    let item = |labels, value| Item { labels, value: Some(value), annotations: BTreeMap::new() };
    let mut expected = Vec::new();
    for sample in &test.exp_samples {
        let labels = series_labels(&sample.labels).map_err(|error| format!("{what} {error}\n"))?;
        expected.push(item(labels, sample.value));
    }
    let got = samples.into_iter().map(|(labels, value)| item(labels, value)).collect();
    match difference(expected, got) {
        None => Ok(()),
        Some(lines) => Err(format!("{what}\n{lines}")),
    }
}

fn surroundings(world: &World, test: &Test, scratch: &Scratch) -> Result<Surroundings, String> {
    let metrics = Metrics::new().rules.clone();
    let settings = NotifierSettings {
        managers: Vec::new(),
        client: Default::default(),
        queue_alerts_max: 1,
        timeout: std::time::Duration::from_secs(1),
    };
    let sink: Arc<dyn SampleSink> = world.samples.clone();
    Ok(Surroundings {
        asker: world.asker.clone(),
        states: Arc::new(States::open(Journal::new(scratch.0.clone()), sink.clone())),
        sink,
        notifier: Arc::new(Notifier::new(&settings, metrics.clone())?),
        metrics,
        clock: world.clock.clone(),
        external_labels: test.external_labels.clone(),
        external_url: test.external_url.clone(),
        datasource_uid: String::new(),
        resend_ns: 60_000_000_000,
    })
}

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch, String> {
        let path = std::env::temp_dir().join(format!("millrace-rules-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
