//! The agent's own HTTP, on Promtail's port: `/ready`, `/targets`, `/service-discovery`, `/metrics`, `/config`, `/reload`.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::config::{AgentConfig, ServerConfig};
use super::metrics::AgentMetrics;
use super::targets::Targets;

/// Why it does not listen.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {source}; choose another port with -server.http-listen-port or server.http_listen_port"
)]
pub struct ServerError {
    address: String,
    source: io::Error,
}

/// Asks for a reload and hears what came of it.
pub(super) type Reload = mpsc::Sender<oneshot::Sender<Result<(), String>>>;

/// What it shows.
#[derive(Clone)]
pub(super) struct Face {
    pub(super) metrics: AgentMetrics,
    pub(super) targets: Targets,
    pub(super) config: Arc<Mutex<AgentConfig>>,
    pub(super) reload: Option<Reload>,
}

impl Face {
    /// Listens until `stop` rings; answers where.
    pub(super) async fn serve(
        self,
        config: &ServerConfig,
        stop: CancellationToken,
    ) -> Result<(tokio::task::JoinHandle<()>, String), ServerError> {
        let address = format!("{}:{}", config.http_listen_address, config.http_listen_port);
        let listener = tokio::net::TcpListener::bind(&address).await;
        let listener = listener.map_err(|source| ServerError { address, source })?;
        let bound = listener.local_addr().map_or_else(|_| "unknown".to_owned(), |bound| bound.to_string());
        let router = Router::new()
            .route("/", get(targets))
            .route("/ready", get(ready))
            .route("/targets", get(targets))
            .route("/service-discovery", get(targets))
            .route("/metrics", get(metrics))
            .route("/config", get(shown_config))
            .route("/reload", post(reload).get(reload))
            .with_state(self);
        let serving = tokio::spawn(async move {
            let ended = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
            if let Err(error) = ended {
                tracing::error!(%error, "the agent's server ended");
            }
        });
        Ok((serving, bound))
    }
}

async fn ready(State(face): State<Face>) -> Response {
    let is_checked = face.config.lock().server.health_check_target.unwrap_or(true);
    if !is_checked || face.targets.any_ready() {
        return "Ready".into_response();
    }
    let words = "Not ready: Unable to find any logs to tail. Please verify permissions, volumes, scrape_config, etc.";
    (StatusCode::INTERNAL_SERVER_ERROR, words).into_response()
}

async fn metrics(State(face): State<Face>) -> Response {
    match face.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn shown_config(State(face): State<Face>) -> Response {
    let config = face.config.lock().clone();
    match serde_saphyr::to_string(&config) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/yaml; charset=utf-8")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn reload(State(face): State<Face>) -> Response {
    let Some(reload) = &face.reload else {
        let words = "reloading is off; set server.enable_runtime_reload: true";
        return (StatusCode::NOT_FOUND, words).into_response();
    };
    let (answer, heard) = oneshot::channel();
    if reload.send(answer).await.is_err() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping").into_response();
    }
    match heard.await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(words)) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {words}")).into_response()
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping").into_response(),
    }
}

async fn targets(State(face): State<Face>) -> Html<String> {
    let mut rows = String::new();
    for target in face.targets.all() {
        let state = if target.is_ready { "ready" } else { "not ready" };
        let cells: [&str; 6] = [&target.job, target.kind, &target.name, &target.labels, &target.details, state];
        rows.push_str("<tr>");
        for cell in cells {
            rows.push_str(&format!("<td>{}</td>", escaped(cell)));
        }
        rows.push_str("</tr>\n");
    }
    Html(format!(
        "<!doctype html><title>millrace agent: targets</title>\n<style>body{{font-family:sans-serif}}td,th{{text-align:left;padding:.2em 1em;vertical-align:top}}</style>\n<h1>Targets</h1>\n<table><tr><th>job<th>type<th>target<th>labels<th>details<th>state</tr>\n{rows}</table>\n<p><a href=/metrics>metrics</a> <a href=/config>configuration</a>\n"
    ))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
