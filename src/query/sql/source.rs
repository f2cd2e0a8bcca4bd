//! What the views of one session read: the engine, for one scope.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Result as DfResult;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use parking_lot::RwLock;

use crate::access::Scope;
use crate::query::limits::QueryLimits;
use crate::query::plan::Planner;
use crate::query::scan::ScanCounters;
use crate::query::{Engine, QueryError};

/// Where views get their rows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SqlSource {
    pub engine: Engine,
    pub scope: Scope,
    statement: Arc<RwLock<Statement>>,
}

/// What belongs to one statement of a session.
#[derive(Debug, Clone)]
struct Statement {
    /// What its scans may ask.
    limits: QueryLimits,
    /// Of all its scans.
    counters: Arc<ScanCounters>,
}

impl Statement {
    fn new(limits: QueryLimits) -> Self {
        let counters = Arc::new(ScanCounters { bytes_max: limits.bytes_max, ..ScanCounters::default() });
        Statement { limits, counters }
    }
}

/// Views of others, such as derived metrics or rules, put into each session.
pub trait SqlViews: Send + Sync {
    /// Registers views that show what `source.scope` may see, and nothing else.
    ///
    /// # Errors
    /// When a name is taken.
    fn register(&self, context: &SessionContext, source: &SqlSource) -> DfResult<()>;
}

impl SqlSource {
    pub(in crate::query) fn new(engine: Engine, scope: Scope, limits: QueryLimits) -> Self {
        SqlSource { engine, scope, statement: Arc::new(RwLock::new(Statement::new(limits))) }
    }

    /// Begins another statement: what is planned from now on is counted anew, and held to the limits of now.
    pub(in crate::query) fn begin(&self, limits: QueryLimits) {
        *self.statement.write() = Statement::new(limits);
    }

    /// A planner over what is visible now.
    pub fn planner(&self) -> Planner {
        Planner { counters: self.counters(), ..self.engine.planner(&self.scope) }
    }

    /// What scans of the statement may ask.
    pub fn limits(&self) -> QueryLimits {
        self.statement.read().limits.clone()
    }

    /// Of all scans of the statement.
    pub fn counters(&self) -> Arc<ScanCounters> {
        self.statement.read().counters.clone()
    }
}

/// An error of ours inside DataFusion.
pub(in crate::query) fn external(error: QueryError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The columns of a view that a plan wants, by place; all without a projection.
pub(super) fn wanted(schema: &SchemaRef, projection: Option<&Vec<usize>>) -> Vec<usize> {
    projection.cloned().unwrap_or_else(|| (0..schema.fields().len()).collect())
}
