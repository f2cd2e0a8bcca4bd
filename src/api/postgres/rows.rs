//! Rows as Postgres' clients read them: encoded as they are read, as many as were asked for.

use std::ops::DerefMut;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion_postgres::arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch, field_into_pg_type};
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::{FieldInfo, QueryResponse};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::data::DataRow;
use datafusion_postgres::pgwire::types::format::FormatOptions;
use futures::stream;

use super::errors;
use super::session::Session;
use crate::api::statement::Rows;
use crate::sql::plain::Plain;

/// Columns as clients can read them.
pub(super) fn plain(schema: &Schema) -> Plain {
    Plain::new(schema, is_known)
}

fn is_known(field: &FieldRef) -> bool {
    let is_record = match field.data_type() {
        DataType::Null | DataType::Struct(_) => true,
        DataType::List(of) | DataType::LargeList(of) | DataType::FixedSizeList(of, _) => of.data_type().is_nested(),
        _ => false,
    };
    !is_record && field_into_pg_type(field).is_ok()
}

/// The description of rows, in the formats that a client asks for.
///
/// # Errors
/// 08P01 when it asks for as many formats as there are no columns.
pub(super) fn fields(schema: &Schema, format: &Format, options: &Arc<FormatOptions>) -> PgWireResult<Vec<FieldInfo>> {
    let columns = schema.fields().len();
    if let Format::Individual(formats) = format
        && formats.len() != columns
    {
        return Err(errors::error("08P01", format!("{} result formats for {columns} columns", formats.len())));
    }
    arrow_schema_to_pg_fields(schema, format, Some(options.clone()))
}

/// Rows of one statement, in pieces.
pub(super) struct Source {
    session: Arc<Session>,
    rows: Rows,
    plain: Plain,
    /// What was read and not yet asked for.
    rest: Option<RecordBatch>,
}

impl Source {
    pub(super) fn new(session: Arc<Session>, rows: Rows) -> Self {
        let plain = plain(&rows.schema());
        Source { session, rows, plain, rest: None }
    }

    /// The columns as clients see them.
    pub(super) fn schema(&self) -> &SchemaRef {
        self.plain.schema()
    }

    /// At most so many rows; none at the end.
    pub(super) async fn take(&mut self, most: usize) -> Option<PgWireResult<RecordBatch>> {
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => match self.read().await? {
                Ok(batch) => batch,
                Err(error) => return Some(Err(error)),
            },
        };
        if batch.num_rows() <= most {
            return Some(Ok(batch));
        }
        self.rest = Some(batch.slice(most, batch.num_rows() - most));
        Some(Ok(batch.slice(0, most)))
    }

    /// The rows could not be sent on.
    pub(super) fn break_off(&mut self, error: &PgWireError) {
        self.rows.break_off(&error.to_string());
    }

    async fn read(&mut self) -> Option<PgWireResult<RecordBatch>> {
        let stop = self.session.stop();
        let next = tokio::select! {
            next = self.rows.next() => next?,
            () = stop.cancelled() => return Some(Err(errors::canceled())),
        };
        let batch = match next {
            Ok(batch) => batch,
            Err(error) => return Some(Err(errors::of_api(&error))),
        };
        Some(self.plain.batch(batch).map_err(|error| {
            self.rows.break_off(&error.to_string());
            errors::error("XX000", error.to_string())
        }))
    }
}

/// The next `most` rows of a source, which is held until they are read.
///
/// # Errors
/// Those of [`fields`].
pub(super) fn answer<S>(
    source: S,
    most: usize,
    format: &Format,
    options: &Arc<FormatOptions>,
) -> PgWireResult<QueryResponse>
where
    S: DerefMut<Target = Source> + Send + 'static,
{
    let fields = Arc::new(fields(source.schema(), format, options)?);
    let state = Encoding { source, left: most, fields: fields.clone(), batch: Box::new(std::iter::empty()) };
    let encoded = stream::unfold(Some(state), |state| async move {
        let mut state = state?;
        match state.next().await {
            Some(Ok(row)) => Some((Ok(row), Some(state))),
            Some(Err(error)) => Some((Err(error), None)),
            None => None,
        }
    });
    Ok(QueryResponse::new(fields, encoded))
}

struct Encoding<S> {
    source: S,
    left: usize,
    fields: Arc<Vec<FieldInfo>>,
    batch: Box<dyn Iterator<Item = PgWireResult<DataRow>> + Send>,
}

impl<S: DerefMut<Target = Source>> Encoding<S> {
    async fn next(&mut self) -> Option<PgWireResult<DataRow>> {
        loop {
            if let Some(row) = self.batch.next() {
                if let Err(error) = &row {
                    self.source.break_off(error);
                }
                return Some(row);
            }
            if self.left == 0 {
                return None;
            }
            match self.source.take(self.left).await? {
                Ok(batch) => {
                    self.left -= batch.num_rows();
                    self.batch = Box::new(encode_recordbatch(self.fields.clone(), batch));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
