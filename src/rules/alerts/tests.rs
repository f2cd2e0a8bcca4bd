use super::*;

const MINUTE: i64 = 60_000_000_000;

fn sample(name: &str, value: f64) -> Rendered {
    Rendered { labels: Labels::from_pairs([("a", name)]), annotations: Labels::default(), value }
}

/// Each step is (minute, half minutes on, aligned, alerts that are true); answers the states after each.
fn run(holds: Holds, steps: &[(i64, i64, bool, &[&str])]) -> Vec<String> {
    let mut alerts = Alerts::default();
    let mut seen = Vec::new();
    for (minute, half, is_aligned, active) in steps {
        let at = UnixNanos(minute * MINUTE + half * MINUTE / 2);
        let samples = active.iter().map(|name| sample(name, 1.0)).collect();
        alerts.judge(at, *is_aligned, samples, holds).expect("labels differ");
        let states = alerts
            .iter()
            .map(|alert| format!("{}:{}", alert.labels.get("a").unwrap_or_default(), alert.state.as_str()));
        seen.push(states.collect::<Vec<_>>().join(" "));
    }
    seen
}

#[test]
fn alerts_rise_and_fall() {
    let check = |hold_m: i64, keep_m: i64, steps: &[(i64, i64, bool, &[&str])], expected: &[&str]| {
        let holds = Holds { hold_ns: hold_m * MINUTE, keep_firing_ns: keep_m * MINUTE };
        assert_eq!(run(holds, steps), expected, "for {hold_m}m, keep {keep_m}m, {steps:?}");
    };
    // At once, and resolved; remembered for a quarter of an hour.
    check(
        0,
        0,
        &[(1, 0, true, &["x"]), (2, 0, true, &[]), (17, 0, true, &[]), (18, 0, true, &[])],
        &["x:firing", "x:inactive", "x:inactive", ""],
    );
    // Held for two minutes; a pending one that ends leaves nothing.
    check(
        2,
        0,
        &[(1, 0, true, &["x", "y"]), (2, 0, true, &["x"]), (3, 0, true, &["x"]), (4, 0, true, &["y"])],
        &["x:pending y:pending", "x:pending", "x:firing", "x:inactive y:pending"],
    );
    // Between intervals alerts rise and do not fall.
    check(
        1,
        0,
        &[(1, 1, false, &["x"]), (2, 0, true, &["x"]), (2, 1, false, &["x"]), (2, 1, false, &[]), (3, 0, true, &[])],
        &["x:pending", "x:pending", "x:firing", "x:firing", "x:inactive"],
    );
    check(0, 0, &[(1, 1, false, &["x"]), (2, 0, true, &[])], &["x:firing", "x:inactive"]);
    // Kept firing for two minutes after the condition ended, from the beginning again when it came back.
    check(
        0,
        2,
        &[
            (1, 0, true, &["x"]),
            (2, 0, true, &[]),
            (3, 0, true, &["x"]),
            (4, 0, true, &[]),
            (5, 0, true, &[]),
            (6, 0, true, &[]),
        ],
        &["x:firing", "x:firing", "x:firing", "x:firing", "x:firing", "x:inactive"],
    );
    // Resolved and true again: pending anew.
    check(
        1,
        0,
        &[(1, 0, true, &["x"]), (2, 0, true, &["x"]), (3, 0, true, &[]), (4, 0, true, &["x"])],
        &["x:pending", "x:firing", "x:inactive", "x:pending"],
    );
}

#[test]
fn what_is_sent_and_when() {
    let mut alerts = Alerts::default();
    let holds = Holds { hold_ns: MINUTE, keep_firing_ns: 0 };
    let judge = |alerts: &mut Alerts, minute: i64, active: bool| {
        let samples = if active { vec![sample("x", 1.0)] } else { Vec::new() };
        alerts.judge(UnixNanos(minute * MINUTE), true, samples, holds).expect("labels differ");
    };
    let sent = |alerts: &mut Alerts, minute: i64| {
        let due = alerts.take_due(UnixNanos(minute * MINUTE + 1), 2 * MINUTE);
        due.iter().map(|alert| alert.state.as_str()).collect::<Vec<_>>().join(" ")
    };
    judge(&mut alerts, 1, true);
    assert_eq!(sent(&mut alerts, 1), "");
    judge(&mut alerts, 2, true);
    assert_eq!(sent(&mut alerts, 2), "firing");
    assert_eq!(sent(&mut alerts, 3), "");
    assert_eq!(sent(&mut alerts, 4), "firing");
    judge(&mut alerts, 4, false);
    // At once, though the wall says that it was sent after it ended.
    assert_eq!(sent(&mut alerts, 4), "inactive");
    assert_eq!(sent(&mut alerts, 5), "");
    assert_eq!(sent(&mut alerts, 7), "inactive");
}

#[test]
fn equal_labels_change_nothing() {
    let mut alerts = Alerts::default();
    let twice = vec![sample("x", 1.0), sample("x", 2.0)];
    assert!(alerts.judge(UnixNanos(0), true, twice, Holds::default()).is_err());
    assert_eq!(alerts, Alerts::default());
}
