//! Who asks, for which tenant, to do what.
//!
//! ```text
//! request ─ identify ─▶ Caller (principal, tenants) ─ the handler's extractor ─▶ Reading(scope), Writing(tenant), …
//!              └─ 401, 400                                 └─ 403
//! ```
//!
//! There is no other way to a tenant than an extractor that says what for: a new door cannot forget to ask.
//! Tenants are named in `X-Scope-OrgID` with `auth_enabled`, `a|b` for reads; without, there is one fixed tenant.
//! Errors: 401 `no org id`, or without credentials; 400 for an id that is none; 403 for what no role allows.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::access::{Access, Action, Credentials, Denied, Principal, Scope};
use crate::api::audit::{Note, note_login, note_login_at, note_refusal};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::{AppState, Shared};
use crate::audit::{Event, Kind};
use crate::receive::decode::PushError;
use crate::types::ids::{TenantId, TenantIdError};

const HEADER: &str = "x-scope-orgid";

/// A recognised caller, put into the request by [`identify`].
#[derive(Debug, Clone)]
pub struct Caller {
    pub principal: Principal,
    /// In the order they were named; at least one.
    pub tenants: Arc<[TenantId]>,
    /// Where the request came from.
    pub source: Option<IpAddr>,
}

/// May ask; what they may see. Several tenants are possible.
#[derive(Debug, Clone)]
pub struct Reading(pub Scope);

/// May ask one tenant: for doors that know no several.
#[derive(Debug, Clone)]
pub struct ReadingOne(pub Scope, pub TenantId);

/// May take out more than a screen holds.
#[derive(Debug, Clone)]
pub struct Exporting(pub Scope);

/// May push to the tenant.
#[derive(Debug, Clone)]
pub struct Writing(pub TenantId);

/// May ask for lines of the tenant to be deleted, of the streams that the scope shows.
#[derive(Debug, Clone)]
pub struct Deleting(pub Scope, pub TenantId);

/// May see and change the tenant's rules.
#[derive(Debug, Clone)]
pub struct Ruling(pub TenantId);

/// May see and change the server.
#[derive(Debug, Clone)]
pub struct Administering(pub Principal);

/// May read `/metrics`.
#[derive(Debug, Clone)]
pub struct Measuring(pub Principal);

