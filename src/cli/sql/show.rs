//! Rows of a statement as a table, or in a form for other programs.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches_with_schema;
use futures::StreamExt;

use super::Format;
use crate::cli::source::{AnyError, Rows};
use crate::sql::forms::{Form, RowWriter};

/// Writes all rows. Answers how many there were; of a table that was cut, how many were shown.
pub(super) async fn rows(
    mut rows: Rows,
    format: Format,
    max_rows: usize,
    out: &mut impl Write,
) -> Result<usize, AnyError> {
    let form = match format {
        Format::Table => return table(rows, max_rows, out).await,
        Format::Csv => Form::Csv,
        Format::Json => Form::Json,
        Format::Ndjson => Form::Lines,
    };
    let mut writer = RowWriter::new(form, &rows.schema)?;
    let mut count = 0;
    while let Some(batch) = rows.batches.next().await {
        let batch = batch?;
        count += batch.num_rows();
        writer.write(&batch)?;
        out.write_all(&writer.take())?;
    }
    out.write_all(&writer.finish()?)?;
    if form == Form::Json {
        writeln!(out)?;
    }
    out.flush()?;
    Ok(count)
}

async fn table(mut rows: Rows, max_rows: usize, out: &mut impl Write) -> Result<usize, AnyError> {
    let mut shown: Vec<RecordBatch> = Vec::new();
    let mut count = 0;
    let mut is_cut = false;
    while let Some(batch) = rows.batches.next().await {
        let batch = batch?;
        let room = max_rows - count;
        is_cut = batch.num_rows() > room;
        let batch = batch.slice(0, batch.num_rows().min(room));
        count += batch.num_rows();
        shown.push(batch);
        if is_cut {
            break;
        }
    }
    writeln!(out, "{}", pretty_format_batches_with_schema(rows.schema, &shown)?)?;
    if is_cut {
        writeln!(out, "the first {max_rows} rows; more with --max-rows, all of them with --format csv")?;
    }
    out.flush()?;
    Ok(count)
}
