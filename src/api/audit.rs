//! The record that every request may leave: begun outside of everything, filled in by whoever knows more, told at the end.
//!
//! ```text
//! watch ─▶ identify (who) ─▶ extractor (what for) ─▶ Params (text) ─▶ handler (read, rows) ─▶ watch: told
//!    └ dropped before the answer: told with 499          └ asks before it changes: Note::ask, durable
//! ```
//!
//! Invariant: a route of a tenant or of operators leaves a record unless its extractor says that it needs none (pushes,
//! metrics, rules that are only read); a new route cannot forget to. What is refused always leaves one.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;
use parking_lot::Mutex;

use crate::access::Action;
use crate::api::Shared;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::params::Params;
use crate::api::tenant::{Caller, Peer};
use crate::audit::{Audit, AuditError, Event, Kind, Phase, ReadAmount};
use crate::types::time::UnixNanos;

const DOOR: &str = "http";

/// The record of one request in the making. Cheap to clone; does nothing where nothing is recorded.
#[derive(Debug, Clone, Default)]
pub struct Note(Option<Arc<Draft>>);

#[derive(Debug)]
struct Draft {
    audit: Audit,
    started: Instant,
    is_get: bool,
    state: Mutex<Filled>,
}

#[derive(Debug, Default)]
struct Filled {
    event: Event,
    /// None: it leaves no record unless it is refused.
    kind: Option<Kind>,
    told: bool,
    /// Whether somebody else tells it: the stream of an answer.
    handed_on: bool,
}

/// The words of a refusal, put into its answer for [`watch`].
#[derive(Debug, Clone)]
pub struct Refused(pub String);

impl Note {
    fn begin(audit: &Audit, request: &Request) -> Self {
        let peer = request.extensions().get::<ConnectInfo<Peer>>();
        let path = request.extensions().get::<MatchedPath>();
        let path = path.map_or_else(|| request.uri().path(), MatchedPath::as_str);
        let event = Event {
            door: DOOR,
            endpoint: format!("{} {path}", request.method()),
            source: peer.and_then(|peer| peer.0.address).map(|address| address.ip()),
            ..Event::default()
        };
        let state = Mutex::new(Filled { event, ..Filled::default() });
        let is_get = request.method() == Method::GET;
        Note(Some(Arc::new(Draft { audit: audit.clone(), started: Instant::now(), is_get, state })))
    }

    /// Begins the record of a statement at a door that knows no requests of HTTP.
    pub fn of_statement(audit: &Audit, door: &'static str, endpoint: &str, caller: &Caller, text: &str) -> Self {
        if !audit.is_on() {
            return Note::default();
        }
        let event = Event { door, endpoint: endpoint.to_owned(), source: caller.source, ..Event::default() };
        let state = Mutex::new(Filled { event, ..Filled::default() });
        let note = Note(Some(Arc::new(Draft { audit: audit.clone(), started: Instant::now(), is_get: false, state })));
        note.caller(caller, true);
        note.question(Kind::Query, "sql", text);
        note
    }

    /// Adds to the record.
    pub fn with(&self, add: impl FnOnce(&mut Event)) {
        if let Some(draft) = &self.0 {
            add(&mut draft.state.lock().event);
        }
    }

    /// Says who asks.
    pub fn caller(&self, caller: &Caller, names_tenants: bool) {
        self.with(|event| {
            caller.principal.name().clone_into(&mut event.who);
            event.roles = caller.principal.role_names().map(str::to_owned).collect();
            if names_tenants {
                event.tenants = caller.tenants.to_vec();
            }
        });
    }

    /// Says what for; a handler that knows better says so later.
    pub fn action(&self, action: Action) {
        let Some(draft) = &self.0 else { return };
        let kind = match action {
            Action::Read | Action::Audit => draft.audit.records_browsing().then_some(Kind::Browse),
            Action::Export => Some(Kind::Export),
            Action::Delete if draft.is_get => Some(Kind::Browse),
            Action::Delete => Some(Kind::Delete),
            Action::Rules if draft.is_get => None,
            Action::Rules => Some(Kind::Rules),
            Action::Admin => Some(Kind::Admin),
            Action::Write | Action::Metrics => None,
        };
        draft.state.lock().kind = kind;
    }

