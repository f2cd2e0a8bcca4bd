//! Statements as they come: as text alone, or prepared, bound and executed.
//!
//! ```text
//! Query ─▶ each statement: prepare ─▶ begin ─▶ rows sent ─▶ the next            ─▶ ReadyForQuery
//! Parse ─▶ prepare ─▶ Bind ─▶ portal ─▶ Execute(n): begin, n rows ─▶ suspended ─▶ Execute(n) ─▶ …   Sync
//! ```
//!
//! Written anew where the library reads a whole result before it sends the first row, or begins a second statement
//! before the first has ended.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use datafusion::sql::sqlparser::ast;
use datafusion_postgres::pgwire::api::portal::{Format, Portal, PortalExecutionState};
use datafusion_postgres::pgwire::api::query::{
    ExtendedQueryHandler, SimpleQueryHandler, send_describe_response, send_execution_response,
    send_partial_query_response, send_query_response, send_ready_for_query,
};
use datafusion_postgres::pgwire::api::results::{
    DescribePortalResponse, FieldFormat, FieldInfo, QueryResponse, Response,
};
use datafusion_postgres::pgwire::api::stmt::{QueryParser, StoredStatement};
use datafusion_postgres::pgwire::api::store::{Entry, PortalStore};
use datafusion_postgres::pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState, Type};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete, Sync as SyncMessage,
    TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
};
use datafusion_postgres::pgwire::messages::response::{EmptyQueryResponse, TransactionStatus};
use datafusion_postgres::pgwire::messages::simplequery::Query;
use datafusion_postgres::pgwire::types::format::FormatOptions;
use futures::{Sink, SinkExt};
use parking_lot::Mutex;

use super::read_only::Kind;
use super::rows::{self, Source};
use super::session::{Prepared, Session};
use super::{control, copy, errors, params};

/// Statements that a connection may have prepared, and portals it may have open.
const STATEMENTS_MAX: usize = 1000;
const PORTALS_MAX: usize = 64;

/// The handlers of one connection. Cheap to clone.
#[derive(Clone)]
pub(super) struct Queries {
    session: Arc<OnceLock<Arc<Session>>>,
    names: Arc<Mutex<Names>>,
}

/// Names that the library's store has values for; it does not tell how many.
#[derive(Default)]
struct Names {
    statements: BTreeSet<String>,
    portals: BTreeSet<String>,
}

fn options<C: ClientInfo>(client: &C) -> Arc<FormatOptions> {
    Arc::new(FormatOptions::from_client_metadata(client.metadata()))
}

fn add(names: &mut BTreeSet<String>, name: &str, most: usize, what: &str) -> PgWireResult<()> {
    if names.len() >= most && !names.contains(name) {
        return Err(errors::error("53000", format!("{most} {what} are open: close some")));
    }
    names.insert(name.to_owned());
    Ok(())
}

impl Queries {
    pub(super) fn new(session: Arc<OnceLock<Arc<Session>>>) -> Self {
        Queries { session, names: Arc::default() }
    }

    fn session(&self) -> PgWireResult<&Arc<Session>> {
        self.session.get().ok_or_else(|| errors::fatal("08P01", "a statement before the login"))
    }

