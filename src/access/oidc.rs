//! JSON Web Tokens: signatures against the issuer's keys, which are fetched when they are first needed and kept.
//!
//! ```text
//! token ─ iss ─▶ issuer ─ kid ─▶ key kept? ─ no, or old ─▶ fetch (at most once in 10 s) ─▶ signature, aud, exp, nbf
//! ```
//!
//! Only asymmetric signatures count: a public key must never be taken for a shared secret.
//! Errors: `Unauthenticated`; when the issuer cannot be reached, keys that were fetched before still count.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use parking_lot::RwLock;
use serde_json::Value;

use super::Denied;
use super::principal::Principal;
use super::roles::Role;
use super::settings::OidcConfig;
use crate::types::time::{Clock, UnixNanos};

/// How long keys are used before they are fetched again.
const KEYS_AGE_MAX: Duration = Duration::from_secs(3600);
/// How often an unknown key id may make us fetch: strangers choose key ids.
const FETCH_PAUSE: Duration = Duration::from_secs(10);
const FETCH_WAIT_MAX: Duration = Duration::from_secs(5);
/// Bytes of a key set or of the issuer's description.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Clocks of others may be this far from ours.
const LEEWAY: Duration = Duration::from_secs(60);

/// One issuer of tokens.
pub(super) struct Issuer {
    config: OidcConfig,
    roles: Vec<Arc<Role>>,
    roles_of_groups: BTreeMap<String, Vec<Arc<Role>>>,
    kept: RwLock<Kept>,
    fetching: tokio::sync::Mutex<()>,
    client: OnceLock<reqwest::Client>,
    clock: Clock,
}

#[derive(Default)]
struct Kept {
    keys: Option<Arc<JwkSet>>,
    /// Of the last fetch that worked.
    at: Option<UnixNanos>,
    /// Of the last fetch, good or bad.
    tried_at: Option<UnixNanos>,
}

impl Issuer {
    pub(super) fn new(
        config: OidcConfig,
        roles: Vec<Arc<Role>>,
        roles_of_groups: BTreeMap<String, Vec<Arc<Role>>>,
        clock: Clock,
    ) -> Self {
        Issuer {
            config,
            roles,
            roles_of_groups,
            kept: RwLock::default(),
            fetching: tokio::sync::Mutex::default(),
            client: OnceLock::new(),
            clock,
        }
    }

    /// Whether a token says that it comes from here; nothing is verified yet.
    pub(super) fn issued(&self, token: &str) -> bool {
        claims_unverified(token).is_some_and(|claims| claims["iss"] == self.config.issuer.as_str())
    }