/// Finds out who asks for which tenants, or refuses.
pub async fn identify(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let asked = Asked::of(&request);
    let tried = asked.tried(&shared.state.access);
    match caller(&shared.state, asked).await {
        Ok(caller) => {
            if let Some(note) = request.extensions().get::<Note>() {
                note.caller(&caller, true);
                note_login(&shared, &caller, request.headers()).await;
            }
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => refused(&request, tried, error),
    }
}

/// Finds out who asks, where tenants do not matter.
pub async fn recognise(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let asked = Asked::of(&request);
    let tried = asked.tried(&shared.state.access);
    let source = asked.source;
    match principal(&shared.state, asked.credentials).await {
        Ok(principal) => {
            let caller = Caller { principal, tenants: Arc::from([TenantId::single()]), source };
            if let Some(note) = request.extensions().get::<Note>() {
                note.caller(&caller, false);
            }
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => refused(&request, tried, error),
    }
}

fn refused(request: &Request, tried: Option<String>, error: ApiError) -> Response {
    if let (Some(note), Some(name)) = (request.extensions().get::<Note>(), tried) {
        note.with(|event| event.text = format!("as {name}"));
    }
    error.into_response()
}

/// What a request says of its caller.
struct Asked {
    credentials: Result<Credentials, ApiError>,
    tenants: Option<String>,
    source: Option<IpAddr>,
}

impl Asked {
    /// The account that a name and a password were shown for. A name that nobody has may be a password in a wrong place.
    fn tried(&self, access: &Access) -> Option<String> {
        match &self.credentials {
            Ok(Credentials::Password { name, .. }) => access.has_account(name).then(|| name.clone()),
            _ => None,
        }
    }

    fn of(request: &Request) -> Self {
        let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|peer| peer.0.clone());
        Asked::by(request.headers(), &peer.unwrap_or_default())
    }

    /// By the headers of a call and its connection. Whoever shows nothing else is who their certificate says.
    fn by(headers: &HeaderMap, peer: &Peer) -> Self {
        let credentials = credentials(headers).map(|shown| match (shown, &peer.certificate) {
            (Credentials::Nothing, Some(peer)) => Credentials::Certificate { common_name: peer.common_name.clone() },
            (shown, _) => shown,
        });
        let source = peer.address.map(|address| address.ip());
        Asked { credentials, tenants: named_tenants(headers), source }
    }
}

/// The tenant of a push that came to a door without handlers, by the same rules.
///
/// # Errors
/// Those of [`identify`] and [`Writing`].
pub async fn of_push(state: &AppState, headers: &HeaderMap, peer: &Peer) -> Result<TenantId, PushError> {
    let asked = Asked::by(headers, peer);
    let source = asked.source;
    let writing = async {
        let caller = caller(state, asked).await?;
        let tenant = caller.one_tenant()?;
        caller.principal.check(Action::Write, &tenant)?;
        Ok(tenant)
    };
    let tenant: Result<TenantId, ApiError> = writing.await;
    if let Err(error) = &tenant
        && matches!(error.status.as_u16(), 401 | 403)
    {
        let (status, error) = (error.status.as_u16(), error.text.clone());
        let event = Event {
            kind: Kind::Denied,
            door: "grpc",
            endpoint: "push".to_owned(),
            source,
            status,
            error,
            ..Event::default()
        };
        // Refused it is in any case.
        let _ = state.audit.seal(event).await;
    }
    tenant.map_err(|error| PushError::new(error.status.as_u16(), error.text))
}

/// Who shows these credentials at a door that knows no requests of HTTP, for the tenants it names there.
///
/// # Errors
/// Those of [`identify`]; a refusal is recorded.
pub async fn at_door(
    shared: &Shared,
    door: &'static str,
    credentials: Credentials,
    tenants: Option<&str>,
    source: Option<IpAddr>,
) -> Result<Caller, ApiError> {
    let (name, how) = match &credentials {
        Credentials::Nothing => (String::new(), "none"),
        Credentials::Password { name, .. } => (name.clone(), "password"),
        Credentials::Token(_) => (String::new(), "token"),
        Credentials::Proven { name } => (name.clone(), "scram"),
        Credentials::Certificate { common_name } => (common_name.clone(), "certificate"),
    };
    let asked = Asked { credentials: Ok(credentials), tenants: tenants.map(str::to_owned), source };
    let recognised = match caller(&shared.state, asked).await {
        // Who may not read in their tenants has nothing to do at a door of SQL.
        Ok(caller) => caller.scope(Action::Read).map(|_| caller),
        Err(error) => Err(error),
    };
    match recognised {
        Ok(caller) => {
            note_login_at(shared, &caller, door, how).await;
            Ok(caller)
        }
        Err(error) => {
            note_refusal(shared, door, source, &name, &error).await;
            Err(error)
        }
    }
}

/// The other end of a connection, put into each call by its listener.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    pub address: Option<SocketAddr>,
    /// Shown and verified.
    pub certificate: Option<PeerCertificate>,
}

/// As [`at_door`], by what the headers of a call and its connection say.
///
/// # Errors
/// Those of [`at_door`].
pub async fn of_call(
    shared: &Shared,
    door: &'static str,
    headers: &HeaderMap,
    peer: &Peer,
) -> Result<Caller, ApiError> {
    let asked = Asked::by(headers, peer);
    at_door(shared, door, asked.credentials?, asked.tenants.as_deref(), asked.source).await
}

/// Somebody who was recognised before, for the tenants that a call names.
///
/// # Errors
/// 400 and 401 for tenants, 403.
pub fn of_principal(
    shared: &Shared,
    principal: Principal,
    headers: &HeaderMap,
    source: Option<IpAddr>,
) -> Result<Caller, ApiError> {
    let config = &shared.state.config;
    let several = config.querier.multi_tenant_queries_enabled;
    let tenants = tenants(config.auth_enabled, several, named_tenants(headers).as_deref(), &principal)?.into();
    let caller = Caller { principal, tenants, source };
    caller.scope(Action::Read)?;
    Ok(caller)
}