    /// Executes what was prepared; `portal` has the values of its parameters and the formats of its columns.
    async fn answer<C>(&self, client: &mut C, portal: &Portal<Prepared>) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let prepared = &portal.statement.statement;
        control::check_transaction(client.transaction_status(), &prepared.statement)?;
        let session = self.session()?;
        let format = &portal.result_column_format;
        match &*prepared.statement {
            ast::Statement::ShowVariable { variable } => {
                let format = match format {
                    Format::UnifiedBinary => FieldFormat::Binary,
                    Format::UnifiedText | Format::Individual(_) => FieldFormat::Text,
                };
                Ok(Response::Query(control::show(client.metadata(), variable, format)?))
            }
            ast::Statement::Fetch { name, direction, .. } => {
                let options = options(client);
                session.cursors.fetch(&name.value, direction, format, &options).await.map(Response::Query)
            }
            ast::Statement::Close { cursor } => session.cursors.close(cursor),
            ast::Statement::Declare { stmts } => {
                let declare = stmts.first().ok_or_else(control::unexpected)?;
                let name = session.cursors.check(declare)?;
                let source = self.begin(client, portal).await?;
                Ok(session.cursors.open(name, declare, source))
            }
            ast::Statement::Copy { options, legacy_options, .. } => {
                let form = copy::form(options, legacy_options)?;
                let source = self.begin(client, portal).await?;
                copy::written(source, &form).map(Response::CopyOut)
            }
            _ if prepared.kind == Kind::Reads => self.rows(client, portal).await.map(Response::Query),
            _ => {
                let answer = control::answer(client, &prepared.statement).await?;
                if matches!(answer, Response::TransactionEnd(_)) {
                    session.cursors.end_transaction();
                    client.portal_store().clear_portals();
                    self.names.lock().portals.clear();
                }
                Ok(answer)
            }
        }
    }

    async fn begin<C: ClientInfo>(&self, client: &C, portal: &Portal<Prepared>) -> PgWireResult<Source> {
        let session = self.session()?;
        let prepared = &portal.statement.statement;
        let plan = prepared.plan.as_ref().ok_or_else(control::unexpected)?;
        let (plan, values) = params::bound(plan, portal)?;
        let timeout = control::statement_timeout(client.metadata());
        let rows = session.begin(&prepared.text, values, plan, timeout).await?;
        Ok(Source::new(session.clone(), rows))
    }

    async fn rows<C: ClientInfo>(&self, client: &C, portal: &Portal<Prepared>) -> PgWireResult<QueryResponse> {
        let source = Box::new(self.begin(client, portal).await?);
        let mut response = rows::answer(source, usize::MAX, &portal.result_column_format, &options(client))?;
        if matches!(&*portal.statement.statement.statement, ast::Statement::Explain { .. }) {
            response.set_command_tag("EXPLAIN");
        }
        Ok(response)
    }

    /// The statements of one message, one after the other.
    async fn each<C>(&self, client: &mut C, text: &str) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statements = Session::parse(text)?;
        if statements.is_empty() {
            client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
        }
        let alone = statements.len() == 1;
        for statement in statements {
            let session = self.session()?;
            session.start();
            control::check_transaction(client.transaction_status(), &statement)?;
            let text = if alone { text.to_owned() } else { statement.to_string() };
            let prepared = session.prepare(statement, &text).await?;
            let stored = StoredStatement::new(String::new(), prepared, Vec::new());
            let portal = Portal::new_cursor(String::new(), Arc::new(stored));
            match self.answer(client, &portal).await? {
                Response::Query(rows) => send_query_response(client, rows, true).await?,
                Response::CopyOut(copy) => copy::send(client, copy).await?,
                word => self.word(client, word).await?,
            }
            session.leave_places();
        }
        Ok(())
    }

    /// Sends an answer without rows.
    async fn word<C>(&self, client: &mut C, answer: Response) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let status = client.transaction_status();
        let (tag, status) = match answer {
            Response::Execution(tag) => (tag, status),
            Response::TransactionStart(tag) => (tag, TransactionStatus::Transaction),
            Response::TransactionEnd(tag) => (tag, TransactionStatus::Idle),
            _ => return Err(control::unexpected()),
        };
        client.set_transaction_status(status);
        send_execution_response(client, tag).await
    }
}

#[async_trait]
impl SimpleQueryHandler for Queries {
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        client.set_state(PgWireConnectionState::QueryInProgress);
        let done = self.each(client, &query.query).await;
        self.session()?.leave_places();
        done?;
        client.set_state(PgWireConnectionState::ReadyForQuery);
        send_ready_for_query(client, client.transaction_status()).await
    }

    async fn do_query<C>(&self, _: &mut C, _: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Err(control::unexpected())
    }
}

#[async_trait]
impl ExtendedQueryHandler for Queries {
    type Statement = Prepared;
    type QueryParser = Queries;

    fn query_parser(&self) -> Arc<Self::QueryParser> {
        Arc::new(self.clone())
    }

