//! Somebody who was recognised: a name and roles; and what of the store that lets them see.

use std::sync::Arc;

use super::Denied;
use super::action::{Action, Actions};
use super::roles::{Grant, Role};
use super::scope::{Scope, TenantView};
use crate::types::ids::TenantId;

/// A caller. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Principal {
    name: Arc<str>,
    /// None: everything is allowed, because access is off.
    roles: Option<Arc<[Arc<Role>]>>,
}

impl Principal {
    /// Everybody while access is off.
    pub fn of_open_server() -> Self {
        Principal { name: Arc::from("anonymous"), roles: None }
    }

    pub(super) fn new(name: &str, roles: Vec<Arc<Role>>) -> Self {
        Principal { name: Arc::from(name), roles: Some(roles.into()) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn role_names(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().flat_map(|roles| roles.iter()).map(|role| role.name.as_str())
    }

    /// Whether `action` is allowed somewhere in `tenant`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub fn check(&self, action: Action, tenant: &TenantId) -> Result<(), Denied> {
        match self.roles.is_none() || self.grants(action, tenant).next().is_some() {
            true => Ok(()),
            false => Err(self.forbidden(action, tenant)),
        }
    }

    /// Whether `action` is allowed in any tenant: for what belongs to the server and not to a tenant.
    ///
    /// # Errors
    /// `Forbidden`.
    pub fn check_anywhere(&self, action: Action) -> Result<(), Denied> {
        match self.roles.is_none() || self.all_grants().any(|grant| grant.actions.has(action)) {
            true => Ok(()),
            false => Err(Denied::Forbidden(format!(
                "{} may not do this: no role of theirs has the action {}",
                self.name,
                action.as_str()
            ))),
        }
    }

    /// What `action` may see of these tenants.
    ///
    /// # Errors
    /// `Forbidden` when it is not allowed in one of them.
    pub fn scope(&self, action: Action, tenants: &[TenantId]) -> Result<Scope, Denied> {
        let views = tenants.iter().map(|tenant| {
            if self.roles.is_none() {
                return Ok(TenantView::clear(tenant.clone()));
            }
            let grants: Vec<Arc<Grant>> = self.grants(action, tenant).cloned().collect();
            if grants.is_empty() {
                return Err(self.forbidden(action, tenant));
            }
            Ok(TenantView::of_grants(tenant.clone(), grants))
        });
        Ok(Scope::new(self.name.clone(), views.collect::<Result<_, _>>()?))
    }

    /// The one tenant that all grants name, for callers who name none.
    pub fn only_tenant(&self) -> Option<TenantId> {
        let mut only: Option<&TenantId> = None;
        for grant in self.all_grants() {
            for tenant in grant.named_tenants()? {
                if only.is_some_and(|only| only != tenant) {
                    return None;
                }
                only = Some(tenant);
            }
        }
        only.cloned()
    }

    /// All actions allowed somewhere in `tenant`.
    pub fn actions(&self, tenant: &TenantId) -> Actions {
        if self.roles.is_none() {
            return Actions::ALL;
        }
        let allowed: Vec<Action> =
            Action::ALL.into_iter().filter(|action| self.grants(*action, tenant).next().is_some()).collect();
        Actions::of(&allowed)
    }

    fn all_grants(&self) -> impl Iterator<Item = &Arc<Grant>> {
        self.roles.iter().flat_map(|roles| roles.iter()).flat_map(|role| &role.grants)
    }

    fn grants(&self, action: Action, tenant: &TenantId) -> impl Iterator<Item = &Arc<Grant>> {
        self.all_grants().filter(move |grant| grant.actions.has(action) && grant.covers(tenant))
    }

    fn forbidden(&self, action: Action, tenant: &TenantId) -> Denied {
        Denied::Forbidden(format!(
            "{} may not {} in tenant {tenant}: no role of theirs allows it",
            self.name,
            action.as_str()
        ))
    }
}
