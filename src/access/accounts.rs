//! Recognising callers: passwords, tokens, certificates.
//!
//! A password is checked with argon2 once; then a keyed digest of it is remembered for a while, so that each request of
//! a client does not cost what argon2 is made to cost.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use argon2::{Argon2, PasswordHash, PasswordVerifier};
use sha2::{Digest, Sha256};

use super::Denied;
use super::oidc::Issuer;
use super::principal::Principal;
use super::roles::{self, Role};
use super::scram::Verifier;
use super::settings::AccessConfig;
use crate::types::time::Clock;

/// How long a password that was right once is taken without argon2.
const PASSWORD_MEMORY: Duration = Duration::from_secs(300);
/// Passwords remembered at once.
const PASSWORDS_MAX: u64 = 10_000;
/// Passwords checked with argon2 at once; each takes 19 MiB and tens of milliseconds of a core.
const CHECKS_MAX: usize = 4;
const HINT: &str = "send Authorization: Bearer <token>, or Basic with a name and a password";

/// What a caller shows.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    Nothing,
    Password {
        name: String,
        password: String,
    },
    Token(String),
    /// A name whose password was proven by [`super::scram`].
    Proven {
        name: String,
    },
    /// The common name of a certificate that was verified.
    Certificate {
        common_name: String,
    },
}

/// Everybody the server knows. Cheap to clone.
#[derive(Clone)]
pub struct Access(Arc<Known>);

struct Known {
    on: bool,
    anonymous: Option<Principal>,
    accounts: HashMap<String, Account>,
    /// By SHA-256 of the token.
    tokens: HashMap<[u8; 32], Principal>,
    certificates: HashMap<String, Principal>,
    issuers: Vec<Issuer>,
    checked: moka::sync::Cache<[u8; 32], ()>,
    /// Makes the digests of remembered passwords useless to others.
    salt: [u8; 16],
    checks: tokio::sync::Semaphore,
}

struct Account {
    hash: String,
    scram: Option<Verifier>,
    principal: Principal,
}

impl Access {
    /// Everybody may do everything.
    pub fn off() -> Self {
        Access::new(&AccessConfig::default(), Clock::system())
            .unwrap_or_else(|_| unreachable!("no settings have no problems"))
    }

    /// # Errors
    /// All that is wrong with the settings.
    pub fn new(config: &AccessConfig, clock: Clock) -> Result<Self, Vec<String>> {
        let roles = roles::compile(config)?;
        let mut reader = Reader { roles, problems: Vec::new() };
        let mut accounts = HashMap::new();
        for (at, account) in config.accounts.iter().enumerate() {
            let principal = reader.principal(&account.name, &account.roles, &format!("access.accounts[{at}]"));
            if let Err(error) = PasswordHash::new(&account.password_hash) {
                let hint = "a PHC string of argon2: $argon2id$…";
                reader.problems.push(format!("access.accounts[{at}].password_hash: {error}; {hint}"));
            }
            let scram = account.scram.as_deref().map(Verifier::parse).transpose().unwrap_or_else(|problem| {
                reader.problems.push(format!("access.accounts[{at}].scram: {problem}"));
                None
            });
            let account_kept = Account { hash: account.password_hash.clone(), scram, principal };
            accounts.insert(account.name.clone(), account_kept);
        }
        let mut tokens = HashMap::new();
        for (at, token) in config.tokens.iter().enumerate() {
            let place = format!("access.tokens[{at}]");
            let principal = reader.principal(&token.name, &token.roles, &place);
            match token_digest(&token.token, &token.token_sha256) {
                Ok(digest) => {
                    tokens.insert(digest, principal);
                }
                Err(problem) => reader.problems.push(format!("{place}: {problem}")),
            }
        }
        let mut certificates = HashMap::new();
        for (at, known) in config.certificates.iter().enumerate() {
            let principal = reader.principal(&known.common_name, &known.roles, &format!("access.certificates[{at}]"));
            certificates.insert(known.common_name.clone(), principal);
        }
        let mut issuers = Vec::new();
        for (at, issuer) in config.oidc.iter().enumerate() {
            let place = format!("access.oidc[{at}]");
            if issuer.issuer.is_empty() || issuer.audience.is_empty() {
                reader.problems.push(format!("{place}: issuer and audience must be given"));
            }
            let roles = reader.roles(&issuer.roles, &place);
            let of_groups = issuer.roles_of_groups.iter();
            let of_groups = of_groups.map(|(group, roles)| (group.clone(), reader.roles(roles, &place))).collect();
            issuers.push(Issuer::new(issuer.clone(), roles, of_groups, clock.clone()));
        }
        let anonymous = (!config.anonymous.is_empty())
            .then(|| reader.principal("anonymous", &config.anonymous, "access.anonymous"));
        if !reader.problems.is_empty() {
            return Err(reader.problems);
        }
        Ok(Access(Arc::new(Known {
            on: config.is_on(),
            anonymous,
            accounts,
            tokens,
            certificates,
            issuers,
            checked: moka::sync::Cache::builder().max_capacity(PASSWORDS_MAX).time_to_live(PASSWORD_MEMORY).build(),
            salt: *uuid::Uuid::new_v4().as_bytes(),
            checks: tokio::sync::Semaphore::new(CHECKS_MAX),
        })))
    }

