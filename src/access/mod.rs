//! Who may see what: accounts, roles, and the scope that every read carries.
//!
//! ```text
//! credentials ─▶ authenticate ─▶ Principal (name, roles) ─▶ scope(action, tenants) ─▶ Scope ─▶ engine: streams the
//!                     └─ 401                                    └─ 403                        scope hides do not exist
//! ```
//!
//! Invariants: there is no read without a [`Scope`]; what a scope hides is as if it were not stored, for selectors,
//! labels, counts and errors alike; two scopes with different [`Scope::key`]s share no cached answer.
//! Errors: [`Denied`]; the reason never tells what is there.

mod accounts;
mod action;
mod mask;
mod oidc;
mod principal;
mod roles;
mod scope;
pub mod scram;
pub mod settings;

pub use accounts::{Access, Credentials};
pub use action::{Action, Actions};
pub use mask::Mask;
pub use principal::Principal;
pub use scope::{Scope, Sight, TENANT_LABEL, TenantView};
pub use settings::AccessConfig;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// 401: nobody known.
    #[error("{0}")]
    Unauthenticated(String),
    /// 403: known, but not allowed.
    #[error("{0}")]
    Forbidden(String),
}
