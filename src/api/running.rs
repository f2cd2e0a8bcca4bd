//! Queries that run now: to be seen and to be stopped, by who asked them and by administrators of their tenants.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::access::{Action, Scope};
use crate::api::Shared;
use crate::api::audit::Note;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::tenant::{Caller, Reading};
use crate::audit::Kind;

/// Characters of a query that are shown.
const TEXT_CHARS_MAX: usize = 4000;

/// The list. As long as the query gate lets queries in. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct RunningQueries(Arc<Mutex<Queries>>);

#[derive(Debug, Default)]
struct Queries {
    next: u64,
    running: BTreeMap<u64, Running>,
}

#[derive(Debug, Clone)]
struct Running {
    scope: Scope,
    kind: &'static str,
    text: String,
    started: Instant,
    stop: CancellationToken,
}

/// A place in the list; dropped means done.
#[derive(Debug)]
pub struct Listed {
    queries: RunningQueries,
    id: u64,
    stop: CancellationToken,
}

impl RunningQueries {
    /// Puts a query on the list.
    pub fn enter(&self, scope: &Scope, kind: &'static str, text: &str) -> Listed {
        let stop = CancellationToken::new();
        let text = text.chars().take(TEXT_CHARS_MAX).collect();
        let running = Running { scope: scope.clone(), kind, text, started: Instant::now(), stop: stop.clone() };
        let mut queries = self.0.lock();
        let id = queries.next;
        queries.next += 1;
        queries.running.insert(id, running);
        Listed { queries: self.clone(), id, stop }
    }

    /// Those that `caller` may see: their own, and with the action `admin` all of the tenants they name.
    fn of(&self, caller: &Caller) -> Vec<(u64, Running)> {
        let queries = self.0.lock();
        let may_see = |scope: &Scope| {
            let is_own = scope.who() == caller.principal.name();
            scope.tenants().all(|tenant| {
                caller.tenants.contains(tenant) && (is_own || caller.principal.check(Action::Admin, tenant).is_ok())
            })
        };
        let seen = queries.running.iter().filter(|(_, running)| may_see(&running.scope));
        seen.map(|(id, running)| (*id, running.clone())).collect()
    }
}

impl Listed {
    /// Cancelled when someone stops the query.
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Ends when someone stops the query.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.queries.0.lock().running.remove(&self.id);
    }
}

/// `GET /api/v1/queries`: the oldest first.
pub async fn list(State(shared): State<Shared>, _: Reading, caller: Caller) -> Response {
    let queries: Vec<_> = shared
        .running
        .of(&caller)
        .into_iter()
        .map(|(id, running)| {
            let seconds = running.started.elapsed().as_secs_f64();
            json!({
                "id": id,
                "who": running.scope.who(),
                "tenant": running.scope.tenants_text(),
                "kind": running.kind,
                "query": running.text,
                "running_seconds": seconds,
            })
        })
        .collect();
    axum::Json(json!({ "queries": queries })).into_response()
}

/// `DELETE /api/v1/queries/{id}`: 204 when it was running; its client gets 499.
pub async fn stop(
    State(shared): State<Shared>,
    _: Reading,
    caller: Caller,
    note: Note,
    Path(id): Path<u64>,
) -> Result<StatusCode, ApiError> {
    let running = shared.running.of(&caller).into_iter().find(|(known, _)| *known == id);
    let Some((_, running)) = running else {
        return Err(ApiError::new(ErrorKind::NotFound, "no such query is running"));
    };
    note.question(Kind::Admin, "", &format!("query {id}: {}", running.text));
    tracing::info!(who = caller.principal.name(), id, query = %running.text, "query stopped by request");
    running.stop.cancel();
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Principal;
    use crate::types::ids::TenantId;

    fn caller(tenant: &str) -> Caller {
        let tenant = TenantId::parse(tenant).expect("valid");
        Caller { principal: Principal::of_open_server(), tenants: Arc::from([tenant]), source: None }
    }

    #[tokio::test]
    async fn queries_are_listed_while_they_run_and_stop_for_their_tenant_alone() {
        let queries = RunningQueries::default();
        let (a, b) = (caller("a"), caller("b"));
        let listed = queries.enter(&a.scope(Action::Read).expect("open"), "metric", "rate({x=\"1\"}[1m])");
        assert_eq!((queries.of(&a).len(), queries.of(&b).len()), (1, 0));
        assert!(futures::poll!(Box::pin(listed.stopped())).is_pending());
        queries.of(&a)[0].1.stop.cancel();
        listed.stopped().await;
        drop(listed);
        assert!(queries.of(&a).is_empty());
    }
}
