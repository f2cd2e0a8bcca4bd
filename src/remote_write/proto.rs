//! Prometheus' remote write protocol, version 1: `prometheus.WriteRequest`, snappy block compressed.

use prost::Message;

use crate::types::labels::Labels;
use crate::types::sample::Sample;
use crate::types::time::{NANOS_PER_MILLI, UnixNanos};

/// Bytes that a body may unpack to.
const BODY_BYTES_MAX: usize = 64 << 20;

#[derive(Clone, PartialEq, Message)]
pub struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TimeSeries {
    /// Sorted by name.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Point>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Label {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Point {
    #[prost(double, tag = "1")]
    pub value: f64,
    /// Milliseconds.
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

/// Why a body is no write request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("snappy: {0}")]
    Snappy(String),
    #[error("the body unpacks to more than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    #[error("protobuf: {0}")]
    Protobuf(String),
    #[error("a series has no metric name")]
    NoName,
    #[error("timestamp {0} is out of bounds")]
    Time(i64),
}

/// Samples as a body; those of one series are joined.
pub fn encode(samples: &[Sample]) -> Vec<u8> {
    let mut place: std::collections::HashMap<&Labels, usize> = std::collections::HashMap::new();
    let mut request = WriteRequest::default();
    for sample in samples {
        let at = *place.entry(&sample.labels).or_insert(request.timeseries.len());
        if at == request.timeseries.len() {
            let labels = sample.labels.iter();
            let labels = labels.map(|(name, value)| Label { name: name.to_owned(), value: value.to_owned() });
            request.timeseries.push(TimeSeries { labels: labels.collect(), samples: Vec::new() });
        }
        let point = Point { value: sample.value, timestamp: sample.time.0.div_euclid(NANOS_PER_MILLI) };
        request.timeseries[at].samples.push(point);
    }
    for series in &mut request.timeseries {
        series.samples.sort_by_key(|point| point.timestamp);
    }
    let plain = request.encode_to_vec();
    snap::raw::Encoder::new().compress_vec(&plain).expect("a buffer below 4 GiB can always be compressed")
}

/// # Errors
/// [`BodyError`], which is the sender's fault.
pub fn decode(body: &[u8]) -> Result<Vec<Sample>, BodyError> {
    let bytes = snap::raw::decompress_len(body).map_err(|error| BodyError::Snappy(error.to_string()))?;
    if bytes > BODY_BYTES_MAX {
        return Err(BodyError::TooLarge);
    }
    let plain = snap::raw::Decoder::new().decompress_vec(body).map_err(|error| BodyError::Snappy(error.to_string()))?;
    let request = WriteRequest::decode(&*plain).map_err(|error| BodyError::Protobuf(error.to_string()))?;
    let mut samples = Vec::new();
    for series in request.timeseries {
        let labels = Labels::from_pairs(series.labels.into_iter().map(|label| (label.name, label.value)));
        if labels.get(crate::types::sample::METRIC_NAME).is_none() {
            return Err(BodyError::NoName);
        }
        for point in series.samples {
            let nanos = point.timestamp.checked_mul(NANOS_PER_MILLI).ok_or(BodyError::Time(point.timestamp))?;
            samples.push(Sample { labels: labels.clone(), time: UnixNanos(nanos), value: point.value });
        }
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::sample::stale_marker;

    #[test]
    fn what_is_encoded_is_decoded() {
        let labels = |job: &str| Labels::from_pairs([("__name__", "m"), ("job", job)]);
        let sample = |job: &str, at_ms: i64, value: f64| Sample {
            labels: labels(job),
            time: UnixNanos(at_ms * NANOS_PER_MILLI),
            value,
        };
        let samples = [sample("a", 2, 1.5), sample("b", 1, stale_marker()), sample("a", 1, 0.25)];
        let decoded = decode(&encode(&samples)).expect("decodes");
        let bits = |samples: &[Sample]| -> Vec<_> {
            samples.iter().map(|one| (one.labels.clone(), one.time, one.value.to_bits())).collect()
        };
        assert_eq!(bits(&decoded), bits(&[sample("a", 1, 0.25), sample("a", 2, 1.5), sample("b", 1, stale_marker())]));
    }

    proptest! {
        #[test]
        fn noise_never_panics(bytes: Vec<u8>) {
            let _ = decode(&bytes);
            let _ = decode(&snap::raw::Encoder::new().compress_vec(&bytes).expect("small"));
        }
    }
}
