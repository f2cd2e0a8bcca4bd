//! Answers from what lies in a directory or a bucket, by the server's own engine.

use futures::StreamExt;

use super::{AnyError, LogAsk, Rows, Samples, Shown, SourceArgs, When};
use crate::access::{Action, Principal, Scope};
use crate::cli::place::PlaceArgs;
use crate::query::matrix::format_sample;
use crate::query::{Direction, QueryAnswer, QueryKind, QueryRequest, SqlRequest};
use crate::server::read_only::ReadOnly;
use crate::types::ids::TenantId;
use crate::types::labels::Labels;
use crate::types::time::{NANOS_PER_SECOND, UnixNanos};

/// Steps of a range when none is said, as Loki chooses them.
const STEPS_DEFAULT: i64 = 250;

/// An opened store, and whose rows are asked for.
pub(crate) struct Direct {
    store: ReadOnly,
    scope: Scope,
}

impl Direct {
    pub(super) async fn open(args: &SourceArgs) -> Result<Self, AnyError> {
        let place =
            PlaceArgs { config: args.config.clone(), expand_env: args.config.is_some(), data: args.data.clone() };
        let mut config = place.settings()?;
        if let Some(url) = &args.url {
            config.millrace.table.url = Some(url.clone());
        }
        let with_log = args.url.is_none();
        if with_log && !config.data_dir().is_dir() {
            return Err(format!("{} is not there", config.data_dir().display()).into());
        }
        let opened = place.open(&config)?;
        let store = ReadOnly::open(&config, &opened, with_log).await?;
        let known = store.tenants();
        let tenants: Vec<TenantId> = match args.tenant() {
            Some(names) => names.split('|').map(TenantId::parse).collect::<Result<_, _>>()?,
            None if known.len() == 1 => known,
            None if known.is_empty() => vec![TenantId::single()],
            None => {
                let names: Vec<&str> = known.iter().map(TenantId::as_str).collect();
                return Err(format!("there are several tenants: name one with --org-id: {}", names.join(", ")).into());
            }
        };
        // Who can read the directory can read all of it.
        let scope = Principal::of_open_server().scope(Action::Read, &tenants)?;
        Ok(Direct { store, scope })
    }

    pub(super) async fn logs(&self, ask: &LogAsk<'_>) -> Result<Vec<Shown>, AnyError> {
        let direction = if ask.forward { Direction::Forward } else { Direction::Backward };
        let (start, end) = (UnixNanos(ask.start), UnixNanos(ask.end));
        let kind = QueryKind::Range { start, end, step_ns: 1, interval_ns: 0 };
        let answer = self.ask(ask.query, kind, ask.limit, direction).await?;
        let QueryAnswer::Streams(streams) = answer else { return Err("the query is no log query".into()) };
        let mut entries: Vec<Shown> = streams
            .into_iter()
            .flat_map(|stream| {
                let labels = stream.labels;
                stream.entries.into_iter().map(move |entry| Shown {
                    ts: entry.ts.0,
                    labels: labels.clone(),
                    fields: Labels::from_pairs(entry.metadata.iter().chain(entry.parsed.iter())),
                    line: entry.line,
                })
            })
            .collect();
        super::sort(&mut entries, ask.forward);
        Ok(entries)
    }

    pub(super) async fn metric(&self, query: &str, when: When) -> Result<Vec<Samples>, AnyError> {
        let kind = match when {
            When::At(time) => QueryKind::Instant { time: UnixNanos(time) },
            When::Range { start, end, step } => {
                let by_length = ((end - start) / NANOS_PER_SECOND / STEPS_DEFAULT).max(1) * NANOS_PER_SECOND;
                let step_ns = step.unwrap_or(by_length);
                QueryKind::Range { start: UnixNanos(start), end: UnixNanos(end), step_ns, interval_ns: 0 }
            }
        };
        let samples = match self.ask(query, kind, 1, Direction::Backward).await? {
            QueryAnswer::Matrix { steps, series } => series
                .iter()
                .map(|one| {
                    let points = (0..steps.count).filter(|place| one.present.get(*place));
                    let points = points.map(|place| (steps.at(place), format_sample(one.values[place])));
                    Samples { labels: one.labels.clone(), points: points.collect() }
                })
                .collect(),
            QueryAnswer::Vector { time, samples } => samples
                .into_iter()
                .map(|(labels, value)| Samples { labels, points: vec![(time.0, format_sample(value))] })
                .collect(),
            QueryAnswer::Scalar { time, value } => {
                vec![Samples { labels: Labels::default(), points: vec![(time.0, format_sample(value))] }]
            }
            QueryAnswer::Streams(_) => return Err("the query is no metric query".into()),
        };
        Ok(samples)
    }

    async fn ask(
        &self,
        query: &str,
        kind: QueryKind,
        limit: usize,
        direction: Direction,
    ) -> Result<QueryAnswer, AnyError> {
        let request = QueryRequest {
            scope: self.scope.clone(),
            text: query.to_owned(),
            kind,
            limit,
            direction,
            categorize: true,
            splitting: None,
            series_max: 0,
            timeout: self.store.engine.timeout(),
        };
        Ok(self.store.engine.query(request).await?.0)
    }

    pub(super) async fn sql(&self, statement: &str) -> Result<Rows, AnyError> {
        let request = SqlRequest {
            scope: self.scope.clone(),
            text: statement.to_owned(),
            params: Vec::new(),
            timeout: self.store.engine.timeout(),
        };
        let rows = self.store.engine.sql(request).await?.rows;
        let words = |error| AnyError::from(crate::query::QueryError::from(error));
        Ok(Rows { schema: rows.schema(), batches: rows.map(move |batch| batch.map_err(words)).boxed() })
    }
}
