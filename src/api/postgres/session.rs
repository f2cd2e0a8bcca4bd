//! What a connection has once it is known who is there: a session over what they may see, and what runs in it.
//!
//! ```text
//! text ─▶ statements ─▶ kind ─▶ plan (query threads) ─▶ Prepared ─▶ begin (gate, list, record) ─▶ Rows
//! ```
//!
//! Invariant: a connection computes one statement at a time; what it left half read holds no place among the running.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::setup_pg_catalog;
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_postgres::pgwire::error::PgWireResult;
use parking_lot::Mutex;
use regex::Regex;
use tokio_util::sync::CancellationToken;

use super::cursors::Cursors;
use super::read_only::{self, Kind};
use super::{DOOR, control, copy, empty, errors, functions};
use crate::access::Action;
use crate::api::Shared;
use crate::api::audit::Note;
use crate::api::error::ApiError;
use crate::api::statement::{Asker, Place, Rows};
use crate::api::tenant::Caller;
use crate::query::sql::{DATABASE, SqlSource, read_only as only_reads};

/// Takes what Postgres' clients ask of its catalog and makes it what DataFusion can answer.
static PARSER: LazyLock<PostgresCompatibilityParser> = LazyLock::new(PostgresCompatibilityParser::new);
/// How the JDBC driver and `\dT` ask for types that are no rows of a table: with a subquery that has one row only for those
/// who know the catalog's keys.
static IS_COMPOSITE: LazyLock<Regex> = LazyLock::new(|| {
    let text = r"(?ix) \( \s* SELECT \s+ c\.relkind \s+ = \s+ 'c' \s+ FROM \s+ pg_catalog\.pg_class \s+ c
        \s+ WHERE \s+ c\.oid \s+ = \s+ t\.typrelid \s* \)";
    Regex::new(text).expect("a good pattern")
});

/// How the JDBC driver asks whether a type is an array: functions are kept by their names here.
const IS_ARRAY: &str = "typinput='pg_catalog.array_in'::regproc";

/// The same question in words that DataFusion can plan.
fn understood(text: &str) -> Cow<'_, str> {
    if text.contains(IS_ARRAY) {
        return Cow::Owned(text.replace(IS_ARRAY, "typinput = 'array_in'"));
    }
    let same = "t.typrelid IN (SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relkind = 'c')";
    if text.contains("typrelid") { IS_COMPOSITE.replace_all(text, same) } else { Cow::Borrowed(text) }
}

/// Who is there, and what they have open.
pub(super) struct Session {
    shared: Shared,
    caller: Caller,
    source: SqlSource,
    context: SessionContext,
    /// Stops the statement that runs now.
    running: Mutex<CancellationToken>,
    /// Of rows that are being read.
    places: Mutex<Vec<Weak<Place>>>,
    pub(super) cursors: Cursors,
}

/// A statement that was looked at. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) text: Arc<str>,
    pub(super) kind: Kind,
    pub(super) statement: Arc<ast::Statement>,
    /// What is computed: the statement's own plan, or that of a cursor.
    pub(super) plan: Option<Arc<LogicalPlan>>,
    /// The columns of its answer; none: it answers with a word.
    pub(super) schema: Option<SchemaRef>,
}

impl Session {
    /// # Errors
    /// When DataFusion cannot be set up.
    pub(super) fn open(shared: &Shared, caller: Caller, user: &str) -> Result<Self, ApiError> {
        let source = shared.state.engine.sql_source(&caller.scope(Action::Read)?);
        let context = shared.state.engine.sql_session(&source)?;
        setup_pg_catalog(&context, DATABASE, EmptyContextProvider).map_err(|error| bug(&error))?;
        functions::register(&context, user);
        Ok(Session {
            shared: shared.clone(),
            caller,
            source,
            context,
            running: Mutex::default(),
            places: Mutex::default(),
            cursors: Cursors::default(),
        })
    }

    /// Begins something that a client can stop.
    pub(super) fn start(&self) {
        *self.running.lock() = CancellationToken::new();
    }

    /// Stops what runs now, and nothing that comes later.
    pub(super) fn cancel(&self) {
        self.running.lock().cancel();
    }

    pub(super) fn stop(&self) -> CancellationToken {
        self.running.lock().clone()
    }

    /// Gives back the places of rows that nobody reads now.
    pub(super) fn leave_places(&self) {
        self.places.lock().retain(|place| match place.upgrade() {
            Some(place) => {
                place.leave();
                true
            }
            None => false,
        });
    }

    /// # Errors
    /// 42601.
    pub(super) fn parse(text: &str) -> PgWireResult<Vec<ast::Statement>> {
        PARSER.parse(&understood(text)).map_err(|error| errors::error("42601", error.to_string()))
    }

