//! The calls of Flight SQL.

use std::pin::Pin;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandPreparedStatementQuery,
    CommandPreparedStatementUpdate, CommandStatementIngest, CommandStatementQuery, CommandStatementUpdate,
    DoPutPreparedStatementResult, ProstMessageExt, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage, SchemaAsIpc, Ticket,
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};

use super::logins::Logins;
use super::prepared::{self, PreparedStatements};
use super::{keys, metadata, statements};
use crate::api::Shared;
use crate::sql::placeholders::numbered;

/// Batches of parameters that are looked at.
const PARAMETER_BATCHES_MAX: usize = 16;

type Rows = <FlightDoor as FlightService>::DoGetStream;
type Handshakes = Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>;

/// The service. Cheap to clone.
#[derive(Clone)]
pub(super) struct FlightDoor {
    shared: Shared,
    logins: Logins,
    prepared: PreparedStatements,
}

impl FlightDoor {
    pub(super) fn new(shared: Shared) -> Self {
        FlightDoor { shared, logins: Logins::default(), prepared: PreparedStatements::default() }
    }

    /// What a command about the catalog will answer: the same command is its ticket.
    async fn announce<C: ProstMessageExt>(
        &self,
        command: C,
        schema: &Schema,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.logins.caller(&self.shared, &request).await?;
        let ticket = command.as_any().encode_to_vec();
        Ok(Response::new(statements::info(request.into_inner(), schema, ticket)?))
    }
}

/// One batch as an answer.
fn answer(batch: Result<RecordBatch, Status>) -> Result<Response<Rows>, Status> {
    let batch = batch?;
    Ok(Response::new(statements::encoded(batch.schema(), stream::iter([Ok(batch)]))))
}

fn ipc(schema: &Schema) -> Result<bytes::Bytes, Status> {
    let options = IpcWriteOptions::default();
    let message: Result<IpcMessage, _> = SchemaAsIpc::new(schema, &options).try_into();
    message.map(|message| message.0).map_err(|error| Status::internal(error.to_string()))
}

fn read_only() -> Status {
    Status::invalid_argument("this server only reads: ask with a query, not with an update")
}

