//! Prepared statements: a text and the values bound to it, under a name that only its owner can use.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::LogicalPlan;
use parking_lot::Mutex;
use tonic::Status;

use super::statements::known_type;
use crate::api::tenant::Caller;
use crate::query::QueryError;
use crate::sql::params;
use crate::types::ids::TenantId;

/// Statements of all callers; each is a text and a row of values.
const STATEMENTS_MAX: u64 = 10_000;
/// How long one is kept without being used.
const IDLE_MAX: Duration = Duration::from_secs(1800);

/// All prepared statements. Cheap to clone.
#[derive(Clone)]
pub(super) struct PreparedStatements(moka::sync::Cache<String, Arc<Prepared>>);

/// One of them.
pub(super) struct Prepared {
    owner: String,
    tenants: Arc<[TenantId]>,
    pub(super) text: String,
    values: Mutex<Vec<ScalarValue>>,
}

impl Default for PreparedStatements {
    fn default() -> Self {
        PreparedStatements(moka::sync::Cache::builder().max_capacity(STATEMENTS_MAX).time_to_idle(IDLE_MAX).build())
    }
}

impl PreparedStatements {
    /// Keeps a statement; its handle.
    pub(super) fn add(&self, caller: &Caller, text: &str) -> String {
        let handle = uuid::Uuid::new_v4().simple().to_string();
        let prepared = Prepared {
            owner: caller.principal.name().to_owned(),
            tenants: caller.tenants.clone(),
            text: text.to_owned(),
            values: Mutex::default(),
        };
        self.0.insert(handle.clone(), Arc::new(prepared));
        handle
    }

    /// # Errors
    /// `NOT_FOUND`, also for what is another's.
    pub(super) fn of(&self, caller: &Caller, handle: &[u8]) -> Result<Arc<Prepared>, Status> {
        let found = std::str::from_utf8(handle).ok().and_then(|handle| self.0.get(handle));
        let own = found.filter(|found| found.owner == caller.principal.name() && found.tenants == caller.tenants);
        own.ok_or_else(|| Status::not_found("no such prepared statement: it was closed, or not used for long"))
    }

    pub(super) fn remove(&self, caller: &Caller, handle: &[u8]) {
        if self.of(caller, handle).is_ok()
            && let Ok(handle) = std::str::from_utf8(handle)
        {
            self.0.invalidate(handle);
        }
    }
}

impl Prepared {
    pub(super) fn values(&self) -> Vec<ScalarValue> {
        self.values.lock().clone()
    }

    /// Binds the first row of `batches`.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for no row, or several: a statement that reads is asked once.
    pub(super) fn bind(&self, batches: &[RecordBatch]) -> Result<(), Status> {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0).filter(|_| rows == 1) else {
            return Err(Status::invalid_argument(format!("{rows} rows of parameters: one is bound at a time")));
        };
        let values = batch.columns().iter().map(|column| ScalarValue::try_from_array(column, 0));
        let values = values.collect::<Result<Vec<_>, _>>();
        *self.values.lock() = values.map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(())
    }
}

/// What values a plan wants, as clients are told.
///
/// # Errors
/// `INVALID_ARGUMENT` for parameters that have no numbers.
pub(super) fn parameters(plan: &LogicalPlan) -> Result<Schema, Status> {
    let expected =
        params::expected(plan).map_err(|error| Status::invalid_argument(QueryError::from(error).to_string()))?;
    let fields = expected.iter().enumerate().map(|(at, field)| -> FieldRef {
        let data_type = field.as_ref().map_or(DataType::Utf8, |field| known_type(field.data_type()));
        Arc::new(Field::new(format!("${}", at + 1), data_type, true))
    });
    Ok(Schema::new(fields.collect::<Vec<_>>()))
}