    /// Looks at a statement, as its client wrote it.
    ///
    /// # Errors
    /// For what cannot be planned, or does more than read. It is recorded.
    pub(super) async fn prepare(&self, statement: ast::Statement, text: &str) -> PgWireResult<Prepared> {
        let text: Arc<str> = text.trim().trim_end_matches(';').into();
        let kind = read_only::kind(&statement)?;
        let (mut plan, mut schema) = (None, None);
        match (&statement, kind) {
            (ast::Statement::Declare { stmts }, _) => {
                let query = stmts.first().and_then(|declare| declare.for_query.clone());
                if let Some(query) = query {
                    plan = Some(self.plan(ast::Statement::Query(query), &text).await?);
                }
            }
            (ast::Statement::Copy { source, .. }, _) => {
                let query = Session::parse(&copy::query(source))?.into_iter().next();
                plan = Some(self.plan(query.ok_or_else(control::unexpected)?, &text).await?);
            }
            (ast::Statement::Fetch { name, .. }, _) => {
                let columns = self.cursors.schema(&name.value);
                let missing = || errors::error("34000", format!("cursor \"{}\" does not exist", name.value));
                schema = Some(columns.ok_or_else(missing)?);
            }
            (ast::Statement::ShowVariable { variable }, _) => {
                let name = variable.iter().map(|part| part.value.to_lowercase()).collect::<Vec<_>>().join("_");
                schema = Some(Arc::new(Schema::new(vec![Field::new(name, DataType::Utf8, false)])));
            }
            (_, Kind::Reads) => {
                let planned = self.plan(statement.clone(), &text).await?;
                schema = Some(Arc::new(planned.schema().as_arrow().clone()));
                plan = Some(planned);
            }
            _ => {}
        }
        Ok(Prepared { text, kind, statement: Arc::new(statement), plan, schema })
    }

    async fn plan(&self, statement: ast::Statement, text: &str) -> PgWireResult<Arc<LogicalPlan>> {
        if let Some(plan) = empty::plan(&statement) {
            return Ok(Arc::new(plan));
        }
        let state = self.context.state();
        let parsed = DfStatement::Statement(Box::new(statement.clone()));
        let planning = async move { state.statement_to_plan(parsed).await };
        let timeout = self.timeout(None);
        let planned = tokio::select! {
            planned = self.shared.state.engine.sql_planning(timeout, planning) => planned,
            () = self.stop().cancelled_owned() => return Err(errors::canceled()),
        };
        let refused = match planned.map_err(ApiError::from) {
            Ok(Ok(plan)) => match only_reads().verify_plan(&plan) {
                Ok(()) => return Ok(Arc::new(plan)),
                Err(_) => read_only::writes(&statement),
            },
            Ok(Err(failed)) => errors::of_planning(failed),
            Err(error) => errors::of_api(&error),
        };
        let told = Note::of_statement(&self.shared.state.audit, DOOR, "statement", &self.caller, text).hand_on();
        told.fail(400, &refused.to_string());
        Err(refused)
    }

    /// Begins a plan; `params` are the values that were put into it, for the record.
    ///
    /// # Errors
    /// As clients know them.
    pub(super) async fn begin(
        &self,
        text: &str,
        params: String,
        plan: LogicalPlan,
        timeout: Option<Duration>,
    ) -> PgWireResult<Rows> {
        let audit = &self.shared.state.audit;
        let note = Note::of_statement(audit, DOOR, "statement", &self.caller, text);
        note.with(|event| event.params = params);
        let is_catalog = reads_the_catalog_alone(&plan);
        if is_catalog {
            note.action(Action::Read);
        }
        let told = note.hand_on();
        let beginning = async {
            let asker = Asker::new(&self.shared, &self.caller)?;
            let asker = if is_catalog { asker.unbounded() } else { asker };
            let timeout = self.timeout(timeout);
            let computing = self.shared.state.engine.sql_plan(&self.source, &self.context, text, plan, timeout);
            asker.begin(&self.shared, note, text, computing).await
        };
        let begun = tokio::select! {
            begun = beginning => begun,
            () = self.stop().cancelled_owned() => return Err(errors::canceled()),
        };
        let mut rows = match begun {
            Ok(rows) => rows,
            Err(error) => {
                told.fail(error.status.as_u16(), &error.text);
                return Err(errors::of_api(&error));
            }
        };
        rows.tell(told);
        self.places.lock().push(Arc::downgrade(&rows.place()));
        tokio::select! {
            gathered = rows.gather() => gathered.map_err(|error| errors::of_api(&error))?,
            () = self.stop().cancelled_owned() => return Err(errors::canceled()),
        }
        Ok(rows)
    }

    /// How long a statement may compute: what the server says, or less, if the client says so.
    fn timeout(&self, asked: Option<Duration>) -> Duration {
        let limits = self.shared.limits_of(&self.source.scope);
        let most = self.shared.state.config.query_timeout(&limits).to_std();
        asked.map_or(most, |asked| asked.min(most))
    }
}

/// Whether a plan asks only what there is, as clients do all the time to draw their menus.
fn reads_the_catalog_alone(plan: &LogicalPlan) -> bool {
    let mut alone = true;
    // The walk itself cannot fail.
    let _: Result<_, DataFusionError> = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            alone &= matches!(scan.table_name.schema(), Some("pg_catalog" | "information_schema"));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    alone
}

#[expect(clippy::borrowed_box, reason = "that is what setup_pg_catalog gives")]
fn bug(error: &Box<DataFusionError>) -> ApiError {
    ApiError::new(crate::api::error::ErrorKind::Bug, error.to_string())
}
