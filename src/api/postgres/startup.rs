//! Who is there: what a connection says before its first statement.
//!
//! | server | user | password | database |
//! |---|---|---|---|
//! | open, one tenant | anybody | not asked for | `millrace` |
//! | open, `auth_enabled` | the tenants: `a`, `a\|b` | not asked for | `millrace` |
//! | with accounts | an account, or whose token it is | its password, or a token | `millrace`, or the tenants |
//!
//! A client certificate whose name is the user's needs no password. An account with a SCRAM verifier proves its password;
//! others show it.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use datafusion_postgres::pgwire::api::auth::{
    DefaultServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use datafusion_postgres::pgwire::api::{
    ClientInfo, METADATA_DATABASE, METADATA_USER, PgWireConnectionState, PidSecretKeyGenerator,
    RandomPidSecretKeyGenerator,
};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::startup::Authentication;
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use futures::{Sink, SinkExt};
use parking_lot::Mutex;

use super::cancel::{Cancellable, Cancels};
use super::session::Session;
use super::{DOOR, errors, functions};
use crate::access::Credentials;
use crate::access::scram::{Exchange, MECHANISM, ScramError, Verifier};
use crate::api::Shared;
use crate::api::error::ApiError;
use crate::api::tenant::{self, PeerCertificate};
use crate::query::sql::DATABASE;

/// Lets one connection in.
pub(super) struct Startup {
    pub(super) shared: Shared,
    pub(super) session: Arc<OnceLock<Arc<Session>>>,
    pub(super) cancels: Cancels,
    pub(super) numbers: Arc<RandomPidSecretKeyGenerator>,
    /// The verified certificate of the client.
    pub(super) peer: Option<PeerCertificate>,
    pub(super) proving: Mutex<Proving>,
    /// From the login to the end of the connection.
    pub(super) cancellable: Mutex<Option<Cancellable>>,
}

/// How far a proof of a password is.
#[derive(Default)]
pub(super) enum Proving {
    #[default]
    Not,
    Begins(Verifier),
    Ends(Exchange),
}

#[async_trait]
impl StartupHandler for Startup {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match message {
            PgWireFrontendMessage::Startup(startup) => {
                protocol_negotiation(client, &startup).await?;
                save_startup_parameters_to_metadata(client, &startup);
                let user = said(client, METADATA_USER);
                if user.is_empty() {
                    return Err(errors::fatal("28000", "no user name was given"));
                }
                if let Some(credentials) = self.without_password(&user).await {
                    return self.let_in(client, credentials).await;
                }
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                let ask = match self.shared.state.access.scram_of(&user) {
                    Some(verifier) => {
                        *self.proving.lock() = Proving::Begins(verifier.clone());
                        Authentication::SASL(vec![MECHANISM.to_owned()])
                    }
                    None => Authentication::CleartextPassword,
                };
                Ok(client.send(PgWireBackendMessage::Authentication(ask)).await?)
            }
            PgWireFrontendMessage::PasswordMessageFamily(message) => {
                let proving = std::mem::take(&mut *self.proving.lock());
                let password = match proving {
                    Proving::Not => message.into_password()?.password,
                    Proving::Begins(verifier) => {
                        let first = message.into_sasl_initial_response()?;
                        let first = first.data.filter(|_| first.auth_method == MECHANISM).unwrap_or_default();
                        let nonce = uuid::Uuid::new_v4().simple().to_string();
                        let (exchange, said) = verifier.begin(&first, &nonce).map_err(broken)?;
                        *self.proving.lock() = Proving::Ends(exchange);
                        let said = Authentication::SASLContinue(said.into());
                        return Ok(client.send(PgWireBackendMessage::Authentication(said)).await?);
                    }
                    Proving::Ends(exchange) => {
                        let name = said(client, METADATA_USER);
                        let credentials = match exchange.end(&message.into_sasl_response()?.data) {
                            Ok(proof) => {
                                let proof = Authentication::SASLFinal(proof.into());
                                client.feed(PgWireBackendMessage::Authentication(proof)).await?;
                                Credentials::Proven { name }
                            }
                            // A password that nobody has: refused and recorded as any other.
                            Err(ScramError::Wrong) => Credentials::Password { name, password: String::new() },
                            Err(error) => return Err(broken(error)),
                        };
                        return self.let_in(client, credentials).await;
                    }
                };
                let token = Credentials::Token(password.clone());
                // A token is known by itself; what is none is a password, of somebody or of nobody.
                let is_token = self.shared.state.access.authenticate(&token).await.is_ok();
                let credentials = match is_token {
                    true => token,
                    false => Credentials::Password { name: said(client, METADATA_USER), password },
                };
                self.let_in(client, credentials).await
            }
            _ => Err(errors::fatal("08P01", "a login was expected")),
        }
    }
}

