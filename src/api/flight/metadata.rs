//! What there is: catalogs, schemas, tables, and what the server says of itself.

use std::sync::LazyLock;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, SqlInfo,
};
use tonic::Status;

use super::statements::announced;
use crate::access::Action;
use crate::api::Shared;
use crate::api::error::ApiError;
use crate::api::tenant::Caller;
use crate::query::sql::DATABASE;

/// The one schema of the one database, and what its tables are.
const SCHEMA: &str = "public";
const TABLE_TYPE: &str = "VIEW";
/// `SqlSupportedTransaction` of none.
const NO_TRANSACTIONS: i32 = 0;

static SERVER: LazyLock<Result<SqlInfoData, String>> = LazyLock::new(|| {
    let mut server = SqlInfoDataBuilder::new();
    server.append(SqlInfo::FlightSqlServerName, "Millrace");
    server.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    server.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
    server.append(SqlInfo::FlightSqlServerReadOnly, true);
    server.append(SqlInfo::FlightSqlServerSql, true);
    server.append(SqlInfo::FlightSqlServerSubstrait, false);
    server.append(SqlInfo::FlightSqlServerTransaction, NO_TRANSACTIONS);
    server.append(SqlInfo::FlightSqlServerCancel, false);
    server.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    server.append(SqlInfo::SqlDdlCatalog, false);
    server.append(SqlInfo::SqlDdlSchema, false);
    server.append(SqlInfo::SqlDdlTable, false);
    server.build().map_err(|error| error.to_string())
});

pub(super) fn catalogs(command: CommandGetCatalogs) -> Result<RecordBatch, Status> {
    let mut catalogs = command.into_builder();
    catalogs.append(DATABASE);
    built(catalogs.build())
}

pub(super) fn schemas(command: CommandGetDbSchemas) -> Result<RecordBatch, Status> {
    let mut schemas = command.into_builder();
    schemas.append(DATABASE, SCHEMA);
    built(schemas.build())
}

pub(super) fn table_types(command: CommandGetTableTypes) -> Result<RecordBatch, Status> {
    let mut types = command.into_builder();
    types.append(TABLE_TYPE);
    built(types.build())
}

pub(super) async fn tables(shared: &Shared, caller: &Caller, command: CommandGetTables) -> Result<RecordBatch, Status> {
    let session = || -> Result<_, ApiError> {
        let source = shared.state.engine.sql_source(&caller.scope(Action::Read)?);
        Ok(shared.state.engine.sql_session(&source)?)
    };
    let session = session().map_err(|error| super::statements::status(&error))?;
    let schema = session.catalog(DATABASE).and_then(|catalog| catalog.schema(SCHEMA));
    let schema = schema.ok_or_else(|| Status::internal("a session without its schema"))?;
    let mut tables = command.into_builder();
    let mut names = schema.table_names();
    names.sort();
    for name in names {
        if let Ok(Some(table)) = schema.table(&name).await {
            tables.append(DATABASE, SCHEMA, &name, TABLE_TYPE, &announced(&table.schema())).map_err(broken)?;
        }
    }
    built(tables.build())
}

pub(super) fn server(command: CommandGetSqlInfo) -> Result<RecordBatch, Status> {
    match &*SERVER {
        Ok(server) => built(command.into_builder(server).build()),
        Err(error) => Err(Status::internal(error.clone())),
    }
}

fn built(batch: Result<RecordBatch, FlightError>) -> Result<RecordBatch, Status> {
    batch.map_err(broken)
}

fn broken(error: impl Into<FlightError>) -> Status {
    match error.into() {
        FlightError::Arrow(ArrowError::InvalidArgumentError(text)) => Status::invalid_argument(text),
        error => Status::internal(error.to_string()),
    }
}