    /// Whether callers must say who they are.
    pub fn is_on(&self) -> bool {
        self.0.on
    }

    /// Whether there is an account of this name.
    pub fn has_account(&self, name: &str) -> bool {
        self.0.accounts.contains_key(name)
    }

    /// What an account can prove its password by; none: it must show it.
    pub fn scram_of(&self, name: &str) -> Option<&Verifier> {
        self.0.accounts.get(name)?.scram.as_ref()
    }

    /// Who shows these credentials.
    ///
    /// # Errors
    /// `Unauthenticated`, with the same words whether a name or a password is wrong.
    pub async fn authenticate(&self, credentials: &Credentials) -> Result<Principal, Denied> {
        if !self.0.on {
            return Ok(Principal::of_open_server());
        }
        match credentials {
            Credentials::Nothing => {
                let nobody = || Denied::Unauthenticated(format!("authentication required: {HINT}"));
                self.0.anonymous.clone().ok_or_else(nobody)
            }
            Credentials::Password { name, password } => self.check_password(name, password).await,
            Credentials::Token(token) => {
                let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
                if let Some(principal) = self.0.tokens.get(&digest) {
                    return Ok(principal.clone());
                }
                match self.0.issuers.iter().find(|issuer| issuer.issued(token)) {
                    Some(issuer) => issuer.verify(token).await,
                    None => Err(unknown("token")),
                }
            }
            Credentials::Proven { name } => {
                let account = self.0.accounts.get(name);
                account.map(|account| account.principal.clone()).ok_or_else(|| unknown("name or password"))
            }
            Credentials::Certificate { common_name } => {
                self.0.certificates.get(common_name).cloned().ok_or_else(|| unknown("certificate"))
            }
        }
    }

    async fn check_password(&self, name: &str, password: &str) -> Result<Principal, Denied> {
        let account = self.0.accounts.get(name);
        let hash = account.map_or(NOBODYS_HASH, |account| &account.hash).to_owned();
        let mut digest = Sha256::new();
        for part in [&self.0.salt[..], hash.as_bytes(), &[0], password.as_bytes()] {
            digest.update(part);
        }
        let digest: [u8; 32] = digest.finalize().into();
        if let Some(account) = account
            && self.0.checked.contains_key(&digest)
        {
            return Ok(account.principal.clone());
        }
        let _turn = self.0.checks.acquire().await.map_err(|_| unknown("name or password"))?;
        let password = password.to_owned();
        let check = tokio::task::spawn_blocking(move || {
            let hash = PasswordHash::new(&hash).ok()?;
            Argon2::default().verify_password(password.as_bytes(), &hash).ok()
        });
        match (check.await, account) {
            (Ok(Some(())), Some(account)) => {
                self.0.checked.insert(digest, ());
                Ok(account.principal.clone())
            }
            _ => Err(unknown("name or password")),
        }
    }
}

/// What a name that nobody has is checked against, so that it takes as long as one that somebody has.
const NOBODYS_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn unknown(what: &str) -> Denied {
    Denied::Unauthenticated(format!("wrong {what}: {HINT}"))
}

fn token_digest(token: &str, sha256: &str) -> Result<[u8; 32], String> {
    match (token, sha256) {
        ("", "") => Err("give token_sha256, or token".to_owned()),
        (token, "") => Ok(Sha256::digest(token.as_bytes()).into()),
        ("", hex) => {
            let digit = |at: usize| hex.get(at * 2..at * 2 + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
            let bytes: Vec<u8> = (0..32).map_while(digit).collect();
            match <[u8; 32]>::try_from(bytes) {
                Ok(digest) if hex.len() == 64 => Ok(digest),
                _ => Err("token_sha256: 64 hexadecimal digits".to_owned()),
            }
        }
        _ => Err("token_sha256 and token: only one of them".to_owned()),
    }
}

struct Reader {
    roles: BTreeMap<String, Arc<Role>>,
    problems: Vec<String>,
}

impl Reader {
    fn principal(&mut self, name: &str, roles: &[String], place: &str) -> Principal {
        if name.is_empty() {
            self.problems.push(format!("{place}.name: empty"));
        }
        let roles = self.roles(roles, place);
        Principal::new(name, roles)
    }

    fn roles(&mut self, names: &[String], place: &str) -> Vec<Arc<Role>> {
        let mut found = Vec::new();
        for name in names {
            match self.roles.get(name) {
                Some(role) => found.push(role.clone()),
                None => self.problems.push(format!("{place}.roles: no role {name} in access.roles")),
            }
        }
        found
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("on", &self.0.on).finish_non_exhaustive()
    }
}

/// Secrets are not for logs.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Credentials::Nothing => "nothing",
            Credentials::Password { .. } => "a password",
            Credentials::Token(_) => "a token",
            Credentials::Proven { .. } => "a proof",
            Credentials::Certificate { .. } => "a certificate",
        })
    }
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