fn named_tenants(headers: &HeaderMap) -> Option<String> {
    headers.get(HEADER).map(|value| value.to_str().unwrap_or("\u{fffd}").to_owned())
}

async fn caller(state: &AppState, asked: Asked) -> Result<Caller, ApiError> {
    let principal = principal(state, asked.credentials).await?;
    let config = &state.config;
    let several = config.querier.multi_tenant_queries_enabled;
    let tenants = tenants(config.auth_enabled, several, asked.tenants.as_deref(), &principal)?.into();
    Ok(Caller { principal, tenants, source: asked.source })
}

async fn principal(state: &AppState, credentials: Result<Credentials, ApiError>) -> Result<Principal, ApiError> {
    Ok(state.access.authenticate(&credentials?).await?)
}

/// The verified certificate of the connection, put there by the TLS listener.
#[derive(Debug, Clone)]
pub struct PeerCertificate {
    pub common_name: String,
}

fn credentials(headers: &HeaderMap) -> Result<Credentials, ApiError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(Credentials::Nothing) };
    let unreadable =
        || ApiError::new(ErrorKind::Unauthorized, "Authorization: neither Basic nor Bearer").with_newline();
    let (scheme, rest) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(unreadable)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Credentials::Token(rest.trim().to_owned()));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = STANDARD.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let (name, password) = decoded.as_deref().and_then(|text| text.split_once(':')).ok_or_else(unreadable)?;
        return Ok(Credentials::Password { name: name.to_owned(), password: password.to_owned() });
    }
    Err(unreadable())
}

fn tenants(
    auth_enabled: bool,
    several: bool,
    header: Option<&str>,
    principal: &Principal,
) -> Result<Vec<TenantId>, ApiError> {
    if !auth_enabled {
        return Ok(vec![TenantId::single()]);
    }
    let named = header.unwrap_or("");
    if let ("", Some(only)) = (named, principal.only_tenant()) {
        return Ok(vec![only]);
    }
    let names: Vec<&str> = if several { named.split('|').collect() } else { vec![named] };
    let mut tenants: Vec<TenantId> = Vec::with_capacity(names.len());
    for name in names {
        let tenant = TenantId::parse(name).map_err(|error| {
            let kind = match error {
                TenantIdError::Empty => ErrorKind::Unauthorized,
                TenantIdError::TooLong | TenantIdError::Character { .. } | TenantIdError::Dots => ErrorKind::BadInput,
            };
            ApiError::new(kind, error.to_string()).with_newline()
        })?;
        if !tenants.contains(&tenant) {
            tenants.push(tenant);
        }
    }
    Ok(tenants)
}

impl Caller {
    /// The caller of a request.
    ///
    /// # Errors
    /// 401 when the route was not put behind [`identify`].
    pub fn of(parts: &Parts) -> Result<Self, ApiError> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(|| ApiError::new(ErrorKind::Unauthorized, "no org id"))
    }

    /// What `action` may see of the tenants named.
    ///
    /// # Errors
    /// 403.
    pub fn scope(&self, action: Action) -> Result<Scope, ApiError> {
        Ok(self.principal.scope(action, &self.tenants)?)
    }

    /// The one tenant named.
    ///
    /// # Errors
    /// 400 for several.
    pub fn one_tenant(&self) -> Result<TenantId, ApiError> {
        match &*self.tenants {
            [tenant] => Ok(tenant.clone()),
            _ => Err(ApiError::bad_input("multiple org IDs present").with_newline()),
        }
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        let kind = match denied {
            Denied::Unauthenticated(_) => ErrorKind::Unauthenticated,
            Denied::Forbidden(_) => ErrorKind::Forbidden,
        };
        ApiError::new(kind, denied.to_string()).with_newline()
    }
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, ApiError> {
        Caller::of(parts)
    }
}

