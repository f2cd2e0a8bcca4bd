//! Who calls: credentials of each call, or a token that a handshake gave for them.

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use super::{DOOR, statements};
use crate::access::Principal;
use crate::api::Shared;
use crate::api::tenant::{self, Caller, Peer};

/// How long a token of a handshake is good without being shown, and how many there are.
const IDLE_MAX: Duration = Duration::from_secs(3600);
const TOKENS_MAX: u64 = 10_000;

/// Tokens that handshakes gave, by their digest. Cheap to clone.
#[derive(Clone)]
pub(super) struct Logins(moka::sync::Cache<[u8; 32], Principal>);

impl Default for Logins {
    fn default() -> Self {
        Logins(moka::sync::Cache::builder().max_capacity(TOKENS_MAX).time_to_idle(IDLE_MAX).build())
    }
}

impl Logins {
    /// A token that stands for this caller from now on.
    pub(super) fn token_for(&self, principal: &Principal) -> String {
        let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        self.0.insert(digest(&token), principal.clone());
        token
    }

    /// Who calls.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, `PERMISSION_DENIED`, or `INVALID_ARGUMENT` for tenants that are none.
    pub(super) fn caller<'a, T>(
        &self,
        shared: &'a Shared,
        request: &Request<T>,
    ) -> impl Future<Output = Result<Caller, Status>> + Send + use<'a, T> {
        // Taken out first: what streams may not be looked at from another thread while this waits.
        let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
        let headers = request.metadata().clone().into_headers();
        let known = bearer(request.metadata()).and_then(|token| self.0.get(&digest(token)));
        async move {
            let caller = match known {
                Some(principal) => tenant::of_principal(shared, principal, &headers, source(&peer)),
                None => tenant::of_call(shared, DOOR, &headers, &peer).await,
            };
            caller.map_err(|error| statements::status(&error))
        }
    }
}

fn source(peer: &Peer) -> Option<IpAddr> {
    peer.address.map(|address| address.ip())
}

fn bearer(metadata: &MetadataMap) -> Option<&str> {
    let value = metadata.get("authorization")?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_for_who_logged_in() {
        let logins = Logins::default();
        let token = logins.token_for(&Principal::of_open_server());
        let found = |token: &str| logins.0.get(&digest(token)).map(|principal| principal.name().to_owned());
        assert_eq!(found(&token).as_deref(), Some("anonymous"));
        assert_eq!(found("another"), None);
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", format!("Bearer {token}").parse().expect("a value"));
        assert_eq!(bearer(&metadata), Some(token.as_str()));
    }
}