    /// The person a token stands for.
    ///
    /// # Errors
    /// `Unauthenticated`, with what is wrong.
    pub(super) async fn verify(&self, token: &str) -> Result<Principal, Denied> {
        let wrong = |why: &str| Denied::Unauthenticated(format!("wrong token: {why}"));
        let header = jsonwebtoken::decode_header(token).map_err(|_| wrong("not a JSON Web Token"))?;
        let key_id = header.kid.as_deref();
        let key = self.key(key_id).await.ok_or_else(|| wrong("its key is not among those of the issuer"))?;
        if !is_asymmetric(header.alg) {
            return Err(wrong("its signature is not of a kind that is taken"));
        }
        let decoding = DecodingKey::from_jwk(&key).map_err(|_| wrong("its key cannot be read"))?;
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&[&self.config.audience]);
        validation.set_issuer(&[&self.config.issuer]);
        // Times are compared below, with the clock of this server.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "aud", "iss"]);
        let claims = jsonwebtoken::decode::<Value>(token, &decoding, &validation)
            .map_err(|error| wrong(&error.to_string()))?
            .claims;
        let now_s = self.clock.now().0 / 1_000_000_000;
        let leeway_s = LEEWAY.as_secs() as i64;
        let seconds = |name: &str| claims[name].as_f64().map(|seconds| seconds as i64);
        if seconds("exp").is_none_or(|expires| expires + leeway_s < now_s) {
            return Err(wrong("it has expired"));
        }
        if seconds("nbf").is_some_and(|from| from - leeway_s > now_s) {
            return Err(wrong("it is not valid yet"));
        }
        self.principal(&claims).ok_or_else(|| wrong(&format!("it has no claim {}", self.config.name_claim)))
    }

    fn principal(&self, claims: &Value) -> Option<Principal> {
        let name = claim(claims, &self.config.name_claim)?.as_str()?;
        let mut roles = self.roles.clone();
        let groups = match claim(claims, &self.config.groups_claim) {
            Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(groups)) => groups.split_whitespace().collect(),
            _ => Vec::new(),
        };
        for group in groups {
            roles.extend(self.roles_of_groups.get(group).into_iter().flatten().cloned());
        }
        Some(Principal::new(name, roles))
    }

    async fn key(&self, id: Option<&str>) -> Option<Jwk> {
        if let Some(key) = self.kept_key(id, true) {
            return Some(key);
        }
        let _turn = self.fetching.lock().await;
        if let Some(key) = self.kept_key(id, true) {
            return Some(key);
        }
        let tried_at = self.kept.read().tried_at;
        if tried_at.is_none_or(|at| self.is_older(at, FETCH_PAUSE)) {
            let fetched = self.fetch().await;
            let now = self.clock.now();
            let mut kept = self.kept.write();
            kept.tried_at = Some(now);
            match fetched {
                Ok(keys) => {
                    kept.keys = Some(Arc::new(keys));
                    kept.at = Some(now);
                }
                Err(error) => tracing::warn!(issuer = self.config.issuer, error, "keys of an issuer cannot be fetched"),
            }
        }
        self.kept_key(id, false)
    }

    fn kept_key(&self, id: Option<&str>, only_fresh: bool) -> Option<Jwk> {
        let kept = self.kept.read();
        if only_fresh && kept.at.is_none_or(|at| self.is_older(at, KEYS_AGE_MAX)) {
            return None;
        }
        let keys = &kept.keys.as_ref()?.keys;
        match id {
            Some(id) => keys.iter().find(|key| key.common.key_id.as_deref() == Some(id)).cloned(),
            None if keys.len() == 1 => keys.first().cloned(),
            None => None,
        }
    }

    fn is_older(&self, at: UnixNanos, age: Duration) -> bool {
        self.clock.now().0.saturating_sub(at.0) > i64::try_from(age.as_nanos()).unwrap_or(i64::MAX)
    }

    async fn fetch(&self) -> Result<JwkSet, String> {
        let url = if self.config.jwks_url.is_empty() {
            let issuer = self.config.issuer.trim_end_matches('/');
            let described = self.get(&format!("{issuer}/.well-known/openid-configuration")).await?;
            let described: Value = serde_json::from_slice(&described).map_err(|error| error.to_string())?;
            described["jwks_uri"].as_str().ok_or("its description has no jwks_uri")?.to_owned()
        } else {
            self.config.jwks_url.clone()
        };
        let body = self.get(&url).await?;
        read_keys(&body)
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let client = match self.client.get() {
            Some(client) => client,
            None => {
                let built = reqwest::Client::builder().timeout(FETCH_WAIT_MAX).build();
                self.client.get_or_init(|| built.unwrap_or_default())
            }
        };
        let answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
        let mut answer = answer.map_err(|error| error.without_url().to_string())?;
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| error.without_url().to_string())? {
            body.extend_from_slice(&piece);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(format!("{url} answers with more than {ANSWER_BYTES_MAX} bytes"));
            }
        }
        Ok(body)
    }
}

/// Keys that can be read; an issuer may have others, for purposes that are not ours.
fn read_keys(body: &[u8]) -> Result<JwkSet, String> {
    let set: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let keys = set["keys"].as_array().ok_or("no key set: it has no list `keys`")?;
    Ok(JwkSet { keys: keys.iter().filter_map(|key| serde_json::from_value(key.clone()).ok()).collect() })
}

fn is_asymmetric(algorithm: Algorithm) -> bool {
    !matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
}

fn claims_unverified(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

/// `realm_access.roles` leads into objects; a claim of that very name comes first.
fn claim<'c>(claims: &'c Value, path: &str) -> Option<&'c Value> {
    claims.get(path).or_else(|| path.split('.').try_fold(claims, |value, key| value.get(key)))
}

#[cfg(test)]
#[path = "oidc_tests.rs"]
mod tests;
