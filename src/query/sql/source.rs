//! What the views of one session read: the engine, for one scope.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Result as DfResult;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;

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
    /// What scans may ask.
    pub limits: QueryLimits,
    /// Of all scans of the session.
    pub counters: Arc<ScanCounters>,
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
    /// A planner over what is visible now.
    pub fn planner(&self) -> Planner {
        Planner { counters: self.counters.clone(), ..self.engine.planner(&self.scope) }
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
