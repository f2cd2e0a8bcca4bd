//! Made-up log lines: a gateway that predicts, and the feature store it asks. The same for the same times.

use std::fmt::Write as _;
use std::ops::Range;

use crate::types::labels::push_json_string;
use crate::types::time::{NANOS_PER_SECOND, UnixNanos};

/// Requests a second; five times as many in the spike.
const REQUESTS_A_SECOND: u64 = 8;
const SPIKE_FACTOR: u64 = 4;

const MODELS: [(&str, &str); 4] =
    [("resnet50", "v1.1.0"), ("resnet50", "v1.2.0"), ("bert-base", "v2.0.1"), ("xgb-churn", "v0.9.3")];
const PATHS: [&str; 4] = ["/api/v1/predict", "/api/v1/predict", "/api/v1/models", "/api/v1/features"];
const ENVIRONMENTS: [&str; 4] = ["production", "production", "staging", "lab"];

/// Makes lines.
#[derive(Debug)]
pub(super) struct Traffic {
    spike: Range<UnixNanos>,
    random: Random,
}

/// Xorshift: good enough for traffic, and needs no crate.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Lines of one stream, being written as a push.
#[derive(Debug, Default)]
struct Stream {
    labels: String,
    values: String,
}

impl Traffic {
    /// Traffic with a spike of errors.
    pub(super) fn new(spike: Range<UnixNanos>) -> Self {
        Traffic { spike, random: Random(0x9e37_79b9_7f4a_7c15) }
    }

    /// The body of a push of the lines between two times, and how many they are.
    pub(super) fn between(&mut self, from: UnixNanos, to: UnixNanos) -> (String, usize) {
        let mut streams: Vec<Stream> = Vec::new();
        let mut lines = 0;
        let first = from.0.div_euclid(NANOS_PER_SECOND);
        for second in first..=to.0.div_euclid(NANOS_PER_SECOND) {
            let in_spike = self.spike.contains(&UnixNanos(second * NANOS_PER_SECOND));
            let requests = REQUESTS_A_SECOND * if in_spike { SPIKE_FACTOR } else { 1 };
            for _ in 0..requests {
                let at = UnixNanos(second * NANOS_PER_SECOND + self.random.below(NANOS_PER_SECOND as u64) as i64);
                if at < from || at >= to {
                    continue;
                }
                lines += self.request(&mut streams, at, in_spike);
            }
        }
        let mut body = String::from("{\"streams\":[");
        for (at, stream) in streams.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let _ = write!(body, "{comma}{{\"stream\":{},\"values\":[{}]}}", stream.labels, stream.values);
        }
        body.push_str("]}");
        (body, lines)
    }

    /// A request: the gateway's line, and now and then one of the feature store.
    fn request(&mut self, streams: &mut Vec<Stream>, at: UnixNanos, in_spike: bool) -> usize {
        let random = &mut self.random;
        let (model, version) = random.one_of(&MODELS);
        let (path, environment) = (random.one_of(&PATHS), random.one_of(&ENVIRONMENTS));
        let failed = random.percent(if in_spike { 45 } else { 2 });
        let slow = failed || random.percent(if in_spike { 40 } else { 4 });
        let latency_ms = if slow { 500 + random.below(2500) } else { 8 + random.below(120) };
        let trace = format!("{:016x}{:016x}", random.next(), random.next());
        let (level, status, message) = match (failed, slow) {
            (true, _) if random.percent(60) => {
                ("error", 503, "Prediction failed: FeatureNotFound: user_features".to_owned())
            }
            (true, _) => ("error", 504, format!("Prediction failed: upstream timeout after {latency_ms}ms")),
            (false, true) => ("warning", 200, format!("Slow request: {path} took {latency_ms}ms")),
            (false, false) => ("info", 200, format!("POST {path} 200 OK")),
        };
        let time = chrono::DateTime::from_timestamp_nanos(at.0).format("%Y-%m-%dT%H:%M:%S%.6fZ");
        let request = random.below(1 << 24);
        let line = format!(
            "{{\"time\":\"{time}\",\"level\":\"{level}\",\"logger\":\"uvicorn.access\",\"event\":\"http_request\",\
             \"message\":\"{message}\",\"trace_id\":\"{trace}\",\"method\":\"POST\",\"path\":\"{path}\",\
             \"status_code\":{status},\"latency_ms\":{latency_ms},\"model_name\":\"{model}\",\
             \"model_version\":\"{version}\",\"request_id\":\"req_{request:06x}\"}}"
        );
        let labels = format!(
            "{{\"service\":\"inference-gateway\",\"environment\":\"{environment}\",\"cluster\":\"lab-cluster\",\
             \"level\":\"{level}\"}}"
        );
        push(streams, &labels, at, &line, &trace);
        let store_speaks = failed || random.percent(20);
        if store_speaks {
            let labels = format!("{{\"service\":\"feature-store\",\"environment\":\"{environment}\"}}");
            let line = if failed {
                format!(
                    "level=error msg=\"lookup failed\" table=user_features attempt=2 duration={latency_ms}ms trace_id={trace}"
                )
            } else {
                let keys = 1 + random.below(400);
                format!(
                    "level=info msg=\"lookup done\" table=user_features keys={keys} duration={}ms trace_id={trace}",
                    latency_ms / 3
                )
            };
            push(streams, &labels, at, &line, &trace);
        }
        1 + usize::from(store_speaks)
    }
}

fn push(streams: &mut Vec<Stream>, labels: &str, at: UnixNanos, line: &str, trace: &str) {
    let known = streams.iter().position(|stream| stream.labels == labels);
    let number = known.unwrap_or_else(|| {
        streams.push(Stream { labels: labels.to_owned(), values: String::new() });
        streams.len() - 1
    });
    let values = &mut streams[number].values;
    let comma = if values.is_empty() { "" } else { "," };
    let _ = write!(values, "{comma}[\"{}\",", at.0);
    push_json_string(values, line);
    let _ = write!(values, ",{{\"trace_id\":\"{trace}\"}}]");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spike_is_larger_and_fails_more() {
        let at = |minute: i64| UnixNanos(minute * 60 * NANOS_PER_SECOND);
        let mut traffic = Traffic::new(at(10)..at(15));
        let (before, lines_before) = traffic.between(at(5), at(10));
        let (spike, lines_spike) = traffic.between(at(10), at(15));
        let errors = |body: &str| body.matches("Prediction failed").count();
        assert!(lines_spike > 3 * lines_before, "{lines_before} {lines_spike}");
        assert!(errors(&spike) > 30 * errors(&before).max(1), "{} {}", errors(&before), errors(&spike));
        let parsed: serde_json::Value = serde_json::from_str(&spike).expect("a push is JSON");
        let values =
            parsed["streams"].as_array().into_iter().flatten().map(|s| s["values"].as_array().map_or(0, Vec::len));
        assert_eq!(values.sum::<usize>(), lines_spike);
    }

    #[test]
    fn no_line_is_outside_its_times() {
        let mut traffic = Traffic::new(UnixNanos(0)..UnixNanos(0));
        let (body, lines) = traffic.between(UnixNanos(1_500_000_000), UnixNanos(2_500_000_000));
        assert!(lines > 0);
        let parsed: serde_json::Value = serde_json::from_str(&body).expect("a push is JSON");
        for value in parsed["streams"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|s| s["values"].as_array().into_iter().flatten())
        {
            let at: i64 = value[0].as_str().expect("text").parse().expect("a number");
            assert!((1_500_000_000..2_500_000_000).contains(&at), "{at}");
        }
    }
}
