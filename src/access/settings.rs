//! The settings of access: accounts, tokens, roles, masks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Action;

/// Who there is and what they may do. With no way to say who one is, everybody may do everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessConfig {
    /// Names and passwords, for HTTP Basic.
    pub accounts: Vec<AccountConfig>,
    /// Bearer tokens.
    pub tokens: Vec<TokenConfig>,
    /// Issuers of JSON Web Tokens.
    pub oidc: Vec<OidcConfig>,
    /// Subjects of client certificates.
    pub certificates: Vec<CertificateConfig>,
    /// Roles of those who show nothing.
    pub anonymous: Vec<String>,
    /// Grants by role.
    pub roles: BTreeMap<String, Vec<GrantConfig>>,
    /// What roles may be shown in place of a person's data; `emails` is always there.
    pub masks: BTreeMap<String, MaskConfig>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountConfig {
    pub name: String,
    /// A PHC string of argon2: `$argon2id$…`.
    pub password_hash: String,
    /// What the Postgres wire checks the same password by without seeing it: `SCRAM-SHA-256$4096:salt$…:…`.
    #[serde(default)]
    pub scram: Option<String>,
    #[serde(default)]
    pub roles: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// Who it stands for.
    pub name: String,
    /// SHA-256 of the token, hex; this or `token`.
    #[serde(default)]
    pub token_sha256: String,
    /// The token itself, for `${VAR}`.
    #[serde(default)]
    pub token: String,
    #[serde(default)]
    pub roles: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// The `aud` its tokens must have.
    pub audience: String,
    /// Where its keys are; empty: found at `<issuer>/.well-known/openid-configuration`.
    #[serde(default)]
    pub jwks_url: String,
    /// The claim that names the person.
    #[serde(default = "default_name_claim")]
    pub name_claim: String,
    /// The claim that lists groups; dots lead into objects.
    #[serde(default = "default_groups_claim")]
    pub groups_claim: String,
    /// Roles of everybody it knows.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Roles by group.
    #[serde(default)]
    pub roles_of_groups: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateConfig {
    /// The common name of the client's certificate.
    pub common_name: String,
    #[serde(default)]
    pub roles: Vec<String>,
}

/// What a role may do, where, with which streams.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantConfig {
    /// Tenant ids; `*` for all.
    pub tenants: Vec<String>,
    pub actions: Vec<Action>,
    /// Stream selectors, any of which lets a stream be seen; none: all streams.
    #[serde(default)]
    pub streams: Vec<String>,
    /// Names of masks over what is seen by this grant.
    #[serde(default)]
    pub masks: Vec<String>,
}

/// What is hidden, and what is shown instead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaskConfig {
    /// A regular expression; empty: fields only.
    pub pattern: String,
    /// Labels, metadata keys, and keys of JSON and logfmt lines.
    pub fields: Vec<String>,
    pub replacement: String,
}

impl Default for MaskConfig {
    fn default() -> Self {
        MaskConfig { pattern: String::new(), fields: Vec::new(), replacement: "***REDACTED***".to_owned() }
    }
}

impl AccessConfig {
    /// Whether callers must say who they are.
    pub fn is_on(&self) -> bool {
        let has_names = !self.accounts.is_empty() || !self.tokens.is_empty() || !self.oidc.is_empty();
        has_names || !self.certificates.is_empty() || !self.anonymous.is_empty()
    }

    /// Everything that is wrong with it.
    pub fn problems(&self) -> Vec<String> {
        match super::Access::new(self, crate::types::time::Clock::system()) {
            Ok(_) => Vec::new(),
            Err(problems) => problems,
        }
    }
}

fn default_name_claim() -> String {
    "sub".to_owned()
}

fn default_groups_claim() -> String {
    "groups".to_owned()
}
