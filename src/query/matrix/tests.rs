use super::*;
use crate::logql;
use crate::logql::ast::{Expr, RangeAggregation};

const STEPS: Steps = Steps { start_ns: 0, step_ns: 1, count: 1 };

/// Series `{job, env}` with the values given, for any range aggregation.
fn leaf(_: &RangeAggregation) -> Result<Matrix, EvalError> {
    let series = [("a", "x", 1.0), ("a", "y", 2.0), ("b", "x", 3.0), ("b", "y", f64::NAN)].map(|(job, env, value)| {
        let mut series = Series::empty(Labels::from_pairs([("job", job), ("env", env)]), 1);
        series.set(0, value);
        series
    });
    Ok(Matrix { steps: STEPS, series: series.to_vec() })
}

fn check(query: &str, expected: &str) {
    let query = query.replace("V", r#"rate({app="x"}[1m])"#);
    let Ok(Expr::Metric(metric)) = logql::parse(&query) else { panic!("{query} is no metric query") };
    let text = match evaluate(&metric, &mut leaf, &STEPS) {
        Err(error) => error.to_string(),
        Ok(Evaluated::Scalar(value)) => format_sample(value),
        Ok(Evaluated::Matrix(matrix)) => {
            let samples = sorted_samples(matrix, &metric);
            let texts = samples.iter().map(|(labels, value)| format!("{labels} {}", format_sample(*value)));
            texts.collect::<Vec<_>>().join("; ")
        }
    };
    assert_eq!(text, expected, "{query}");
}

#[test]
fn aggregations() {
    check("sum by (job) (V)", r#"{job="a"} 3; {job="b"} NaN"#);
    check("sum without (job) (V)", r#"{env="x"} 4; {env="y"} NaN"#);
    check("max(V)", "{} 3");
    check("min by (job) (V)", r#"{job="a"} 1; {job="b"} 3"#);
    check("count(V)", "{} 4");
    check("avg by (job) (V)", r#"{job="a"} 1.5; {job="b"} NaN"#);
    check("stdvar by (env) (V)", r#"{env="x"} 1; {env="y"} NaN"#);
    check("topk(2, V)", r#"{env="x", job="b"} 3; {env="y", job="a"} 2"#);
    check("bottomk by (job) (1, V)", r#"{env="x", job="a"} 1; {env="x", job="b"} 3"#);
    check(
        "sort_desc(V)",
        r#"{env="x", job="b"} 3; {env="y", job="a"} 2; {env="x", job="a"} 1; {env="y", job="b"} NaN"#,
    );
}

#[test]
fn operations() {
    check("1 + 2 * 3", "7");
    check("vector(2) ^ 3", "{} 8");
    check("V > 1", r#"{env="x", job="b"} 3; {env="y", job="a"} 2"#);
    check("2 < V", r#"{env="x", job="b"} 3"#);
    check("V > bool 1", r#"{env="x", job="a"} 0; {env="x", job="b"} 1; {env="y", job="a"} 1; {env="y", job="b"} 0"#);
    check("sum by (job) (V) / 0", r#"{job="a"} NaN; {job="b"} NaN"#);
    check("sum by (env) (V > 0) / on(env) sum by (env) (V > 0)", r#"{env="x"} 1; {env="y"} 1"#);
    check(
        "(V > 0) / on(job) group_left sum by (job) (V > 0)",
        r#"{env="x", job="a"} 0.3333333333333333; {env="x", job="b"} 1; {env="y", job="a"} 0.6666666666666666"#,
    );
    check(
        "(V > 100) / on(job) (V > 0)",
        "found duplicate series on the right hand-side;many-to-many matching not allowed: matching labels must be unique on one side",
    );
    check(
        "(V > 0) > on(job) sum by (job) (V > 0)",
        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
    );
    check(
        "sum by (job) (V > 0) / on(job) (V > 0)",
        "found duplicate series on the right hand-side;many-to-many matching not allowed: matching labels must be unique on one side",
    );
    check(
        "(V > 0) / on(job) sum by (job) (V > 0)",
        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
    );
}

#[test]
fn sets() {
    check("(V > 2) or (V < 2)", r#"{env="x", job="a"} 1; {env="x", job="b"} 3"#);
    check("(V > 0) and on(job) (V > 2)", r#"{env="x", job="b"} 3"#);
    check("(V > 0) unless on(job) (V > 2)", r#"{env="x", job="a"} 1; {env="y", job="a"} 2"#);
    check("(V > 5) or vector(0)", "{} 0");
}

#[test]
fn label_replace() {
    check(r#"label_replace(V > 2, "dst", "$1-z", "job", "(.*)")"#, r#"{dst="b-z", env="x", job="b"} 3"#);
    check(r#"label_replace(V > 2, "env", "", "job", "b")"#, r#"{job="b"} 3"#);
    check(r#"label_replace(V > 2, "dst", "x", "job", "nope")"#, r#"{env="x", job="b"} 3"#);
}

#[test]
fn numbers_have_no_exponent() {
    for (value, text) in
        [(1e21, "1000000000000000000000"), (0.1, "0.1"), (1e-7, "0.0000001"), (f64::INFINITY, "+Inf"), (-3.0, "-3")]
    {
        assert_eq!(format_sample(value), text);
    }
}