#[tonic::async_trait]
impl FlightSqlService for FlightDoor {
    type FlightService = FlightDoor;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Handshakes>, Status> {
        let caller = self.logins.caller(&self.shared, &request).await?;
        let token = self.logins.token_for(&caller.principal);
        let shown = MetadataValue::try_from(format!("Bearer {token}"));
        let shown = shown.map_err(|error| Status::internal(error.to_string()))?;
        let said = HandshakeResponse { protocol_version: 0, payload: token.into() };
        let mut response: Response<Handshakes> = Response::new(Box::pin(stream::iter([Ok(said)])));
        response.metadata_mut().insert("authorization", shown);
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let caller = self.logins.caller(&self.shared, &request).await?;
        let planned = statements::plan(&self.shared, &caller, &query.query).await?;
        let ticket = TicketStatementQuery { statement_handle: query.query.into() }.as_any().encode_to_vec();
        Ok(Response::new(statements::info(request.into_inner(), &planned.schema(), ticket)?))
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<Rows>, Status> {
        let caller = self.logins.caller(&self.shared, &request).await?;
        let text = std::str::from_utf8(&ticket.statement_handle);
        let text = text.map_err(|_| Status::invalid_argument("the ticket is no statement"))?;
        let planned = statements::plan(&self.shared, &caller, text).await?;
        Ok(Response::new(planned.rows(&self.shared, Vec::new()).await?))
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let caller = self.logins.caller(&self.shared, &request).await?;
        let text = numbered(&query.query);
        let planned = statements::plan(&self.shared, &caller, &text).await?;
        Ok(ActionCreatePreparedStatementResult {
            dataset_schema: ipc(&planned.schema())?,
            parameter_schema: ipc(&prepared::parameters(&planned.plan)?)?,
            prepared_statement_handle: self.prepared.add(&caller, &text).into(),
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        let caller = self.logins.caller(&self.shared, &request).await?;
        self.prepared.remove(&caller, &query.prepared_statement_handle);
        Ok(())
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let caller = self.logins.caller(&self.shared, &request).await?;
        let statement = self.prepared.of(&caller, &query.prepared_statement_handle)?;
        let data = request.into_inner().map_err(|status| FlightError::Tonic(Box::new(status)));
        let batches = FlightRecordBatchStream::new_from_flight_data(data).take(PARAMETER_BATCHES_MAX);
        let batches: Vec<RecordBatch> = batches.try_collect().await.map_err(Status::from)?;
        statement.bind(&batches)?;
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(query.prepared_statement_handle) })
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let caller = self.logins.caller(&self.shared, &request).await?;
        let statement = self.prepared.of(&caller, &query.prepared_statement_handle)?;
        let planned = statements::plan(&self.shared, &caller, &statement.text).await?;
        let ticket = query.as_any().encode_to_vec();
        Ok(Response::new(statements::info(request.into_inner(), &planned.schema(), ticket)?))
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<Rows>, Status> {
        let caller = self.logins.caller(&self.shared, &request).await?;
        let statement = self.prepared.of(&caller, &query.prepared_statement_handle)?;
        let planned = statements::plan(&self.shared, &caller, &statement.text).await?;
        Ok(Response::new(planned.rows(&self.shared, statement.values()).await?))
    }

    async fn do_put_statement_update(
        &self,
        _: CommandStatementUpdate,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(read_only())
    }

    async fn do_put_statement_ingest(
        &self,
        _: CommandStatementIngest,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(read_only())
    }

    async fn do_put_prepared_statement_update(
        &self,
        _: CommandPreparedStatementUpdate,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(read_only())
    }

    async fn get_flight_info_catalogs(
        &self,
        command: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let schema = command.into_builder().schema();
        self.announce(command, &schema, request).await
    }

    async fn do_get_catalogs(
        &self,
        command: CommandGetCatalogs,
        request: Request<Ticket>,
    ) -> Result<Response<Rows>, Status> {
        self.logins.caller(&self.shared, &request).await?;
        answer(metadata::catalogs(command))
    }

    async fn get_flight_info_schemas(
        &self,
        command: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let schema = command.clone().into_builder().schema();
        self.announce(command, &schema, request).await
    }

    async fn do_get_schemas(
        &self,
        command: CommandGetDbSchemas,
        request: Request<Ticket>,
    ) -> Result<Response<Rows>, Status> {
        self.logins.caller(&self.shared, &request).await?;
        answer(metadata::schemas(command))
    }

    async fn get_flight_info_tables(
        &self,
        command: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let schema = command.clone().into_builder().schema();
        self.announce(command, &schema, request).await
    }

    async fn do_get_tables(
        &self,
        command: CommandGetTables,
        request: Request<Ticket>,
    ) -> Result<Response<Rows>, Status> {
        let caller = self.logins.caller(&self.shared, &request).await?;
        answer(metadata::tables(&self.shared, &caller, command).await)
    }

    async fn get_flight_info_table_types(
        &self,
        command: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let schema = command.into_builder().schema();
        self.announce(command, &schema, request).await
    }

    async fn do_get_table_types(
        &self,
        command: CommandGetTableTypes,
        request: Request<Ticket>,
    ) -> Result<Response<Rows>, Status> {
        self.logins.caller(&self.shared, &request).await?;
        answer(metadata::table_types(command))
    }

    async fn get_flight_info_sql_info(
        &self,
        command: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let schema = metadata::server(command.clone())?.schema();
        self.announce(command, &schema, request).await
    }

    async fn do_get_sql_info(
        &self,
        command: CommandGetSqlInfo,
        request: Request<Ticket>,
    ) -> Result<Response<Rows>, Status> {
        self.logins.caller(&self.shared, &request).await?;
        answer(metadata::server(command))
    }

    async fn get_flight_info_primary_keys(
        &self,
        command: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.announce(command, &keys::PRIMARY, request).await
    }

    async fn do_get_primary_keys(
        &self,
        _: CommandGetPrimaryKeys,
        request: Request<Ticket>,
    ) -> Result<Response<Rows>, Status> {
        self.logins.caller(&self.shared, &request).await?;
        answer(Ok(RecordBatch::new_empty(keys::PRIMARY.clone())))
    }

    async fn get_flight_info_exported_keys(
        &self,
        command: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.announce(command, &keys::FOREIGN, request).await
    }

    async fn do_get_exported_keys(
        &self,
        _: CommandGetExportedKeys,
        request: Request<Ticket>,
    ) -> Result<Response<Rows>, Status> {
        self.logins.caller(&self.shared, &request).await?;
        answer(Ok(RecordBatch::new_empty(keys::FOREIGN.clone())))
    }

    async fn get_flight_info_imported_keys(
        &self,
        command: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.announce(command, &keys::FOREIGN, request).await
    }

    async fn do_get_imported_keys(
        &self,
        _: CommandGetImportedKeys,
        request: Request<Ticket>,
    ) -> Result<Response<Rows>, Status> {
        self.logins.caller(&self.shared, &request).await?;
        answer(Ok(RecordBatch::new_empty(keys::FOREIGN.clone())))
    }

    async fn get_flight_info_cross_reference(
        &self,
        command: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.announce(command, &keys::FOREIGN, request).await
    }

    async fn do_get_cross_reference(
        &self,
        _: CommandGetCrossReference,
        request: Request<Ticket>,
    ) -> Result<Response<Rows>, Status> {
        self.logins.caller(&self.shared, &request).await?;
        answer(Ok(RecordBatch::new_empty(keys::FOREIGN.clone())))
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}
