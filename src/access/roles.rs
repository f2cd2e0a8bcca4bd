//! Roles, compiled from the settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::action::{Action, Actions};
use super::mask::{Mask, MaskRule};
use super::settings::{AccessConfig, GrantConfig, MaskConfig};
use crate::logql::selector::LabelSelector;
use crate::types::audit_stream::is_audit_stream;
use crate::types::ids::TenantId;

/// A named list of grants.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) grants: Vec<Arc<Grant>>,
}

/// What may be done, where, with which streams.
#[derive(Debug)]
pub(super) struct Grant {
    tenants: Tenants,
    pub(super) actions: Actions,
    /// Any of them lets a stream be seen; none: all streams.
    selectors: Vec<LabelSelector>,
    pub(super) mask: Option<Mask>,
    /// Equal for grants that show the same of the same streams.
    pub(super) key: String,
}

#[derive(Debug)]
enum Tenants {
    All,
    Named(Vec<TenantId>),
}

impl Grant {
    pub(super) fn covers(&self, tenant: &TenantId) -> bool {
        match &self.tenants {
            Tenants::All => true,
            Tenants::Named(named) => named.contains(tenant),
        }
    }

    /// The tenants it names; none when it covers all.
    pub(super) fn named_tenants(&self) -> Option<&[TenantId]> {
        match &self.tenants {
            Tenants::All => None,
            Tenants::Named(named) => Some(named),
        }
    }

    pub(super) fn shows_all_streams(&self) -> bool {
        self.selectors.is_empty()
    }

    /// Whether a stream is shown by it; that of audit records only to those who may see them.
    pub(super) fn shows(&self, labels: &crate::types::labels::Labels) -> bool {
        let is_chosen = self.selectors.is_empty() || self.selectors.iter().any(|selector| selector.matches(labels));
        is_chosen && (self.actions.has(Action::Audit) || !is_audit_stream(labels))
    }
}

/// Roles by name.
///
/// # Errors
/// All that is wrong, each with its place in the settings.
pub(super) fn compile(config: &AccessConfig) -> Result<BTreeMap<String, Arc<Role>>, Vec<String>> {
    let mut problems = Vec::new();
    let mut rules: BTreeMap<&str, Arc<MaskRule>> = BTreeMap::new();
    let always = MaskRule::emails();
    let configs = std::iter::once(("emails", &always)).chain(config.masks.iter().map(|(name, mask)| (&**name, mask)));
    for (name, mask) in configs {
        match MaskRule::compile(name, mask) {
            Ok(rule) => {
                rules.insert(name, Arc::new(rule));
            }
            Err(problem) => problems.push(format!("access.masks.{name}: {problem}")),
        }
    }
    let mut roles = BTreeMap::new();
    for (name, grants) in &config.roles {
        let mut compiled = Vec::new();
        for (at, grant) in grants.iter().enumerate() {
            match compile_grant(grant, &rules, &config.masks) {
                Ok(grant) => compiled.push(Arc::new(grant)),
                Err(problem) => problems.push(format!("access.roles.{name}[{at}].{problem}")),
            }
        }
        roles.insert(name.clone(), Arc::new(Role { name: name.clone(), grants: compiled }));
    }
    if problems.is_empty() { Ok(roles) } else { Err(problems) }
}

fn compile_grant(
    config: &GrantConfig,
    rules: &BTreeMap<&str, Arc<MaskRule>>,
    masks: &BTreeMap<String, MaskConfig>,
) -> Result<Grant, String> {
    if config.tenants.is_empty() {
        return Err("tenants: name at least one, or \"*\" for all".to_owned());
    }
    if config.actions.is_empty() {
        return Err("actions: name at least one".to_owned());
    }
    let tenants = if config.tenants.iter().any(|tenant| tenant == "*") {
        Tenants::All
    } else {
        let named = config.tenants.iter().map(|tenant| TenantId::parse(tenant));
        Tenants::Named(named.collect::<Result<_, _>>().map_err(|error| format!("tenants: {error}"))?)
    };
    let mut selectors = Vec::new();
    let mut texts = Vec::new();
    for text in &config.streams {
        let (selector, text) = LabelSelector::parse(text).map_err(|error| format!("streams: {text}: {error}"))?;
        selectors.push(selector);
        texts.push(text);
    }
    texts.sort_unstable();
    let mut names = config.masks.clone();
    names.sort_unstable();
    names.dedup();
    let of_name = |name: &String| rules.get(name.as_str()).cloned().ok_or_else(|| format!("masks: no mask {name}"));
    let mask = Mask::of(names.iter().map(of_name).collect::<Result<_, _>>()?);
    // A mask is told apart by what it does, so that an answer kept before a change is not shown after it.
    let of_masks: Vec<String> = names.iter().map(|name| format!("{name}:{:?}", masks.get(name))).collect();
    let actions = Actions::of(&config.actions);
    let audit = if actions.has(Action::Audit) { "\u{1}audit" } else { "" };
    let key = format!("{}\u{1}{}{audit}", texts.join("\u{2}"), of_masks.join("\u{2}"));
    Ok(Grant { tenants, actions, selectors, mask, key })
}
