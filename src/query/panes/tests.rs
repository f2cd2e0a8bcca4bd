use proptest::prelude::*;

use super::*;

/// Straight from the definition: every window looks at every sample.
fn naive(op: RangeOp, param: f64, windows: &Windows, samples: &[(i64, f64)]) -> Vec<Option<f64>> {
    (0..windows.steps.count)
        .map(|step| {
            let end = windows.end(step);
            let mut inside: Vec<(i64, f64)> =
                samples.iter().copied().filter(|(ts, _)| end - windows.range_ns < *ts && *ts <= end).collect();
            inside.sort_by_key(|(ts, _)| *ts);
            if inside.is_empty() {
                return None;
            }
            let values: Vec<f64> = inside.iter().map(|(_, value)| *value).collect();
            let count = values.len() as f64;
            let sum: f64 = values.iter().sum();
            let mean = sum / count;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
            let range_s = windows.range_ns as f64 / 1e9;
            Some(match op {
                RangeOp::CountOverTime => count,
                RangeOp::Rate => sum / range_s,
                RangeOp::SumOverTime => sum,
                RangeOp::AvgOverTime => mean,
                RangeOp::MinOverTime => values.iter().copied().fold(f64::INFINITY, f64::min),
                RangeOp::MaxOverTime => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                RangeOp::StddevOverTime => variance.sqrt(),
                RangeOp::StdvarOverTime => variance,
                RangeOp::FirstOverTime => values[0],
                RangeOp::LastOverTime => values[values.len() - 1],
                RangeOp::QuantileOverTime => {
                    let mut sorted = values.clone();
                    sorted.sort_by(f64::total_cmp);
                    let rank = param * (count - 1.0);
                    let lower = rank.floor() as usize;
                    let upper = (lower + 1).min(sorted.len() - 1);
                    sorted[lower] * (1.0 - rank.fract()) + sorted[upper] * rank.fract()
                }
                _ => unreachable!("not drawn"),
            })
        })
        .collect()
}

fn op() -> impl Strategy<Value = (RangeOp, bool)> {
    prop_oneof![
        Just((RangeOp::CountOverTime, false)),
        Just((RangeOp::Rate, true)),
        Just((RangeOp::SumOverTime, true)),
        Just((RangeOp::AvgOverTime, true)),
        Just((RangeOp::MinOverTime, true)),
        Just((RangeOp::MaxOverTime, true)),
        Just((RangeOp::StddevOverTime, true)),
        Just((RangeOp::StdvarOverTime, true)),
        Just((RangeOp::FirstOverTime, true)),
        Just((RangeOp::LastOverTime, true)),
        Just((RangeOp::QuantileOverTime, true)),
    ]
}

proptest! {
    #[test]
    fn panes_give_what_the_definition_gives(
        (op, unwrapped) in op(),
        start in -500_i64..500, step in 1_i64..40, count in 1_usize..40, range in 1_i64..200, offset in -50_i64..50,
        times in proptest::collection::btree_set(-800_i64..2500, 0..80), seed in any::<u64>(), split in any::<u64>(), q in 0.0_f64..1.0,
    ) {
        let windows = Windows { steps: Steps { start_ns: start, step_ns: step, count }, range_ns: range, offset_ns: offset };
        let value = |ts: i64| if unwrapped { ((ts as u64 ^ seed) % 1000) as f64 / 8.0 } else { 1.0 };
        let samples: Vec<(i64, f64)> = times.iter().map(|ts| (*ts, value(*ts))).collect();
        let mut parts = [RangeState::new(op, Some(q), &windows, unwrapped), RangeState::new(op, Some(q), &windows, unwrapped)];
        // In no order, over two partitions.
        let mut shuffled = samples.clone();
        shuffled.sort_by_key(|(ts, _)| (*ts as u64).wrapping_mul(seed | 1));
        for (ts, value) in &shuffled {
            parts[((*ts as u64 ^ split) % 2) as usize].add(0, *ts, *value);
        }
        let [mut one, two] = parts;
        one.merge(two, &[0]);
        let expected = naive(op, q, &windows, &samples);
        let finished = one.finish();
        let got = |step: usize| finished.first().and_then(|(_, values, present)| present.get(step).then(|| values[step]));
        for (step, expected) in expected.iter().enumerate() {
            let same = match (expected, got(step)) {
                (None, None) => true,
                (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(1.0),
                _ => false,
            };
            prop_assert!(same, "{op:?} at step {step}: {:?} instead of {expected:?}", got(step));
        }
    }

    #[test]
    fn a_sorted_run_counts_as_its_rows(start in -500_i64..500, step in 1_i64..40, count in 1_usize..40, range in 1_i64..200, mut times in proptest::collection::vec(-800_i64..2500, 0..80)) {
        times.sort_unstable();
        let windows = Windows { steps: Steps { start_ns: start, step_ns: step, count }, range_ns: range, offset_ns: 0 };
        let (mut by_row, mut by_run) = (RangeState::new(RangeOp::CountOverTime, None, &windows, false), RangeState::new(RangeOp::CountOverTime, None, &windows, false));
        times.iter().for_each(|ts| by_row.add(0, *ts, 1.0));
        by_run.add_sorted_run(0, &times);
        prop_assert_eq!(by_row.finish(), by_run.finish());
    }
}

#[test]
fn a_counter_with_a_reset() {
    let second = 1_000_000_000;
    let windows = Windows {
        steps: Steps { start_ns: 60 * second, step_ns: second, count: 1 },
        range_ns: 60 * second,
        offset_ns: 0,
    };
    let mut state = RangeState::new(RangeOp::RateCounter, None, &windows, true);
    for (at, value) in [(10, 5.0), (20, 15.0), (30, 3.0), (40, 13.0), (50, 23.0)] {
        state.add(0, at * second, value);
    }
    // 33 in 40 s, and 5/33 of these 40 s back to zero, and 10 s to the end.
    let expected = 33.0 * ((40.0 + 40.0 * 5.0 / 33.0 + 10.0) / 40.0) / 60.0;
    let finished = state.finish();
    assert!((finished[0].1[0] - expected).abs() < 1e-12, "{} instead of {expected}", finished[0].1[0]);
}

#[test]
fn absence() {
    let windows = Windows { steps: Steps { start_ns: 10, step_ns: 10, count: 4 }, range_ns: 10, offset_ns: 0 };
    let mut state = RangeState::new(RangeOp::AbsentOverTime, None, &windows, false);
    state.add(0, 15, 1.0);
    state.add(1, 31, 1.0);
    let finished = state.finish();
    assert_eq!(finished[0].2.ones().collect::<Vec<_>>(), [0, 2]);
    let matcher = |name: &str, op, value: &str| Matcher { name: name.to_owned(), op, value: value.to_owned() };
    let labels = absent_labels(&[
        matcher("a", MatchOp::Equal, "b"),
        matcher("c", MatchOp::Regex, "d"),
        matcher("e", MatchOp::Equal, "f"),
        matcher("e", MatchOp::NotEqual, "g"),
    ]);
    assert_eq!(labels.to_string(), r#"{a="b"}"#);
}
