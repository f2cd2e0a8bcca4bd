//! Who asks: `X-Scope-OrgID` with `auth_enabled`, the one fixed tenant without.
//!
//! Errors: 401 `no org id`; 400 for an id that is none.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::Shared;
use crate::api::error::{ApiError, ErrorKind};
use crate::types::ids::{TenantId, TenantIdError};

const HEADER: &str = "x-scope-orgid";

/// The tenant of a request, put there by [`identify`].
#[derive(Debug, Clone)]
pub struct Tenant(pub TenantId);

/// Finds the tenant, or refuses.
pub async fn identify(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let header = request.headers().get(HEADER).map(|value| value.to_str().unwrap_or("\u{fffd}"));
    match tenant(shared.state.config.auth_enabled, header) {
        Ok(tenant) => {
            request.extensions_mut().insert(Tenant(tenant));
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

fn tenant(auth_enabled: bool, header: Option<&str>) -> Result<TenantId, ApiError> {
    if !auth_enabled {
        return Ok(TenantId::single());
    }
    TenantId::parse(header.unwrap_or("")).map_err(|error| {
        let kind = match error {
            TenantIdError::Empty => ErrorKind::Unauthorized,
            TenantIdError::TooLong | TenantIdError::Character { .. } | TenantIdError::Dots => ErrorKind::BadInput,
        };
        ApiError::new(kind, error.to_string()).with_newline()
    })
}

impl<S: Send + Sync> FromRequestParts<S> for Tenant {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Tenant>().cloned().ok_or_else(|| ApiError::new(ErrorKind::Unauthorized, "no org id"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auth_decides_whether_the_header_counts() {
        let check = |auth, header, expected: Result<&str, (u16, &str)>| {
            let got = tenant(auth, header);
            let got = got.as_ref().map(TenantId::as_str).map_err(|e| (e.status.as_u16(), e.text.as_str()));
            assert_eq!(got, expected, "{auth} {header:?}");
        };
        check(false, None, Ok("fake"));
        check(false, Some("../x"), Ok("fake"));
        check(true, Some("team-1"), Ok("team-1"));
        check(true, None, Err((401, "no org id")));
        check(true, Some(""), Err((401, "no org id")));
        check(true, Some(".."), Err((400, "tenant ID is '.' or '..'")));
        check(true, Some("a/b"), Err((400, "tenant ID 'a/b' contains unsupported character '/'")));
        check(true, Some("a|b"), Err((400, "tenant ID 'a|b' contains unsupported character '|'")));
    }
}
