//! Samples as bytes of a log record, pure.
//!
//! ```text
//! record  := version:u8 tenants:u32 tenant*
//! tenant  := id:text series:u32 series*
//! series  := labels:text(JSON) samples:u32 (ts_ns:i64 value:u64 bits)*      little endian; text := len:u32 bytes
//! ```

use std::collections::HashMap;

use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::sample::Sample;
use crate::types::time::UnixNanos;

const VERSION: u8 = 1;

/// Samples of tenants, in the order in which they came.
pub(crate) type Batches = Vec<(TenantId, Vec<Sample>)>;

/// The samples of one series.
type OfSeries<'a> = (&'a Labels, Vec<&'a Sample>);

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a record of samples is damaged: {0}")]
pub(crate) struct Damaged(String);

pub(crate) fn encode(batches: &Batches) -> Vec<u8> {
    let mut tenants: Vec<(&TenantId, Vec<OfSeries<'_>>)> = Vec::new();
    let mut tenant_place: HashMap<&TenantId, usize> = HashMap::new();
    let mut series_place: HashMap<(usize, &Labels), usize> = HashMap::new();
    for (tenant, samples) in batches {
        let at = *tenant_place.entry(tenant).or_insert(tenants.len());
        if at == tenants.len() {
            tenants.push((tenant, Vec::new()));
        }
        let series = &mut tenants[at].1;
        for sample in samples {
            let place = *series_place.entry((at, &sample.labels)).or_insert(series.len());
            if place == series.len() {
                series.push((&sample.labels, Vec::new()));
            }
            series[place].1.push(sample);
        }
    }
    let mut out = vec![VERSION];
    put_count(&mut out, tenants.len());
    for (tenant, series) in tenants {
        put_text(&mut out, tenant.as_str());
        put_count(&mut out, series.len());
        for (labels, samples) in series {
            put_text(&mut out, &labels.to_json());
            put_count(&mut out, samples.len());
            for sample in samples {
                out.extend_from_slice(&sample.time.0.to_le_bytes());
                out.extend_from_slice(&sample.value.to_bits().to_le_bytes());
            }
        }
    }
    out
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Batches, Damaged> {
    let mut reader = Reader(bytes);
    let version = reader.take(1)?[0];
    if version != VERSION {
        return Err(Damaged(format!("version {version}")));
    }
    let mut batches = Vec::new();
    for _ in 0..reader.count()? {
        let tenant = TenantId::parse(reader.text()?).map_err(|error| Damaged(error.to_string()))?;
        let mut samples = Vec::new();
        for _ in 0..reader.count()? {
            let labels = Labels::from_json(reader.text()?).map_err(|error| Damaged(error.to_string()))?;
            for _ in 0..reader.count()? {
                let time = UnixNanos(i64::from_le_bytes(reader.word()?));
                let value = f64::from_bits(u64::from_le_bytes(reader.word()?));
                samples.push(Sample { labels: labels.clone(), time, value });
            }
        }
        batches.push((tenant, samples));
    }
    if reader.0.is_empty() { Ok(batches) } else { Err(Damaged("bytes follow".to_owned())) }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("what is pending is bounded far below 2^32 samples");
    out.extend_from_slice(&count.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Damaged> {
        if bytes > self.0.len() {
            return Err(Damaged("it ends early".to_owned()));
        }
        let (taken, rest) = self.0.split_at(bytes);
        self.0 = rest;
        Ok(taken)
    }

    fn word<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        self.take(N)?.try_into().map_err(|_| Damaged("it ends early".to_owned()))
    }

    fn count(&mut self) -> Result<usize, Damaged> {
        Ok(u32::from_le_bytes(self.word()?) as usize)
    }

    fn text(&mut self) -> Result<&'a str, Damaged> {
        let bytes = self.count()?;
        std::str::from_utf8(self.take(bytes)?).map_err(|error| Damaged(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::sample::stale_marker;

    #[test]
    fn what_is_encoded_is_decoded() {
        let labels = |job: &str| Labels::from_pairs([("__name__", "m"), ("job", job)]);
        let sample = |job: &str, at: i64, value: f64| Sample { labels: labels(job), time: UnixNanos(at), value };
        let tenant = |id: &str| TenantId::parse(id).expect("a tenant");
        let batches = vec![
            (tenant("a"), vec![sample("x", 1, 1.5), sample("y", 1, -0.0), sample("x", 2, 2.5)]),
            (tenant("b"), vec![Sample::stale(labels("z"), UnixNanos(-5))]),
        ];
        let decoded = decode(&encode(&batches)).expect("decodes");
        assert_eq!(decoded[0].1.len(), 3);
        assert_eq!(decoded[0].1[1], sample("x", 2, 2.5));
        assert_eq!(decoded[1].1[0].value.to_bits(), stale_marker().to_bits());
    }

    proptest! {
        #[test]
        fn noise_never_panics(mut bytes: Vec<u8>) {
            let _ = decode(&bytes);
            bytes.insert(0, VERSION);
            let _ = decode(&bytes);
        }
    }
}
