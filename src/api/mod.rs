//! The HTTP face: Loki's API, SQL, and the pages of operators.
//!
//! ```text
//! request ─▶ metrics, panics ─▶ gzip ─▶ tenant ─▶ handler ─▶ engine (reads) │ door (writes)
//!                                                    └─▶ ApiError ─▶ plain text
//! ```
//!
//! Invariants: no handler blocks its thread on decoding, files or queries; bodies in flight and queries
//! at once have limits; `api/error.rs` alone turns kinds into status codes.

pub mod admin;
pub mod audit;
pub mod body;
pub mod cluster;
pub mod elastic;
pub mod error;
#[cfg(feature = "flight")]
pub mod flight;
pub mod gate;
pub mod loki;
pub mod middleware;
pub mod otlp;
pub mod params;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod prometheus;
pub mod ring;
pub mod router;
pub mod rules;
pub mod running;
pub mod sql;
pub mod statement;
pub mod storage;
pub mod tenant;
pub mod ui;
pub mod upkeep;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use crate::access::{Access, Scope};
use crate::api::error::ApiError;
use crate::api::gate::{QueryGate, RunningQuery};
use crate::api::loki::tail::OpenTails;
use crate::api::running::RunningQueries;
use crate::audit::Audit;
use crate::config::Config;
use crate::ingest::arrivals::Arrivals;
use crate::ingest::limits::Limits;
use crate::ingest::overrides::LimitsOf;
use crate::query::Engine;
use crate::receive::door::Door;
use crate::rules::Ruler;
use crate::sql::cursors::Cursors;
use crate::telemetry::logging::LogLevel;
use crate::telemetry::metrics::Metrics;
use crate::types::time::{Clock, UnixNanos};
use crate::upkeep::Upkeep;

pub use router::router;

/// What other processes over the same table may ask. Cheap to clone.
#[derive(Clone)]
pub struct ClusterFace {
    pub origin: crate::cluster::Origin,
    /// The secret that they show.
    pub token: Arc<str>,
}

/// What handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// None: this process tells nobody its recent rows.
    pub cluster: Option<ClusterFace>,
    /// None: this process keeps no derived metrics.
    pub derived: Option<prometheus::DerivedMetrics>,
    pub engine: Engine,
    pub access: Access,
    /// Where what happens is recorded.
    pub audit: Audit,
    /// The way in for all doors.
    pub door: Door,
    pub config: Arc<Config>,
    pub limits: LimitsOf,
    /// None where nothing is kept.
    pub upkeep: Option<Upkeep>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    pub ready: Readiness,
    /// Where to hear of rows as they become visible.
    pub arrivals: Arrivals,
    /// None: this process evaluates no rules.
    pub rules: Option<Arc<Ruler>>,
    /// Cancelled when the server is to stop, by a signal or by a request.
    pub stopping: CancellationToken,
    /// When the process started.
    pub started: UnixNanos,
    pub log_level: LogLevel,
}

/// Whether `/ready` says so. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The state with what the face itself keeps.
#[derive(Clone)]
pub struct Shared {
    pub state: AppState,
    pub query_gate: QueryGate,
    pub open_tails: OpenTails,
    pub running: RunningQueries,
    /// SQL results that are read in pages.
    pub cursors: Cursors<sql::Reader>,
    /// Whether a client marked a shutdown as prepared.
    pub shutdown_prepared: Readiness,
}

impl Shared {
    pub fn new(state: AppState) -> Self {
        let memory = state.engine.memory();
        let query_gate = QueryGate::new(&state.config, state.metrics.clone(), move || memory.is_scarce());
        Shared {
            state,
            query_gate,
            open_tails: OpenTails::default(),
            running: RunningQueries::default(),
            cursors: Cursors::default(),
            shutdown_prepared: Readiness::default(),
        }
    }

    /// Waits for the turn of a query.
    ///
    /// # Errors
    /// 429 when too many of the scope's tenants wait.
    pub async fn turn(&self, scope: &Scope) -> Result<RunningQuery, ApiError> {
        self.query_gate.enter(scope, &self.limits_of(scope)).await
    }

    /// The query limits of a scope: of several tenants, the strictest.
    pub fn limits_of(&self, scope: &Scope) -> Arc<Limits> {
        self.state.limits.of_all(scope.tenants())
    }
}

#[cfg(test)]
mod tests;
