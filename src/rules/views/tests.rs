use super::*;
use crate::rules::RuleKind;

fn translated(query: &str) -> Result<ContinuousView, ViewError> {
    translate(&ContinuousViewConfig { name: "v".to_owned(), query: query.to_owned(), ..Default::default() })
}

#[test]
fn statements_become_rules() {
    let check = |query: &str, expected: &[(&str, &str)]| {
        let view = translated(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        let rules: Vec<(String, String)> = view
            .group
            .rules
            .iter()
            .map(|rule| {
                let RuleKind::Recording { metric } = &rule.kind else { panic!("all are recorded") };
                (metric.clone(), rule.text.clone())
            })
            .collect();
        let rules: Vec<(&str, &str)> = rules.iter().map(|(metric, text)| (metric.as_str(), text.as_str())).collect();
        assert_eq!(rules, expected, "{query}");
    };
    check(
        "SELECT date_bin(INTERVAL '1 minute', timestamp) AS minute, labels['service'] AS service, count(*) AS lines \
         FROM logs WHERE labels['env'] = 'prod' AND line LIKE '%timeout%' GROUP BY 1, 2",
        &[("v:lines", r#"sum by (service)(count_over_time({env="prod"} |= "timeout"[1m] offset 1ns))"#)],
    );
    check(
        "SELECT date_bin(INTERVAL '5 minutes', timestamp) AS bin, avg(json_get_float(line, 'latency_ms')) AS mean, \
         max(json_get_float(line, 'latency_ms')) AS worst FROM logs WHERE labels['a'] = 'b' GROUP BY bin",
        &[
            (
                "v:mean",
                r#"avg_over_time({a="b"} | json field_0="[\"latency_ms\"]" | drop __error__,__error_details__ | unwrap field_0 | __error__=""[5m] offset 1ns) by ()"#,
            ),
            (
                "v:worst",
                r#"max_over_time({a="b"} | json field_0="[\"latency_ms\"]" | drop __error__,__error_details__ | unwrap field_0 | __error__=""[5m] offset 1ns) by ()"#,
            ),
        ],
    );
    check(
        "SELECT date_bin(INTERVAL '1 hour', timestamp) AS hour, level, json_get_str(line, 'user', 'id') AS user, \
         count(*) AS n FROM logs WHERE labels['a'] <> 'b' AND level IN ('error', 'warn') \
         AND json_get_int(line, 'status') >= 500 GROUP BY hour, level, \"user\"",
        &[(
            "v:n",
            r#"sum by (detected_level,field_1)(count_over_time({a!="b", a!=""} | json field_0="[\"status\"]",field_1="[\"user\"][\"id\"]" | drop __error__,__error_details__ | detected_level=~"error|warn" | field_0>=500 | __error__=""[1h] offset 1ns))"#,
        )],
    );
}

#[test]
fn what_is_not_supported_is_named() {
    let check = |query: &str, expected: &str| {
        let error = translated(query).expect_err(query).to_string();
        assert!(error.contains(expected), "{query}: {error}");
    };
    let with = |rest: &str| format!("SELECT date_bin(INTERVAL '1 minute', timestamp) AS m, count(*) AS n FROM {rest}");
    check(&with("logs WHERE labels['a'] = 'b' OR labels['a'] = 'c' GROUP BY m"), "a condition");
    check(&with("logs WHERE timestamp > now() GROUP BY m"), "a condition");
    check(&with("logs GROUP BY m HAVING count(*) > 1"), "HAVING");
    check(&with("logs GROUP BY m ORDER BY m"), "ORDER BY");
    check(&with("streams GROUP BY m"), "FROM logs");
    check(&with("logs JOIN streams ON true GROUP BY m"), "FROM logs");
    check("SELECT count(*) AS n FROM logs", "needs date_bin");
    check("SELECT date_bin(INTERVAL '1 minute', timestamp) AS m FROM logs GROUP BY m", "needs an aggregate");
    check(&with("logs"), "not grouped by");
    check("SELECT date_bin(INTERVAL '1 month', timestamp) AS m, count(*) AS n FROM logs GROUP BY m", "a width");
    check("SELECT date_bin(INTERVAL '1 minute', timestamp) AS m, count(*) FROM logs GROUP BY m", "without AS");
    check(
        "SELECT date_bin(INTERVAL '1 minute', timestamp) AS m, count(DISTINCT line) AS n FROM logs GROUP BY m",
        "DISTINCT",
    );
    check(
        "SELECT date_bin(INTERVAL '1 minute', timestamp) AS m, sum(length(line)) AS n FROM logs GROUP BY m",
        "a function",
    );
    check("DELETE FROM logs", "one SELECT");
    check("SELEC", "continuous_views");
}