impl Startup {
    /// What somebody shows who is asked for no password.
    async fn without_password(&self, user: &str) -> Option<Credentials> {
        let access = &self.shared.state.access;
        if !access.is_on() {
            return Some(Credentials::Nothing);
        }
        let certificate = self.peer.as_ref().filter(|peer| peer.common_name == user);
        let certificate = certificate.map(|peer| Credentials::Certificate { common_name: peer.common_name.clone() });
        let anonymous = (user == "anonymous").then_some(Credentials::Nothing);
        let shown = certificate.or(anonymous)?;
        access.authenticate(&shown).await.is_ok().then_some(shown)
    }

    async fn let_in<C>(&self, client: &mut C, credentials: Credentials) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let user = said(client, METADATA_USER);
        let database = Some(said(client, METADATA_DATABASE)).filter(|name| !name.is_empty()).unwrap_or(user.clone());
        let config = &self.shared.state.config;
        let by_database = config.auth_enabled && self.shared.state.access.is_on();
        let tenants = match (database == DATABASE, config.auth_enabled) {
            (false, _) if !by_database => return Err(no_database(&database)),
            (false, _) => Some(database.as_str()),
            (true, true) if !by_database => Some(user.as_str()),
            (true, _) => None,
        };
        let source = Some(client.socket_addr().ip());
        let caller = tenant::at_door(&self.shared, DOOR, credentials, tenants, source).await;
        let caller = caller.map_err(|error| refusal(&error, &user, &database))?;
        let (shared, threads) = (self.shared.clone(), self.shared.state.engine.clone());
        let opening = threads.sql_planning(threads.timeout(), async move { Session::open(&shared, caller, &user) });
        let session = opening.await.map_err(ApiError::from).and_then(|opened| opened);
        let session = Arc::new(session.map_err(|error| errors::fatal("XX000", error.text))?);
        let (number, secret) = self.numbers.generate(client);
        *self.cancellable.lock() = Some(self.cancels.register(number, &secret, &session));
        client.set_pid_and_secret_key(number, secret);
        if self.session.set(session).is_err() {
            return Err(errors::fatal("08P01", "logged in already"));
        }
        let mut parameters = DefaultServerParameterProvider::default();
        functions::SERVER_VERSION.clone_into(&mut parameters.server_version);
        parameters.is_superuser = false;
        parameters.default_transaction_read_only = true;
        finish_authentication(client, &parameters).await
    }
}

fn said<C: ClientInfo>(client: &C, name: &str) -> String {
    client.metadata().get(name).cloned().unwrap_or_default()
}

fn broken(error: ScramError) -> PgWireError {
    errors::fatal("08P01", error.to_string())
}

fn no_database(name: &str) -> PgWireError {
    errors::fatal("3D000", format!("database \"{name}\" does not exist: the one here is {DATABASE}"))
}

fn refusal(error: &ApiError, user: &str, database: &str) -> PgWireError {
    let text = error.text.trim_end();
    match error.status.as_u16() {
        401 if text == "no org id" => {
            errors::fatal("3D000", "several tenants are yours: name them as the database, one or a|b")
        }
        401 => errors::fatal("28P01", format!("password authentication failed for user \"{user}\"")),
        403 => errors::fatal("42501", text),
        400 => errors::fatal("3D000", format!("database \"{database}\" does not exist: {text}")),
        503 => errors::fatal("57P03", text),
        _ => errors::fatal("XX000", text),
    }
}
