//! `/api/v1/sql`: one read-only statement over what the caller may see, rows streamed as they are found.
//!
//! The statement is the parameter `query` or `sql`, or the body; a body of JSON is `{"query", "params", "format", …}`.
//!
//! | parameter | |
//! |---|---|
//! | `params` | JSON array with the values of `$1`, `$2`, … |
//! | `format` | `json`, `ndjson`, `csv`, `arrow`, `parquet`; else `Accept` decides (see [`Form`]) |
//! | `page_rows` | opens a cursor: this many rows, then `GET /api/v1/sql/cursor/{id}` for the next as many |
//!
//! `X-Millrace-Cursor` names the cursor while there may be more pages. `DELETE /api/v1/sql/cursor/{id}` closes it.
//! Who may not export gets at most `max_entries_limit_per_query` rows, whole or not at all.
//! Errors: 400 with the text, before the first row; afterwards the connection breaks off.

use arrow::array::RecordBatch;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use datafusion::common::ScalarValue;
use futures::{StreamExt, stream};
use serde::Deserialize;
use uuid::Uuid;

use crate::api::Shared;
use crate::api::audit::Note;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::params::Params;
use crate::api::running::Listed;
use crate::api::statement::{Asker, Rows, stopped};
use crate::api::tenant::{Caller, Reading};
use crate::audit::Kind;
use crate::query::{QueryError, SqlRequest};
use crate::sql::cursors::{Cursor, CursorError};
use crate::sql::forms::{Form, FormError, RowWriter};
use crate::sql::params;

/// Bytes of a statement.
const STATEMENT_BYTES_MAX: usize = 1 << 20;
/// Rows of a page.
const PAGE_ROWS_MAX: usize = 1_000_000;
const CURSOR: HeaderName = HeaderName::from_static("x-millrace-cursor");

/// What lasts as long as rows are read.
pub struct Reader {
    listed: Listed,
    form: Form,
    page_rows: usize,
}

/// `GET|POST /api/v1/sql`.
pub async fn sql(
    State(shared): State<Shared>,
    Reading(scope): Reading,
    caller: Caller,
    note: Note,
    request: Request,
) -> Result<Response, ApiError> {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    note.question(Kind::Query, "sql", "");
    let statement = Statement::read(request).await?;
    note.with(|event| {
        statement.query.clone_into(&mut event.text);
        event.params = params::to_text(&statement.params);
    });
    let form = match statement.format.as_str() {
        "" => Form::accepted(&accept),
        name => Form::named(name)
            .ok_or_else(|| ApiError::bad_input(format!("format: json, ndjson, csv, arrow or parquet, not {name}")))?,
    };
    let asker = Asker::new(&shared, &caller)?;
    if statement.page_rows > 0 {
        if !asker.may_export() {
            return Err(ApiError::new(ErrorKind::Forbidden, "page_rows: cursors are for roles with the action export"));
        }
        note.kind(Kind::Export);
        note.ask().await?;
    }
    let limits = shared.limits_of(&scope);
    let request = SqlRequest {
        scope,
        text: statement.query.clone(),
        params: statement.params,
        timeout: shared.state.config.query_timeout(&limits).to_std(),
    };
    let computing = shared.state.engine.sql(request);
    let mut rows = asker.begin(&shared, note.clone(), &statement.query, computing).await?;
    if statement.page_rows > 0 {
        let place = rows.place();
        let (rows, listed) = rows.into_parts();
        let cursor = Cursor::new(rows, Reader { listed, form, page_rows: statement.page_rows });
        let answer = page(&shared, &note, caller.principal.name(), None, cursor).await;
        place.leave();
        return answer;
    }
    rows.gather().await?;
    stream_rows(rows, form, &note).await
}

/// `GET /api/v1/sql/cursor/{id}`: the next page.
pub async fn next_page(
    State(shared): State<Shared>,
    Reading(scope): Reading,
    caller: Caller,
    note: Note,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    note.question(Kind::Export, "sql", &format!("cursor {id}"));
    let owner = caller.principal.name();
    // A place among the running for each page: a cursor that waits holds none.
    let _running = shared.turn(&scope).await?;
    let id = cursor_id(&id)?;
    let cursor = shared.cursors.take(owner, id)?;
    page(&shared, &note, owner, Some(id), cursor).await
}

/// `DELETE /api/v1/sql/cursor/{id}`.
pub async fn close_cursor(
    State(shared): State<Shared>,
    _: Reading,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    shared.cursors.close(caller.principal.name(), cursor_id(&id)?)?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a client asks.
#[derive(Debug, Default)]
struct Statement {
    query: String,
    params: Vec<ScalarValue>,
    format: String,
    /// 0: no cursor.
    page_rows: usize,
}

/// A body of JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonStatement {
    #[serde(alias = "sql")]
    query: String,
    #[serde(default)]
    params: Vec<serde_json::Value>,
    #[serde(default)]
    format: String,
    #[serde(default)]
    page_rows: usize,
}