impl FromRequestParts<Shared> for Reading {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, ApiError> {
        Note::of(parts).action(Action::Read);
        Ok(Reading(Caller::of(parts)?.scope(Action::Read)?))
    }
}

impl FromRequestParts<Shared> for ReadingOne {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, ApiError> {
        let caller = Caller::of(parts)?;
        let tenant = caller.one_tenant()?;
        Note::of(parts).action(Action::Read);
        Ok(ReadingOne(caller.scope(Action::Read)?, tenant))
    }
}

impl FromRequestParts<Shared> for Exporting {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, ApiError> {
        Note::of(parts).action(Action::Export);
        Ok(Exporting(Caller::of(parts)?.scope(Action::Export)?))
    }
}

impl FromRequestParts<Shared> for Writing {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, ApiError> {
        let caller = Caller::of(parts)?;
        let tenant = caller.one_tenant()?;
        caller.principal.check(Action::Write, &tenant)?;
        Ok(Writing(tenant))
    }
}

impl FromRequestParts<Shared> for Deleting {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, ApiError> {
        let caller = Caller::of(parts)?;
        let tenant = caller.one_tenant()?;
        Note::of(parts).action(Action::Delete);
        Ok(Deleting(caller.scope(Action::Delete)?, tenant))
    }
}

impl FromRequestParts<Shared> for Ruling {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, ApiError> {
        let caller = Caller::of(parts)?;
        let tenant = caller.one_tenant()?;
        Note::of(parts).action(Action::Rules);
        caller.principal.check(Action::Rules, &tenant)?;
        Ok(Ruling(tenant))
    }
}

impl FromRequestParts<Shared> for Administering {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, ApiError> {
        let caller = Caller::of(parts)?;
        Note::of(parts).action(Action::Admin);
        caller.principal.check_anywhere(Action::Admin)?;
        Ok(Administering(caller.principal))
    }
}

impl FromRequestParts<Shared> for Measuring {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, ApiError> {
        let caller = Caller::of(parts)?;
        caller.principal.check_anywhere(Action::Metrics)?;
        Ok(Measuring(caller.principal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auth_decides_whether_the_header_counts() {
        let check = |auth, several, header, expected: Result<&[&str], (u16, &str)>| {
            let got = tenants(auth, several, header, &Principal::of_open_server());
            let got: Result<Vec<&str>, _> = match &got {
                Ok(tenants) => Ok(tenants.iter().map(TenantId::as_str).collect()),
                Err(error) => Err((error.status.as_u16(), error.text.as_str())),
            };
            assert_eq!(got, expected.map(<[&str]>::to_vec), "{auth} {several} {header:?}");
        };
        check(false, true, None, Ok(&["fake"]));
        check(false, false, Some("../x"), Ok(&["fake"]));
        check(true, false, Some("team-1"), Ok(&["team-1"]));
        check(true, false, None, Err((401, "no org id")));
        check(true, true, Some(""), Err((401, "no org id")));
        check(true, false, Some(".."), Err((400, "tenant ID is '.' or '..'")));
        check(true, true, Some("a/b"), Err((400, "tenant ID 'a/b' contains unsupported character '/'")));
        check(true, false, Some("a|b"), Err((400, "tenant ID 'a|b' contains unsupported character '|'")));
        check(true, true, Some("b|a|b"), Ok(&["b", "a"]));
        check(true, true, Some("a|"), Err((401, "no org id")));
    }

    #[test]
    fn credentials_are_read_from_the_header() {
        let check = |value: &'static str, expected: Option<Credentials>| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().expect("a value"))]);
            assert_eq!(credentials(&headers).ok(), expected, "{value}");
        };
        let password =
            |name: &str, password: &str| Credentials::Password { name: name.into(), password: password.into() };
        check("Bearer abc", Some(Credentials::Token("abc".to_owned())));
        check("bearer abc", Some(Credentials::Token("abc".to_owned())));
        check("Basic YW5hOnM6M2NyZXQ=", Some(password("ana", "s:3cret")));
        check("Basic ???", None);
        check("Digest x", None);
        assert_eq!(credentials(&HeaderMap::new()).ok(), Some(Credentials::Nothing));
    }
}