    async fn on_parse<C>(&self, client: &mut C, message: Parse) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.clone().unwrap_or_else(|| DEFAULT_NAME.to_owned());
        add(&mut self.names.lock().statements, &name, STATEMENTS_MAX, "prepared statements")?;
        self.session()?.start();
        match self.parse_sql(client, &message.query, &[]).await? {
            Some(prepared) => {
                let known = |oid: &u32| Type::from_oid(*oid).filter(|known| *known != Type::UNKNOWN);
                let types = message.type_oids.iter().map(known).collect();
                client.portal_store().put_statement(Arc::new(StoredStatement::new(name, prepared, types)));
            }
            None => client.portal_store().put_empty_statement(&name),
        }
        client.feed(PgWireBackendMessage::ParseComplete(ParseComplete::new())).await?;
        Ok(())
    }

    async fn on_bind<C>(&self, client: &mut C, message: Bind) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statement = message.statement_name.as_deref().unwrap_or(DEFAULT_NAME);
        let name = message.portal_name.clone().unwrap_or_else(|| DEFAULT_NAME.to_owned());
        let (formats, values) = (message.parameter_format_codes.len(), message.parameters.len());
        if formats > 1 && formats != values {
            return Err(errors::error(
                "08P01",
                format!("bind message has {formats} parameter formats but {values} parameters"),
            ));
        }
        add(&mut self.names.lock().portals, &name, PORTALS_MAX, "portals")?;
        match client.portal_store().get_statement(statement) {
            Some(Entry::Value(statement)) => {
                let portal = Portal::try_new(&message, statement)?;
                client.portal_store().put_portal(Arc::new(portal));
            }
            Some(Entry::Empty) => client.portal_store().put_empty_portal(&name),
            None => return Err(PgWireError::StatementNotFound(statement.to_owned())),
        }
        client.feed(PgWireBackendMessage::BindComplete(BindComplete::new())).await?;
        Ok(())
    }

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => portal,
            Some(Entry::Empty) => {
                client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
                return Ok(());
            }
            None => return Err(PgWireError::PortalNotFound(name.to_owned())),
        };
        let session = self.session()?;
        session.start();
        let mut state = portal.state.lock().await;
        if matches!(*state, PortalExecutionState::Initial) {
            match self.answer(client, &portal).await? {
                Response::Query(rows) => *state = PortalExecutionState::Suspended(rows),
                Response::CopyOut(copy) => {
                    *state = PortalExecutionState::Finished;
                    return copy::send(client, copy).await;
                }
                word => {
                    *state = PortalExecutionState::Finished;
                    return self.word(client, word).await;
                }
            }
        }
        // A number below 1 means all.
        let most = usize::try_from(message.max_rows).unwrap_or(0);
        let sent = match &mut *state {
            PortalExecutionState::Suspended(rows) => send_partial_query_response(client, rows, most).await,
            _ => {
                let mut nothing = QueryResponse::new(Arc::default(), futures::stream::empty());
                send_partial_query_response(client, &mut nothing, 0).await
            }
        };
        if !matches!(sent, Ok(true)) {
            *state = PortalExecutionState::Finished;
        }
        session.leave_places();
        sent.map(|_| ())
    }

    async fn on_describe<C>(&self, client: &mut C, message: Describe) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        if message.target_type == TARGET_TYPE_BYTE_PORTAL
            && let Some(schema) = self.session()?.cursors.schema(name)
        {
            let fields = rows::fields(&schema, &Format::UnifiedText, &options(client))?;
            return send_describe_response(client, &DescribePortalResponse::new(fields)).await;
        }
        self._on_describe(client, message).await
    }

    async fn on_sync<C>(&self, client: &mut C, _: SyncMessage) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // Portals end with their transaction, and without one at the next Sync.
        if matches!(client.transaction_status(), TransactionStatus::Idle) {
            client.portal_store().clear_portals();
            self.names.lock().portals.clear();
        } else {
            client.portal_store().rm_portal(DEFAULT_NAME);
            self.names.lock().portals.remove(DEFAULT_NAME);
        }
        send_ready_for_query(client, client.transaction_status()).await
    }

    async fn on_close<C>(&self, client: &mut C, message: Close) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        if message.target_type == TARGET_TYPE_BYTE_STATEMENT {
            client.portal_store().rm_statement(name);
            self.names.lock().statements.remove(name);
        } else {
            client.portal_store().rm_portal(name);
            self.names.lock().portals.remove(name);
        }
        client.feed(PgWireBackendMessage::CloseComplete(CloseComplete::new())).await?;
        Ok(())
    }

    async fn do_query<C>(&self, _: &mut C, _: &Portal<Prepared>, _: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Err(control::unexpected())
    }
}

#[async_trait]
impl QueryParser for Queries {
    type Statement = Prepared;

    async fn parse_sql<C>(&self, client: &C, text: &str, _: &[Option<Type>]) -> PgWireResult<Option<Prepared>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut statements = Session::parse(text)?;
        if statements.len() > 1 {
            return Err(errors::error("42601", "cannot insert multiple commands into a prepared statement"));
        }
        let Some(statement) = statements.pop() else { return Ok(None) };
        control::check_transaction(client.transaction_status(), &statement)?;
        self.session()?.prepare(statement, text).await.map(Some)
    }

    fn get_parameter_types(&self, prepared: &Prepared) -> PgWireResult<Vec<Type>> {
        prepared.plan.as_ref().map_or(Ok(Vec::new()), |plan| params::types(plan))
    }

    fn get_result_schema(&self, prepared: &Prepared, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        let Some(schema) = &prepared.schema else { return Ok(Vec::new()) };
        rows::fields(rows::plain(schema).schema(), format.unwrap_or(&Format::UnifiedText), &Arc::default())
    }
}
