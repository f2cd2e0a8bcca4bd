//! Where `millrace query` and `millrace sql` get their answers: a server, or a data directory or bucket read as it lies.
//!
//! Flags and variables are those of Loki's `logcli`; ours (`MILLRACE_…`) win over Loki's (`LOKI_…`).

mod direct;
mod http;

use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use clap::Args;
use futures::stream::BoxStream;

use crate::types::labels::Labels;

pub(super) use http::{Refused, Server};

pub(super) type AnyError = Box<dyn std::error::Error + Send + Sync>;

const ADDRESS_DEFAULT: &str = "http://127.0.0.1:3100";

/// Which server, and as whom; or which data.
#[derive(Debug, Default, Clone, Args)]
pub struct SourceArgs {
    /// The server; else MILLRACE_ADDR, LOKI_ADDR, http://127.0.0.1:3100. It may be Loki for `millrace query`.
    #[arg(long, value_name = "URL")]
    addr: Option<String>,
    /// The tenant, `a|b` for several; else MILLRACE_ORG_ID, LOKI_ORG_ID.
    #[arg(long = "org-id", alias = "tenant", value_name = "TENANT")]
    org_id: Option<String>,
    /// Else MILLRACE_USERNAME, LOKI_USERNAME.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Else MILLRACE_PASSWORD, LOKI_PASSWORD.
    #[arg(long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Else MILLRACE_BEARER_TOKEN, LOKI_BEARER_TOKEN.
    #[arg(long, value_name = "TOKEN")]
    bearer_token: Option<String>,
    /// Else MILLRACE_BEARER_TOKEN_FILE, LOKI_BEARER_TOKEN_FILE.
    #[arg(long, value_name = "FILE")]
    bearer_token_file: Option<PathBuf>,
    /// PEM file of authorities to trust beside the system's; else MILLRACE_CA_CERT_PATH, LOKI_CA_CERT_PATH.
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
    /// Takes any certificate for the server's.
    #[arg(long)]
    tls_skip_verify: bool,
    /// PEM file of one's own certificate; else MILLRACE_CLIENT_CERT_PATH, LOKI_CLIENT_CERT_PATH.
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// PEM file of its key; else MILLRACE_CLIENT_KEY_PATH, LOKI_CLIENT_KEY_PATH.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Reads this data directory without a server, also while one runs on it; nothing is changed.
    #[arg(long, value_name = "DIR", conflicts_with = "addr")]
    data: Option<PathBuf>,
    /// Reads the table at this URL (s3://, gs://, az://, file://) without a server.
    #[arg(long, value_name = "URL", conflicts_with = "addr")]
    url: Option<String>,
    /// A server's configuration: its data is read without the server.
    #[arg(long, value_name = "FILE", conflicts_with = "addr")]
    config: Option<PathBuf>,
}

/// An open source.
pub(super) enum Source {
    Server(Box<http::Server>),
    Direct(Box<direct::Direct>),
}

/// One page of a log query.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogAsk<'a> {
    pub(super) query: &'a str,
    /// Nanoseconds, `start <= t < end`.
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) limit: usize,
    pub(super) forward: bool,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Shown {
    pub(super) ts: i64,
    /// Of its stream.
    pub(super) labels: Labels,
    /// Structured metadata, and what the query parsed.
    pub(super) fields: Labels,
    pub(super) line: String,
}

/// One series: times in nanoseconds, values as the API gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Samples {
    pub(super) labels: Labels,
    pub(super) points: Vec<(i64, String)>,
}

/// When a metric query is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum When {
    At(i64),
    /// Nanoseconds; the step of the server's choice without one.
    Range {
        start: i64,
        end: i64,
        step: Option<i64>,
    },
}

/// Rows of a statement, as they come.
pub(super) struct Rows {
    pub(super) schema: SchemaRef,
    pub(super) batches: BoxStream<'static, Result<RecordBatch, AnyError>>,
}

impl SourceArgs {
    /// # Errors
    /// What of the flags does not fit, or why the data cannot be read.
    pub(super) async fn open(&self) -> Result<Source, AnyError> {
        if self.data.is_some() || self.url.is_some() || self.config.is_some() {
            return Ok(Source::Direct(Box::new(direct::Direct::open(self).await?)));
        }
        Ok(Source::Server(Box::new(http::Server::new(self)?)))
    }

    fn address(&self) -> String {
        let address = or_variable(self.addr.as_ref(), "ADDR").unwrap_or_else(|| ADDRESS_DEFAULT.to_owned());
        let address = if address.contains("://") { address } else { format!("http://{address}") };
        address.trim_end_matches('/').to_owned()
    }

    fn tenant(&self) -> Option<String> {
        or_variable(self.org_id.as_ref(), "ORG_ID")
    }
}

/// A flag, or what the environment says.
fn or_variable(flag: Option<&String>, name: &str) -> Option<String> {
    let of_environment =
        ["MILLRACE", "LOKI"].into_iter().find_map(|whose| std::env::var(format!("{whose}_{name}")).ok());
    flag.cloned().or(of_environment).filter(|value| !value.is_empty())
}

/// Newest first, or oldest first; equals stay as they came.
pub(super) fn sort(entries: &mut [Shown], forward: bool) {
    match forward {
        true => entries.sort_by_key(|entry| entry.ts),
        false => entries.sort_by_key(|entry| std::cmp::Reverse(entry.ts)),
    }
}

impl Source {
    /// Entries, in the direction asked for.
    pub(super) async fn logs(&self, ask: &LogAsk<'_>) -> Result<Vec<Shown>, AnyError> {
        match self {
            Source::Server(server) => server.logs(ask).await,
            Source::Direct(direct) => direct.logs(ask).await,
        }
    }

    pub(super) async fn metric(&self, query: &str, when: When) -> Result<Vec<Samples>, AnyError> {
        match self {
            Source::Server(server) => server.metric(query, when).await,
            Source::Direct(direct) => direct.metric(query, when).await,
        }
    }

    pub(super) async fn sql(&self, statement: &str) -> Result<Rows, AnyError> {
        match self {
            Source::Server(server) => server.sql(statement).await,
            Source::Direct(direct) => direct.sql(statement).await,
        }
    }
}
