use arrow::array::{Int64Array, MapArray, RecordBatch, StringViewArray, UInt32Array, new_null_array};

use super::*;
use crate::types::rows::{ROW_SCHEMA, row_batch};

fn rows(of: &[(i64, u32, &str)]) -> RecordBatch {
    let metadata = new_null_array(ROW_SCHEMA.field(4).data_type(), of.len());
    let metadata: MapArray = arrow::array::AsArray::as_map(&metadata).clone();
    row_batch(
        Int64Array::from_iter_values(of.iter().map(|row| row.0)),
        UInt32Array::from_iter_values(of.iter().map(|row| row.1)),
        StringViewArray::from_iter(of.iter().map(|_| Some("info"))),
        StringViewArray::from_iter_values(of.iter().map(|row| row.2)),
        metadata,
    )
    .expect("columns of one length")
}

fn hashes(tenant: &TenantId, batch: &RecordBatch) -> Vec<RowHash> {
    let streams = crate::streams::TenantStreams::default();
    for at in 0..8 {
        streams.intern(&format!(r#"{{"n":"{at}"}}"#)).expect("JSON");
    }
    row_hashes(tenant, batch, |stream| streams.get(crate::streams::StreamRef(stream)))
}

fn append(head: &mut Head, lsn: u64, of: &[(i64, u32, &str)]) -> usize {
    let tenant = TenantId::single();
    let batch = rows(of);
    let hashes = hashes(&tenant, &batch);
    head.append(Lsn(lsn), &tenant, batch, &hashes, UnixNanos(1_000)).num_rows()
}

#[test]
fn exact_repeats_are_dropped_and_near_repeats_are_kept() {
    let mut head = Head::new(Lsn(0));
    assert_eq!(append(&mut head, 1, &[(1, 0, "a"), (1, 0, "a"), (1, 0, "b"), (2, 0, "a"), (1, 1, "a")]), 4);
    assert_eq!(append(&mut head, 2, &[(1, 0, "a"), (3, 0, "a")]), 1);
    assert_eq!(head.stats().rows, 5);
}

#[test]
fn a_repeat_of_the_head_before_is_dropped_and_an_older_one_is_not_known() {
    let mut head = Head::new(Lsn(0));
    append(&mut head, 1, &[(1, 0, "a")]);
    assert_eq!(head.seal().expect("it has a row").last_lsn, Lsn(1));
    assert_eq!(append(&mut head, 2, &[(1, 0, "a"), (2, 0, "b")]), 1);
    head.seal().expect("it has a row");
    append(&mut head, 3, &[(9, 0, "z")]);
    assert_eq!(append(&mut head, 4, &[(1, 0, "a")]), 1, "two heads ago is forgotten: the bound of what is remembered");
}

#[test]
fn tenants_do_not_drop_each_others_rows() {
    let batch = rows(&[(1, 0, "a")]);
    let (red, blue) = (TenantId::parse("red").expect("valid"), TenantId::parse("blue").expect("valid"));
    assert_ne!(hashes(&red, &batch), hashes(&blue, &batch));
}

#[test]
fn small_parts_merge_and_keep_every_row_and_bound() {
    let mut head = Head::new(Lsn(0));
    for at in 0..1_000_i64 {
        append(&mut head, at as u64 + 1, &[(at, (at % 7) as u32, "a line longer than twelve bytes")]);
    }
    let parts = head.parts(&TenantId::single());
    assert!(parts.len() <= 12, "{} parts", parts.len());
    assert_eq!(parts.iter().map(|part| part.rows().num_rows()).sum::<usize>(), 1_000);
    assert_eq!(parts[0].bounds().0, UnixNanos(0));
    assert_eq!(parts.last().expect("parts").bounds().1, UnixNanos(999));
    assert_eq!(parts[0].streams().len(), 7);
}

#[test]
fn sealing_empties_and_an_empty_head_is_not_sealed() {
    let mut head = Head::new(Lsn(5));
    assert!(head.seal().is_none());
    append(&mut head, 6, &[(1, 0, "a")]);
    assert!(head.seal().is_some());
    assert_eq!((head.stats().rows, head.stats().bytes, head.last_lsn()), (0, 0, Lsn(6)));
}
