//! `/api/v1/sql`: one read-only statement over the tenant's views, rows streamed as they are found.
//!
//! The statement is the parameter `query` or `sql`, or the body. `Accept` chooses the form:
//!
//! | `Accept` | form |
//! |---|---|
//! | `application/json` (default) | an array of objects |
//! | `application/x-ndjson` | an object a line |
//! | `text/csv` | with a header line |
//! | `application/vnd.apache.arrow.stream` | Arrow IPC stream |
//!
//! Errors: 400 with the text, before the first row; afterwards the connection breaks off.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::writer::{JsonArray, LineDelimited, WriterBuilder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use futures::stream;

use crate::api::Shared;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::gate::RunningQuery;
use crate::api::params::Params;
use crate::api::tenant::Reading;
use crate::query::QueryError;

/// Bytes of a statement.
const STATEMENT_BYTES_MAX: usize = 1 << 20;

/// `GET|POST /api/v1/sql`.
pub async fn sql(
    State(shared): State<Shared>,
    Reading(scope): Reading,
    request: Request,
) -> Result<Response, ApiError> {
    let form = Form::accepted(request.headers());
    let statement = statement(request).await?;
    if statement.trim().is_empty() {
        return Err(ApiError::bad_input("no statement: give it as `query`, or as the body"));
    }
    let running = shared.query_gate.enter().await?;
    let rows = shared.state.engine.sql(&scope, &statement).await?;
    stream_rows(rows, form, running).await
}

async fn statement(request: Request) -> Result<String, ApiError> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if request.method() == axum::http::Method::POST && !content_type.starts_with("application/x-www-form-urlencoded") {
        let params = Params::parse(b"", request.uri().query().unwrap_or(""));
        if let Some(statement) = named(&params) {
            return Ok(statement);
        }
        let body = to_bytes(request.into_body(), STATEMENT_BYTES_MAX).await;
        let body = body.map_err(|_| {
            ApiError::new(ErrorKind::TooLarge, format!("statement larger than {STATEMENT_BYTES_MAX} bytes"))
        })?;
        return String::from_utf8(body.into()).map_err(|_| ApiError::bad_input("the statement is not UTF-8"));
    }
    let params = Params::from_request(request, &()).await?;
    Ok(named(&params).unwrap_or_default())
}

fn named(params: &Params) -> Option<String> {
    ["query", "sql"].into_iter().map(|name| params.get(name)).find(|text| !text.is_empty()).map(str::to_owned)
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Lines,
    Csv,
    Arrow,
}

impl Form {
    /// The first form that `Accept` names.
    fn accepted(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
        let forms = accept.split(',').filter_map(|range| match range.split(';').next().unwrap_or("").trim() {
            "application/json" => Some(Form::Json),
            "application/x-ndjson" | "application/jsonl" => Some(Form::Lines),
            "text/csv" => Some(Form::Csv),
            "application/vnd.apache.arrow.stream" => Some(Form::Arrow),
            _ => None,
        });
        forms.into_iter().next().unwrap_or(Form::Json)
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Form::Json => "application/json; charset=UTF-8",
            Form::Lines => "application/x-ndjson; charset=UTF-8",
            Form::Csv => "text/csv; charset=utf-8",
            Form::Arrow => "application/vnd.apache.arrow.stream",
        })
    }
}

/// Rows into bytes: a start, batches, an end.
enum RowWriter {
    Json(arrow::json::Writer<Vec<u8>, JsonArray>),
    Lines(arrow::json::Writer<Vec<u8>, LineDelimited>),
    Csv { schema: SchemaRef, written: Vec<u8> },
    Arrow(StreamWriter<Vec<u8>>),
}

