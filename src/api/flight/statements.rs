//! Statements: planned to say their columns, computed to give their rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::{FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, Ticket};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use tonic::{Code, Status};

use super::DOOR;
use crate::access::Action;
use crate::api::Shared;
use crate::api::audit::Note;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::statement::{Asker, Rows};
use crate::api::tenant::Caller;
use crate::query::QueryError;
use crate::query::sql::{SqlSource, read_only};
use crate::sql::params;
use crate::sql::plain::Plain;

/// Bytes of a statement.
const STATEMENT_BYTES_MAX: usize = 1 << 20;

/// A statement of a caller, planned.
pub(super) struct Planned {
    asker: Asker,
    source: SqlSource,
    context: SessionContext,
    pub(super) plan: LogicalPlan,
    text: String,
}

/// Plans a statement in a session of what the caller may see.
///
/// # Errors
/// For what does not parse, plan, or only read; it is recorded.
pub(super) async fn plan(shared: &Shared, caller: &Caller, text: &str) -> Result<Planned, Status> {
    let planned = async {
        if text.len() > STATEMENT_BYTES_MAX {
            let text = format!("statement larger than {STATEMENT_BYTES_MAX} bytes");
            return Err(ApiError::new(ErrorKind::TooLarge, text));
        }
        let asker = Asker::new(shared, caller)?;
        let engine = &shared.state.engine;
        let source = engine.sql_source(&caller.scope(Action::Read)?);
        let context = engine.sql_session(&source)?;
        let (state, statement) = (context.state(), text.to_owned());
        let planning = async move { state.create_logical_plan(&statement).await };
        let plan = engine.sql_planning(engine.timeout(), planning).await?.map_err(QueryError::from)?;
        read_only().verify_plan(&plan).map_err(QueryError::from)?;
        Ok(Planned { asker, source, context, plan, text: text.to_owned() })
    };
    let planned: Result<Planned, ApiError> = planned.await;
    planned.map_err(|error| {
        let told = Note::of_statement(&shared.state.audit, DOOR, "statement", caller, text).hand_on();
        told.fail(error.status.as_u16(), &error.text);
        status(&error)
    })
}

impl Planned {
    /// The columns of the rows, as they are sent.
    pub(super) fn schema(&self) -> SchemaRef {
        Shape::new(self.plan.schema().as_arrow()).schema
    }

    /// Computes; `values` are those of `$1`, `$2`, ….
    ///
    /// # Errors
    /// Those of `/api/v1/sql`.
    pub(super) async fn rows(
        self,
        shared: &Shared,
        values: Vec<ScalarValue>,
    ) -> Result<BoxStream<'static, Result<FlightData, Status>>, Status> {
        let note = Note::of_statement(&shared.state.audit, DOOR, "statement", &self.asker.caller, &self.text);
        note.with(|event| event.params = params::to_text(&values));
        let told = note.hand_on();
        let limits = shared.limits_of(&self.asker.scope);
        let timeout = shared.state.config.query_timeout(&limits).to_std();
        let shape = Shape::new(self.plan.schema().as_arrow());
        let begun = async {
            let plan = match values.is_empty() {
                true => self.plan,
                false => self.plan.replace_params_with_values(&ParamValues::from(values)).map_err(QueryError::from)?,
            };
            let computing = shared.state.engine.sql_plan(&self.source, &self.context, &self.text, plan, timeout);
            self.asker.begin(shared, note, &self.text, computing).await
        };
        let begun: Result<Rows, ApiError> = begun.await;
        let mut rows = match begun {
            Ok(rows) => rows,
            Err(error) => {
                told.fail(error.status.as_u16(), &error.text);
                return Err(status(&error));
            }
        };
        rows.tell(told);
        rows.gather().await.map_err(|error| status(&error))?;
        let schema = shape.schema.clone();
        let batches = stream::unfold(Some((rows, shape)), |state| async move {
            let (mut rows, shape) = state?;
            match rows.next().await? {
                Err(error) => Some((Err(FlightError::Tonic(Box::new(status(&error)))), None)),
                Ok(batch) => match shape.batch(batch) {
                    Ok(batch) => Some((Ok(batch), Some((rows, shape)))),
                    Err(error) => {
                        rows.break_off(&error.to_string());
                        Some((Err(FlightError::Arrow(error)), None))
                    }
                },
            }
        });
        Ok(encoded(schema, batches))
    }
}

/// Batches as messages of Flight.
pub(super) fn encoded(
    schema: SchemaRef,
    batches: impl stream::Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static,
) -> BoxStream<'static, Result<FlightData, Status>> {
    FlightDataEncoderBuilder::new().with_schema(schema).build(batches).map_err(Status::from).boxed()
}

/// Says what rows there will be, and where: here, for this ticket.
///
/// # Errors
/// For columns that Arrow's messages cannot hold.
pub(super) fn info(descriptor: FlightDescriptor, schema: &Schema, ticket: Vec<u8>) -> Result<FlightInfo, Status> {
    let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket));
    let info = FlightInfo::new().try_with_schema(schema).map_err(|error| Status::internal(error.to_string()))?;
    Ok(info.with_endpoint(endpoint).with_descriptor(descriptor))
}

/// How rows are sent: the columns that were announced, whatever the computing made of them.
struct Shape {
    plain: Plain,
    schema: SchemaRef,
}

impl Shape {
    fn new(schema: &Schema) -> Self {
        // Most clients know no unions.
        let plain = Plain::new(schema, |field| !matches!(field.data_type(), DataType::Union(..)));
        let schema = Arc::new(announced(plain.schema()));
        Shape { plain, schema }
    }

    fn batch(&self, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
        let batch = self.plain.batch(batch)?;
        let columns = batch.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| match column.data_type() == field.data_type() {
            true => Ok(column.clone()),
            false => cast(column, field.data_type()),
        });
        let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }
}

/// Columns without what differs between a plan and its rows.
pub(super) fn announced(schema: &Schema) -> Schema {
    let column = |field: &FieldRef| Arc::new(Field::new(field.name(), known_type(field.data_type()), true));
    Schema::new(schema.fields().iter().map(column).collect::<Vec<_>>())
}

/// A type that every client knows: the JDBC driver and older Arrows have no views.
pub(super) fn known_type(data_type: &DataType) -> DataType {
    let within = |field: &FieldRef| {
        let data_type = known_type(field.data_type());
        Arc::new(field.as_ref().clone().with_data_type(data_type))
    };
    match data_type {
        DataType::Dictionary(_, values) => known_type(values),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(items) => DataType::List(within(items)),
        DataType::Map(entries, sorted) => DataType::Map(within(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(within).collect()),
        data_type => data_type.clone(),
    }
}

/// A refusal as gRPC says it.
pub(super) fn status(error: &ApiError) -> Status {
    let code = match error.status.as_u16() {
        400 | 413 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        429 => Code::ResourceExhausted,
        499 => Code::Cancelled,
        503 => Code::Unavailable,
        504 => Code::DeadlineExceeded,
        _ => Code::Internal,
    };
    Status::new(code, error.text.trim_end())
}
