//! Requests made of what waits. Pure.

use crate::types::ids::TenantId;
use crate::types::sample::Sample;

/// One request's samples, of one tenant, in the order in which they came.
pub(super) type Request = (TenantId, Vec<Sample>);

/// Cuts batches into requests of at most `samples_max` samples; those of one tenant follow each other in one request.
pub(super) fn requests<'a>(
    batches: impl Iterator<Item = &'a (TenantId, Vec<Sample>)>,
    samples_max: usize,
) -> Vec<Request> {
    let samples_max = samples_max.max(1);
    let mut of_tenants: Vec<Request> = Vec::new();
    for (tenant, samples) in batches {
        match of_tenants.iter_mut().find(|(known, _)| known == tenant) {
            Some((_, all)) => all.extend_from_slice(samples),
            None => of_tenants.push((tenant.clone(), samples.clone())),
        }
    }
    let cut = |(tenant, samples): Request| {
        let parts: Vec<Request> = samples.chunks(samples_max).map(|part| (tenant.clone(), part.to_vec())).collect();
        parts
    };
    of_tenants.into_iter().flat_map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::labels::Labels;
    use crate::types::time::UnixNanos;

    #[test]
    fn requests_are_of_one_tenant_and_bounded() {
        let samples = |from: i64, count: i64| -> Vec<Sample> {
            let sample = |at| Sample { labels: Labels::default(), time: UnixNanos(at), value: 0.0 };
            (from..from + count).map(sample).collect()
        };
        let tenant = |id: &str| TenantId::parse(id).expect("an id");
        let batches = [(tenant("a"), samples(0, 3)), (tenant("b"), samples(10, 1)), (tenant("a"), samples(3, 2))];
        let made = requests(batches.iter(), 2);
        let shown: Vec<(String, Vec<i64>)> = made
            .into_iter()
            .map(|(tenant, samples)| (tenant.to_string(), samples.iter().map(|one| one.time.0).collect()))
            .collect();
        let expected = [("a", vec![0, 1]), ("a", vec![2, 3]), ("a", vec![4]), ("b", vec![10])];
        assert_eq!(shown, expected.map(|(tenant, times)| (tenant.to_owned(), times)));
    }
}