    pub fn kind(&self, kind: Kind) {
        if let Some(draft) = &self.0 {
            draft.state.lock().kind = Some(kind);
        }
    }

    /// A question: its kind, its language and its text.
    pub fn question(&self, kind: Kind, language: &'static str, text: &str) {
        self.kind(kind);
        self.with(|event| {
            event.language = language;
            text.clone_into(&mut event.text);
        });
    }

    pub fn range(&self, start: UnixNanos, end: UnixNanos) {
        self.with(|event| event.range = Some((start, end)));
    }

    /// What was read, and how many rows came of it.
    pub fn read(&self, bytes: u64, rows_read: u64, rows: u64) {
        self.with(|event| {
            event.read = Some(ReadAmount { bytes, rows: rows_read });
            event.rows = Some(rows);
        });
    }

    /// Records durably that something is about to be done.
    ///
    /// # Errors
    /// 503: then it must not be done.
    pub async fn ask(&self) -> Result<(), ApiError> {
        let Some(draft) = &self.0 else { return Ok(()) };
        let event = {
            let mut state = draft.state.lock();
            state.event.phase = Some(Phase::Done);
            Event { kind: state.kind.unwrap_or_default(), phase: Some(Phase::Asked), ..state.event.clone() }
        };
        Ok(draft.audit.seal(event).await?)
    }

    fn is_handed_on(&self) -> bool {
        self.0.as_ref().is_some_and(|draft| draft.state.lock().handed_on)
    }

    fn tell_now(&self, status: u16) {
        if let (Some(draft), Some(event)) = (&self.0, self.take(status)) {
            draft.audit.note_now(event);
        }
    }

    /// From here on the record is told by [`Told`], not with the answer, which must be a good one.
    pub fn hand_on(&self) -> Told {
        if let Some(draft) = &self.0 {
            draft.state.lock().handed_on = true;
        }
        Told(self.clone())
    }

    /// The finished event; none when it was told, or need not be.
    fn take(&self, status: u16) -> Option<Event> {
        let draft = self.0.as_ref()?;
        let mut state = draft.state.lock();
        if std::mem::replace(&mut state.told, true) {
            return None;
        }
        let kind = if matches!(status, 401 | 403) { Some(Kind::Denied) } else { state.kind };
        let took = Some(draft.started.elapsed());
        kind.map(|kind| Event { kind, status, took, ..std::mem::take(&mut state.event) })
    }
}

/// Tells the record of a request whose client went away before there was an answer.
struct Abandoned(Note);

impl Drop for Abandoned {
    fn drop(&mut self) {
        if !self.0.is_handed_on() {
            self.0.tell_now(ErrorKind::ClientGone.status().as_u16());
        }
    }
}

/// Tells a record when an answer has ended, or when nobody reads it any more.
#[derive(Debug)]
pub struct Told(Note);

impl Told {
    pub fn note(&self) -> &Note {
        &self.0
    }

    /// The answer has ended well.
    pub async fn end(self) {
        if let (Some(draft), Some(event)) = (&self.0.0, self.0.take(200)) {
            draft.audit.note(event).await;
        }
    }

    /// The answer broke off.
    pub fn fail(self, status: u16, error: &str) {
        self.0.with(|event| error.clone_into(&mut event.error));
        self.0.tell_now(status);
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.0.tell_now(ErrorKind::ClientGone.status().as_u16());
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Note {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Note::of(parts))
    }
}

impl Note {
    pub fn of(parts: &Parts) -> Self {
        parts.extensions.get::<Note>().cloned().unwrap_or_default()
    }

    /// Texts of parameters, for what no handler says more of.
    pub fn params(&self, params: &Params) {
        self.with(|event| {
            if event.text.is_empty() {
                let texts = ["query", "match", "match[]", "request_id", "namespace", "group", "rule"];
                let texts = texts.iter().flat_map(|name| params.all(name)).filter(|text| !text.is_empty());
                event.text = texts.collect::<Vec<_>>().join(", ");
            }
        });
    }
}

