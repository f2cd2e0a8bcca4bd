//! Limits by tenant: the defaults, and what a file says of single tenants, exchanged while the server runs.
//!
//! ```text
//! overrides.yaml ─▶ parse (all or nothing) ─▶ LimitsOf::replace ─▶ of(tenant), seen by the next request
//! ```
//!
//! Invariant: a request sees one set of limits from its beginning to its end.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use serde_json::Value;

use super::limits::{KNOWN_UNUSED, Limits};
use crate::types::ids::TenantId;

/// Own limits of tenants.
pub type ByTenant = HashMap<TenantId, Arc<Limits>>;

/// Limits of every tenant. Cheap to clone; clones see the same.
#[derive(Debug, Clone)]
pub struct LimitsOf {
    defaults: Arc<Limits>,
    overrides: Arc<RwLock<Arc<ByTenant>>>,
}

impl LimitsOf {
    /// The same for all, until [`LimitsOf::replace`].
    pub fn new(defaults: Limits) -> Self {
        LimitsOf { defaults: Arc::new(defaults), overrides: Arc::default() }
    }

    pub fn of(&self, tenant: &TenantId) -> Arc<Limits> {
        let overrides = self.overrides.read();
        overrides.get(tenant).unwrap_or(&self.defaults).clone()
    }

    /// The query limits of several tenants together: the strictest of each. Source: Loki's `MinPositiveIntPerTenant`.
    pub fn of_all<'a>(&self, tenants: impl ExactSizeIterator<Item = &'a TenantId>) -> Arc<Limits> {
        let mut tenants = tenants.map(|tenant| self.of(tenant));
        let Some(mut strictest) = tenants.next() else { return self.defaults.clone() };
        for limits in tenants {
            strictest = Arc::new(strictest.strictest(&limits));
        }
        strictest
    }

    pub fn defaults(&self) -> &Arc<Limits> {
        &self.defaults
    }

    /// Exchanges all overrides at once.
    pub fn replace(&self, overrides: ByTenant) {
        *self.overrides.write() = Arc::new(overrides);
    }

    /// What differs from the defaults, by tenant.
    pub fn overridden(&self) -> Arc<ByTenant> {
        self.overrides.read().clone()
    }
}

/// What is wrong with a file of overrides.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("; "))]
pub struct OverridesError {
    pub problems: Vec<String>,
}

/// Reads `overrides: {tenant: {limit: value}}`: what a tenant does not name is as in `defaults`.
///
/// # Errors
/// Everything that is wrong; then nothing of the file counts.
pub fn parse_overrides(text: &str, defaults: &Limits) -> Result<ByTenant, OverridesError> {
    let alone = |problem: String| OverridesError { problems: vec![problem] };
    let document: Value = serde_saphyr::from_str(text).map_err(|error| alone(format!("not YAML: {error}")))?;
    let of_tenants = match document.get("overrides") {
        None | Some(Value::Null) => return Ok(HashMap::new()),
        Some(Value::Object(of_tenants)) => of_tenants,
        Some(_) => return Err(alone("overrides: not a mapping of tenants".to_owned())),
    };
    let mut found = HashMap::new();
    let mut problems = Vec::new();
    for (name, own) in of_tenants {
        let tenant = TenantId::parse(name).map_err(|error| error.to_string());
        match tenant.and_then(|tenant| Ok((tenant, merged(defaults, own)?))) {
            Ok((tenant, limits)) => {
                found.insert(tenant, Arc::new(limits));
            }
            Err(problem) => problems.push(format!("overrides.{name}: {problem}")),
        }
    }
    if problems.is_empty() { Ok(found) } else { Err(OverridesError { problems }) }
}

fn merged(defaults: &Limits, own: &Value) -> Result<Limits, String> {
    let own = match own {
        Value::Object(own) => own,
        Value::Null => return Ok(defaults.clone()),
        _ => return Err("not a mapping of limits".to_owned()),
    };
    let mut tree = serde_json::to_value(defaults).map_err(|error| error.to_string())?;
    for (key, value) in own {
        match tree.get_mut(key) {
            Some(place) => place.clone_from(value),
            None if KNOWN_UNUSED.contains(&key.as_str()) => {}
            None => return Err(format!("{key}: unknown limit")),
        }
    }
    let limits: Limits = serde_json::from_value(tree).map_err(|error| error.to_string())?;
    let problems = limits.problems();
    if problems.is_empty() { Ok(limits) } else { Err(problems.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_see_what_was_replaced() {
        let limits = LimitsOf::new(Limits::default());
        let seen = limits.clone();
        let tenant = TenantId::parse("a").expect("valid");
        let own = Arc::new(Limits { max_query_series: 7, ..Limits::default() });
        limits.replace(HashMap::from([(tenant.clone(), own)]));
        assert_eq!(seen.of(&tenant).max_query_series, 7);
        assert_eq!(seen.of(&TenantId::single()).max_query_series, Limits::default().max_query_series);
    }

    #[test]
    fn a_file_is_taken_whole_or_not_at_all() {
        let defaults = Limits { max_query_series: 9, ..Limits::default() };
        let parse = |text: &str| parse_overrides(text, &defaults);
        let found =
            parse("overrides:\n  a:\n    ingestion_rate_mb: 10\n    retention_period: 30d\n  b: {}\n").expect("good");
        let of = |name: &str| found[&TenantId::parse(name).expect("valid")].clone();
        assert_eq!((of("a").ingestion_rate_mb, of("a").max_query_series), (10.0, 9));
        assert_eq!(*of("b"), defaults);
        let check = |text: &str, expected: &[&str]| {
            let problems = parse(text).expect_err("bad").problems;
            assert_eq!(problems.len(), expected.len(), "{problems:?}");
            assert!(problems.iter().zip(expected).all(|(problem, start)| problem.starts_with(start)), "{problems:?}");
        };
        check(
            "overrides:\n  a:\n    ingestion_rat_mb: 1\n  a/b: {}\n  c: {max_query_series: x}\n",
            &["overrides.a: ingestion_rat_mb", "overrides.a/b: tenant", "overrides.c: "],
        );
        check("overrides: [", &["not YAML"]);
        assert!(parse("overrides:").expect("empty").is_empty());
    }
}