impl Statement {
    async fn read(request: Request) -> Result<Self, ApiError> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        let is_form = content_type.starts_with("application/x-www-form-urlencoded");
        let mut statement = if request.method() == Method::POST && !is_form {
            let mut statement = Statement::from_params(&Params::parse(b"", request.uri().query().unwrap_or("")))?;
            if statement.query.is_empty() {
                let body = body(request).await?;
                if content_type.starts_with("application/json") {
                    statement = Statement::from_json(&body)?;
                } else {
                    statement.query = body;
                }
            }
            statement
        } else {
            Statement::from_params(&Params::from_request(request, &()).await?)?
        };
        if statement.query.trim().is_empty() {
            return Err(ApiError::bad_input("no statement: give it as `query`, or as the body"));
        }
        statement.page_rows = statement.page_rows.min(PAGE_ROWS_MAX);
        Ok(statement)
    }

    fn from_params(params: &Params) -> Result<Self, ApiError> {
        let query = ["query", "sql"].into_iter().map(|name| params.get(name)).find(|text| !text.is_empty());
        let values = match params.get("params") {
            "" => Vec::new(),
            text => params::from_json(text).map_err(ApiError::bad_input)?,
        };
        let page_rows = match params.get("page_rows") {
            "" => 0,
            text => text.parse().map_err(|_| ApiError::bad_input("page_rows: a number of rows"))?,
        };
        Ok(Statement {
            query: query.unwrap_or("").to_owned(),
            params: values,
            format: params.get("format").to_owned(),
            page_rows,
        })
    }

    fn from_json(body: &str) -> Result<Self, ApiError> {
        let read: JsonStatement = serde_json::from_str(body)
            .map_err(|error| ApiError::bad_input(format!("the body is no statement: {error}")))?;
        let params = params::from_values(&read.params).map_err(ApiError::bad_input)?;
        Ok(Statement { query: read.query, params, format: read.format, page_rows: read.page_rows })
    }
}

async fn body(request: Request) -> Result<String, ApiError> {
    let body = to_bytes(request.into_body(), STATEMENT_BYTES_MAX).await;
    let body = body.map_err(|_| {
        ApiError::new(ErrorKind::TooLarge, format!("statement larger than {STATEMENT_BYTES_MAX} bytes"))
    })?;
    String::from_utf8(body.into()).map_err(|_| ApiError::bad_input("the statement is not UTF-8"))
}

/// Answers a page and keeps the cursor while there may be more.
async fn page(
    shared: &Shared,
    note: &Note,
    owner: &str,
    id: Option<Uuid>,
    mut cursor: Cursor<Reader>,
) -> Result<Response, ApiError> {
    let close = |id: Option<Uuid>| id.map(|id| shared.cursors.close(owner, id));
    let stop = cursor.held.listed.token();
    let page = tokio::select! {
        page = cursor.page(cursor.held.page_rows) => page,
        () = stop.cancelled() => {
            close(id);
            return Err(stopped());
        }
    };
    let page = match page {
        Ok(page) => page,
        Err(error) => {
            close(id);
            return Err(QueryError::from(error).into());
        }
    };
    let rows: usize = page.iter().map(RecordBatch::num_rows).sum();
    note.with(|event| event.rows = Some(rows as u64));
    let (form, page_rows) = (cursor.held.form, cursor.held.page_rows);
    let mut response = whole(&page, form, &cursor.rows.schema())?;
    if rows < page_rows {
        close(id);
        return Ok(response);
    }
    let id = match id {
        Some(id) => {
            shared.cursors.put_back(id, cursor);
            id
        }
        None => shared.cursors.open(owner, cursor)?,
    };
    let name = HeaderValue::from_str(&id.to_string()).map_err(|error| ApiError::bad_input(error.to_string()))?;
    response.headers_mut().insert(CURSOR, name);
    Ok(response)
}

fn whole(batches: &[RecordBatch], form: Form, schema: &arrow::datatypes::SchemaRef) -> Result<Response, ApiError> {
    let mut writer = RowWriter::new(form, schema).map_err(unwritable)?;
    for batch in batches {
        writer.write(batch).map_err(unwritable)?;
    }
    Ok(answer(Body::from(writer.finish().map_err(unwritable)?), form))
}

/// The answer, begun once the first rows are known to be good.
async fn stream_rows(mut rows: Rows, form: Form, note: &Note) -> Result<Response, ApiError> {
    let mut writer = RowWriter::new(form, &rows.schema()).map_err(unwritable)?;
    if let Some(first) = rows.next().await {
        writer.write(&first?).map_err(unwritable)?;
    }
    rows.tell(note.hand_on());
    // Fused: compression asks once more after the end.
    let pieces = stream::unfold(Some((writer, rows)), |state| async move {
        let (mut writer, mut rows) = state?;
        loop {
            let done = writer.take();
            if !done.is_empty() {
                return Some((Ok(done), Some((writer, rows))));
            }
            match rows.next().await {
                None => return Some((writer.finish().map_err(std::io::Error::other), None)),
                Some(Err(error)) => return Some((Err(std::io::Error::other(error)), None)),
                Some(Ok(batch)) => {
                    if let Err(error) = writer.write(&batch) {
                        rows.break_off(&error.to_string());
                        return Some((Err(std::io::Error::other(error)), None));
                    }
                }
            }
        }
    });
    Ok(answer(Body::from_stream(pieces.fuse()), form))
}

fn cursor_id(text: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(text).map_err(|_| CursorError::Unknown.into())
}

fn answer(body: Body, form: Form) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(form.content_type()))], body).into_response()
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn unwritable(error: FormError) -> ApiError {
    ApiError::bad_input(format!("the rows do not fit the form: {error}"))
}

impl From<CursorError> for ApiError {
    fn from(error: CursorError) -> Self {
        let kind = match error {
            CursorError::Unknown => ErrorKind::NotFound,
            CursorError::Busy | CursorError::TooMany => ErrorKind::OverLimit,
        };
        ApiError::new(kind, error.to_string())
    }
}
