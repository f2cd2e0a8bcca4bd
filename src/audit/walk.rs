//! Reads every chain of a store, tenant by tenant, and has it checked.

use std::collections::BTreeSet;

use super::chain::Link;
use super::heads::Heads;
use super::verify::{ChainReport, Expected, Verifier};
use crate::access::Scope;
use crate::logql;
use crate::logql::ast::Matcher;
use crate::query::{Direction, Engine, Entry, QueryAnswer, QueryError, QueryKind, QueryRequest};
use crate::types::audit_stream::{LOGGER, LOGGER_LABEL, SERVICE, SERVICE_LABEL, WRITER_LABEL};
use crate::types::ids::TenantId;
use crate::types::time::{TimeRange, UnixNanos};

/// Records read at once.
const PAGE_RECORDS: usize = 20_000;

/// What chains are checked against.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// As they were signed.
    pub heads: Vec<Heads>,
    /// Ends that were kept elsewhere: tenant, writer, the end. The time may be 0.
    pub given: Vec<(TenantId, String, Link)>,
    /// Records older than this are allowed to be gone.
    pub expired_before: Option<UnixNanos>,
}

/// Checks every chain of these tenants, and every chain that is known of.
///
/// # Errors
/// When rows cannot be read.
pub async fn walk(engine: &Engine, tenants: &[TenantId], known: &Known) -> Result<Vec<ChainReport>, QueryError> {
    let mut chains: BTreeSet<(TenantId, String)> = BTreeSet::new();
    for tenant in tenants {
        let scope = Scope::of_server(tenant.clone());
        for labels in engine.series(&scope, TimeRange::ALL, &[matchers()?]).await? {
            chains.insert((tenant.clone(), labels.get(WRITER_LABEL).unwrap_or("").to_owned()));
        }
    }
    let of_heads = known.heads.iter().flat_map(|heads| heads.chains.keys().map(|tenant| (tenant, &heads.writer)));
    chains.extend(of_heads.filter_map(|(tenant, writer)| Some((TenantId::parse(tenant).ok()?, writer.clone()))));
    chains.extend(known.given.iter().map(|(tenant, writer, _)| (tenant.clone(), writer.clone())));
    let mut reports = Vec::with_capacity(chains.len());
    for (tenant, writer) in chains {
        reports.push(one(engine, tenant, writer, known).await?);
    }
    Ok(reports)
}

async fn one(engine: &Engine, tenant: TenantId, writer: String, known: &Known) -> Result<ChainReport, QueryError> {
    let signed = known.heads.iter().filter(|heads| heads.writer == writer);
    let signed = signed.filter_map(|heads| heads.chains.get(tenant.as_str()).cloned());
    let given = known.given.iter().filter(|(of, by, _)| *of == tenant && *by == writer);
    let heads = signed.chain(given.map(|(_, _, link)| link.clone())).collect();
    let expired_before = known.expired_before;
    let text = format!(
        "{{{SERVICE_LABEL}=\"{SERVICE}\", {LOGGER_LABEL}=\"{LOGGER}\", {WRITER_LABEL}=\"{}\"}}",
        writer.replace('\\', "\\\\").replace('"', "\\\"")
    );
    let mut verifier = Verifier::new(Expected { tenant: tenant.clone(), writer, heads, expired_before });
    let mut start = UnixNanos(0);
    loop {
        let page = page(engine, &tenant, &text, start).await?;
        for entry in &page {
            verifier.record(entry.ts, &entry.line);
        }
        match page.last() {
            // Times of a chain rise strictly.
            Some(last) if page.len() >= PAGE_RECORDS => start = last.ts.saturating_add(1),
            _ => return Ok(verifier.finish()),
        }
    }
}

/// The next records, by time.
async fn page(engine: &Engine, tenant: &TenantId, text: &str, start: UnixNanos) -> Result<Vec<Entry>, QueryError> {
    let request = QueryRequest {
        scope: Scope::of_server(tenant.clone()),
        text: text.to_owned(),
        kind: QueryKind::Range { start, end: UnixNanos::MAX, step_ns: 1, interval_ns: 0 },
        limit: PAGE_RECORDS,
        direction: Direction::Forward,
        categorize: true,
        splitting: None,
        series_max: 0,
        timeout: engine.timeout(),
    };
    let QueryAnswer::Streams(streams) = engine.query(request).await?.0 else { return Ok(Vec::new()) };
    let mut entries: Vec<Entry> = streams.into_iter().flat_map(|stream| stream.entries).collect();
    entries.sort_by_key(|entry| entry.ts);
    Ok(entries)
}

fn matchers() -> Result<Vec<Matcher>, QueryError> {
    let text = format!("{{{SERVICE_LABEL}=\"{SERVICE}\", {LOGGER_LABEL}=\"{LOGGER}\"}}");
    Ok(logql::parse_matchers(&text, true)?)
}
