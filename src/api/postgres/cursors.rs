//! `DECLARE`, `FETCH`, `CLOSE`: rows that are read in pieces, by a name.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::sql::sqlparser::ast::{CloseCursor, Declare, FetchDirection, Value};
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::{QueryResponse, Response, Tag};
use datafusion_postgres::pgwire::error::PgWireResult;
use datafusion_postgres::pgwire::types::format::FormatOptions;
use parking_lot::Mutex;

use super::errors;
use super::rows::{self, Source};

/// Cursors that a connection may have open; each holds a snapshot and two batches.
const CURSORS_MAX: usize = 16;

/// The cursors of a connection.
#[derive(Default)]
pub(super) struct Cursors(Mutex<BTreeMap<String, Cursor>>);

#[derive(Clone)]
struct Cursor {
    schema: SchemaRef,
    source: Arc<tokio::sync::Mutex<Source>>,
    /// Whether it outlives its transaction.
    holds: bool,
}

impl Cursors {
    /// The columns of a cursor.
    pub(super) fn schema(&self, name: &str) -> Option<SchemaRef> {
        self.0.lock().get(name).map(|cursor| cursor.schema.clone())
    }

    /// # Errors
    /// 42P03 for a name that is taken, 53000 for too many.
    pub(super) fn check(&self, declare: &Declare) -> PgWireResult<String> {
        let name = declare.names.first().map(|name| name.value.clone()).unwrap_or_default();
        let open = self.0.lock();
        if open.contains_key(&name) {
            return Err(errors::error("42P03", format!("cursor \"{name}\" already exists")));
        }
        if open.len() >= CURSORS_MAX {
            return Err(errors::error("53000", format!("{CURSORS_MAX} cursors are open: close some")));
        }
        Ok(name)
    }

    pub(super) fn open(&self, name: String, declare: &Declare, source: Source) -> Response {
        let schema = source.schema().clone();
        let source = Arc::new(tokio::sync::Mutex::new(source));
        let cursor = Cursor { schema, source, holds: declare.hold == Some(true) };
        self.0.lock().insert(name, cursor);
        Response::Execution(Tag::new("DECLARE CURSOR"))
    }

    /// # Errors
    /// 34000 for a name that no cursor has, 55000 for a way back.
    pub(super) async fn fetch(
        &self,
        name: &str,
        direction: &FetchDirection,
        format: &Format,
        options: &Arc<FormatOptions>,
    ) -> PgWireResult<QueryResponse> {
        let most = rows_of(direction)?;
        let cursor = self.0.lock().get(name).cloned();
        let cursor = cursor.ok_or_else(|| errors::error("34000", format!("cursor \"{name}\" does not exist")))?;
        let source = cursor.source.lock_owned().await;
        let mut response = rows::answer(source, most, format, options)?;
        response.set_command_tag("FETCH");
        Ok(response)
    }

    pub(super) fn close(&self, cursor: &CloseCursor) -> PgWireResult<Response> {
        match cursor {
            CloseCursor::All => self.0.lock().clear(),
            CloseCursor::Specific { name } => {
                let closed = self.0.lock().remove(&name.value);
                let missing = || errors::error("34000", format!("cursor \"{}\" does not exist", name.value));
                closed.map(|_| ()).ok_or_else(missing)?;
            }
        }
        Ok(Response::Execution(Tag::new("CLOSE CURSOR")))
    }

    /// Closes those that do not outlive a transaction.
    pub(super) fn end_transaction(&self) {
        self.0.lock().retain(|_, cursor| cursor.holds);
    }

    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }
}

/// How many rows a `FETCH` asks for.
fn rows_of(direction: &FetchDirection) -> PgWireResult<usize> {
    let number = |value: &Value| match value {
        Value::Number(number, _) => number.to_string().parse().map_err(|_| errors::error("22003", "FETCH: too many")),
        _ => Err(errors::error("42601", "FETCH takes a number of rows")),
    };
    match direction {
        FetchDirection::Next | FetchDirection::Forward { limit: None } => Ok(1),
        FetchDirection::Forward { limit: Some(limit) } | FetchDirection::Count { limit } => number(&limit.value),
        FetchDirection::All | FetchDirection::ForwardAll => Ok(usize::MAX),
        _ => Err(errors::error("55000", "cursor can only scan forward")),
    }
}