impl RowWriter {
    fn new(form: Form, schema: &SchemaRef) -> Result<Self, ArrowError> {
        let json = || WriterBuilder::new().with_explicit_nulls(true);
        Ok(match form {
            Form::Json => RowWriter::Json(json().build(Vec::new())),
            Form::Lines => RowWriter::Lines(json().build(Vec::new())),
            Form::Csv => {
                let flat = flattened(&RecordBatch::new_empty(schema.clone()))?;
                RowWriter::Csv { written: csv(&flat, true)?, schema: flat.schema() }
            }
            Form::Arrow => RowWriter::Arrow(StreamWriter::try_new(Vec::new(), schema)?),
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        match self {
            RowWriter::Json(writer) => writer.write(batch),
            RowWriter::Lines(writer) => writer.write(batch),
            RowWriter::Csv { schema, written } => {
                let flat = flattened(batch)?.with_schema(schema.clone())?;
                written.extend(csv(&flat, false)?);
                Ok(())
            }
            RowWriter::Arrow(writer) => writer.write(batch),
        }
    }

    /// What was written since the last time.
    fn take(&mut self) -> Bytes {
        let buffer = match self {
            RowWriter::Json(writer) => writer.get_mut(),
            RowWriter::Lines(writer) => writer.get_mut(),
            RowWriter::Arrow(writer) => writer.get_mut(),
            RowWriter::Csv { written, .. } => written,
        };
        Bytes::from(std::mem::take(buffer))
    }

    fn finish(self) -> Result<Bytes, ArrowError> {
        let rest = match self {
            RowWriter::Json(mut writer) => {
                writer.finish()?;
                writer.into_inner()
            }
            RowWriter::Lines(mut writer) => {
                writer.finish()?;
                writer.into_inner()
            }
            RowWriter::Csv { written, .. } => written,
            RowWriter::Arrow(writer) => writer.into_inner()?,
        };
        Ok(Bytes::from(rest))
    }
}

fn csv(batch: &RecordBatch, header: bool) -> Result<Vec<u8>, ArrowError> {
    let mut writer = arrow::csv::WriterBuilder::new().with_header(header).build(Vec::new());
    writer.write(batch)?;
    Ok(writer.into_inner())
}

/// The batch with its nested columns as text, which CSV has no form for.
fn flattened(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let options = FormatOptions::new();
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if !field.data_type().is_nested() {
            fields.push(field.clone());
            columns.push(column.clone());
            continue;
        }
        let formatter = ArrayFormatter::try_new(column, &options)?;
        let texts = (0..column.len()).map(|row| column.is_valid(row).then(|| formatter.value(row).to_string()));
        columns.push(Arc::new(texts.collect::<StringArray>()));
        fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

/// The answer, begun once the first rows are known to be good.
async fn stream_rows(
    mut rows: SendableRecordBatchStream,
    form: Form,
    running: RunningQuery,
) -> Result<Response, ApiError> {
    let failed = |error: ArrowError| ApiError::new(ErrorKind::Bug, error.to_string());
    let mut writer = RowWriter::new(form, &rows.schema()).map_err(failed)?;
    match rows.next().await {
        Some(Ok(batch)) => writer.write(&batch).map_err(failed)?,
        Some(Err(error)) => return Err(QueryError::from(error).into()),
        None => {}
    }
    let state = Some((writer, rows, running));
    // Fused: compression asks once more after the end.
    let pieces = stream::unfold(state, |state| async move {
        let (mut writer, mut rows, running) = state?;
        let done = writer.take();
        if !done.is_empty() {
            return Some((Ok(done), Some((writer, rows, running))));
        }
        match rows.next().await {
            None => Some((writer.finish().map_err(std::io::Error::other), None)),
            Some(Err(error)) => Some((Err(std::io::Error::other(error)), None)),
            Some(Ok(batch)) => match writer.write(&batch) {
                Ok(()) => Some((Ok(writer.take()), Some((writer, rows, running)))),
                Err(error) => Some((Err(std::io::Error::other(error)), None)),
            },
        }
    });
    let mut response = Response::new(Body::from_stream(pieces.fuse()));
    response.headers_mut().insert(header::CONTENT_TYPE, form.content_type());
    Ok(response)
}