/// Around every route of tenants and of operators.
pub async fn watch(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let audit = &shared.state.audit;
    if !audit.is_on() {
        return next.run(request).await;
    }
    let note = Note::begin(audit, &request);
    let _abandoned = Abandoned(note.clone());
    request.extensions_mut().insert(note.clone());
    let mut response = next.run(request).await;
    if note.is_handed_on() {
        return response;
    }
    let status = response.status().as_u16();
    if let Some(Refused(text)) = response.extensions_mut().remove::<Refused>() {
        note.with(|event| event.error = text);
    }
    if let Some(event) = note.take(status) {
        match event.kind {
            // Nothing was given away; who tries in masses waits for the disk.
            Kind::Denied => {
                if audit.seal(event).await.is_err() {
                    tracing::error!("a denial could not be recorded in time");
                }
            }
            _ => audit.note(event).await,
        }
    }
    response
}

/// Records a caller who comes for the first time in a while.
pub async fn note_login(shared: &Shared, caller: &Caller, headers: &HeaderMap) {
    let scheme = headers.get(axum::http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let scheme = scheme.and_then(|value| value.split(' ').next()).unwrap_or("none");
    note_login_at(shared, caller, DOOR, &scheme.to_ascii_lowercase()).await;
}

/// Records a caller who comes to `door` for the first time in a while; `how` they showed who they are.
pub async fn note_login_at(shared: &Shared, caller: &Caller, door: &'static str, how: &str) {
    let audit = &shared.state.audit;
    let who = caller.principal.name();
    if !shared.state.access.is_on() || !audit.is_new_login(who, caller.source, door) {
        return;
    }
    audit
        .note(Event {
            kind: Kind::Login,
            who: who.to_owned(),
            roles: caller.principal.role_names().map(str::to_owned).collect(),
            tenants: caller.tenants.to_vec(),
            door,
            endpoint: how.to_owned(),
            source: caller.source,
            status: 200,
            ..Event::default()
        })
        .await;
}

/// Records that somebody was not let in at `door`, durably if that can be had: refused they are in any case.
pub async fn note_refusal(
    shared: &Shared,
    door: &'static str,
    source: Option<std::net::IpAddr>,
    name: &str,
    error: &ApiError,
) {
    // A name that nobody has may be a password in a wrong place.
    let text = if shared.state.access.has_account(name) { format!("as {name}") } else { String::new() };
    let event = Event {
        kind: Kind::Denied,
        door,
        endpoint: "login".to_owned(),
        text,
        source,
        status: error.status.as_u16(),
        error: error.text.trim_end().to_owned(),
        ..Event::default()
    };
    if shared.state.audit.seal(event).await.is_err() {
        tracing::error!("a denial could not be recorded in time");
    }
}

impl From<AuditError> for ApiError {
    fn from(error: AuditError) -> Self {
        ApiError::new(ErrorKind::Unavailable, error.to_string()).with_newline()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_says_which_record_it_leaves() {
        let check = |method: Method, action: Action, status: u16, expected: Option<Kind>| {
            let (audit, _received) = Audit::for_tests();
            let request = Request::builder().method(method.clone()).uri("/x?query=1");
            let note = Note::begin(&audit, &request.body(axum::body::Body::empty()).expect("a request"));
            note.action(action);
            let event = note.take(status);
            assert_eq!(event.map(|event| event.kind), expected, "{method} {action:?} {status}");
            assert!(note.take(status).is_none(), "told twice");
        };
        check(Method::GET, Action::Read, 200, Some(Kind::Browse));
        check(Method::POST, Action::Write, 204, None);
        check(Method::POST, Action::Write, 403, Some(Kind::Denied));
        check(Method::GET, Action::Metrics, 200, None);
        check(Method::GET, Action::Metrics, 401, Some(Kind::Denied));
        check(Method::GET, Action::Rules, 200, None);
        check(Method::DELETE, Action::Rules, 202, Some(Kind::Rules));
        check(Method::GET, Action::Delete, 200, Some(Kind::Browse));
        check(Method::POST, Action::Delete, 204, Some(Kind::Delete));
        check(Method::GET, Action::Admin, 200, Some(Kind::Admin));
    }
}
