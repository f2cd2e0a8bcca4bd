//! Statements about the session itself, answered without the engine: transactions, `SET`, `SHOW`, and the like.
//!
//! Everything reads one moment's state and nothing writes, so transactions are words: `BEGIN` begins none, and after an
//! error only `ROLLBACK` or `COMMIT` goes on, as clients expect. Settings are those of how values are written, and
//! `statement_timeout`; DataFusion's own are not for clients.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{self, Set};
use datafusion_postgres::QueryHook;
use datafusion_postgres::hooks::HookClient;
use datafusion_postgres::hooks::set_show::SetShowHook;
use datafusion_postgres::pgwire::api::Type;
use datafusion_postgres::pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Response, Tag};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::response::TransactionStatus;

use super::{errors, functions};

/// Settings that act, by the name that clients use.
const SETTINGS: [&str; 7] = [
    "statement_timeout",
    "datestyle",
    "bytea_output",
    "intervalstyle",
    "application_name",
    "extra_float_digits",
    "search_path",
];

/// What a client said of itself and its session, by name.
type Said = HashMap<String, String>;

/// The library sets these in a session of DataFusion too; it gets one that nobody asks anything.
static NO_SESSION: LazyLock<SessionContext> = LazyLock::new(SessionContext::new);

/// After an error in a transaction only its end is taken.
///
/// # Errors
/// 25P02.
pub(super) fn check_transaction(status: TransactionStatus, statement: &ast::Statement) -> PgWireResult<()> {
    let ends = matches!(statement, ast::Statement::Commit { .. } | ast::Statement::Rollback { .. });
    match status {
        TransactionStatus::Error if !ends => {
            let text = "current transaction is aborted, commands ignored until end of transaction block";
            Err(errors::error("25P02", text))
        }
        _ => Ok(()),
    }
}

/// Answers a statement about the session.
///
/// # Errors
/// 42704 for a setting that is none, 42501 for a role that cannot be taken.
pub(super) async fn answer<C>(client: &mut C, statement: &ast::Statement) -> PgWireResult<Response>
where
    C: HookClient,
{
    use ast::Statement as S;

    let done = |word: &str| Ok(Response::Execution(Tag::new(word)));
    match statement {
        S::StartTransaction { .. } => Ok(Response::TransactionStart(Tag::new("BEGIN"))),
        S::Commit { .. } => {
            let failed = matches!(client.transaction_status(), TransactionStatus::Error);
            Ok(Response::TransactionEnd(Tag::new(if failed { "ROLLBACK" } else { "COMMIT" })))
        }
        // Back to a savepoint: the transaction goes on. Nothing was changed since.
        S::Rollback { savepoint: Some(_), .. } => Ok(Response::TransactionStart(Tag::new("ROLLBACK"))),
        S::Rollback { .. } => Ok(Response::TransactionEnd(Tag::new("ROLLBACK"))),
        S::Savepoint { .. } => done("SAVEPOINT"),
        S::ReleaseSavepoint { .. } => done("RELEASE"),
        S::Set(set) => assign(client, statement, set).await,
        S::Reset(_) => done("RESET"),
        S::Deallocate { .. } => done("DEALLOCATE"),
        S::Discard { .. } => done("DISCARD ALL"),
        S::UNLISTEN { .. } => done("UNLISTEN"),
        other => Err(errors::error("0A000", format!("{other} is not supported"))),
    }
}

async fn assign<C: HookClient>(client: &mut C, statement: &ast::Statement, set: &Set) -> PgWireResult<Response> {
    let name = match set {
        Set::SingleAssignment { variable, .. } => variable.to_string().to_lowercase().replace('"', ""),
        Set::SetTimeZone { .. } => "timezone".to_owned(),
        Set::SetRole { .. } | Set::SetSessionAuthorization(_) => {
            return Err(errors::error("42501", "permission denied to set role: who you are is said at login"));
        }
        Set::SetNames { .. } | Set::SetNamesDefault {} | Set::SetTransaction { .. } => String::new(),
        _ => return Err(errors::error("0A000", "this form of SET is not supported")),
    };
    let acts = SETTINGS.contains(&name.as_str()) || name == "timezone";
    if name.contains('.') {
        let text = format!("unrecognized configuration parameter \"{name}\"");
        return Err(errors::error("42704", text));
    }
    let hooked = if acts { SetShowHook.handle_simple_query(statement, &NO_SESSION, client).await } else { None };
    hooked.unwrap_or_else(|| Ok(Response::Execution(Tag::new("SET"))))
}

/// `SHOW name`.
///
/// # Errors
/// 42704 for a setting that is none.
pub(super) fn show(said: &Said, variable: &[ast::Ident], format: FieldFormat) -> PgWireResult<QueryResponse> {
    let name = variable.iter().map(|part| part.value.to_lowercase()).collect::<Vec<_>>().join("_");
    let asked_for = |name: &str| said.get(name).cloned();
    let value = match name.as_str() {
        "statement_timeout" => statement_timeout(said).map(|timeout| format!("{}ms", timeout.as_millis())),
        "time_zone" | "timezone" => asked_for("timezone"),
        "session_authorization" => asked_for("user"),
        name if SETTINGS.contains(&name) => asked_for(name),
        _ => None,
    };
    let missing = || errors::error("42704", format!("unrecognized configuration parameter \"{name}\""));
    let value = value.or_else(|| functions::setting(&name)).ok_or_else(missing)?;
    let fields = Arc::new(vec![FieldInfo::new(name, None, None, Type::TEXT, format)]);
    let mut encoder = DataRowEncoder::new(fields.clone());
    encoder.encode_field(&Some(value))?;
    let row: PgWireResult<_> = Ok(encoder.take_row());
    let mut response = QueryResponse::new(fields, futures::stream::iter([row]));
    response.set_command_tag("SHOW");
    Ok(response)
}

/// How long a client lets a statement run.
pub(super) fn statement_timeout(said: &Said) -> Option<Duration> {
    // Where the library keeps it.
    let milliseconds = said.get("statement_timeout_ms")?;
    milliseconds.parse().ok().map(Duration::from_millis)
}

/// What the library never returns from a statement that is answered with a word.
pub(super) fn unexpected() -> PgWireError {
    errors::error("XX000", "a statement was answered in a way that nobody expected")
}
