//! Postgres' way to stop a statement: another connection that names the first one's number and secret.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion_postgres::pgwire::api::cancel::CancelHandler;
use datafusion_postgres::pgwire::messages::cancel::CancelRequest;
use datafusion_postgres::pgwire::messages::startup::SecretKey;
use parking_lot::Mutex;

use super::session::Session;

/// The sessions of all connections. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Cancels(Arc<Mutex<Sessions>>);

/// By number and secret.
type Sessions = HashMap<(i32, Bytes), Weak<Session>>;

/// A session that can be told to stop what it does, as long as this is held.
pub(super) struct Cancellable {
    all: Cancels,
    key: (i32, Bytes),
}

impl Cancels {
    pub(super) fn register(&self, number: i32, secret: &SecretKey, session: &Arc<Session>) -> Cancellable {
        let key = (number, secret.to_bytes());
        self.0.lock().insert(key.clone(), Arc::downgrade(session));
        Cancellable { all: self.clone(), key }
    }
}

impl Drop for Cancellable {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.key);
    }
}

#[async_trait]
impl CancelHandler for Cancels {
    async fn on_cancel_request(&self, request: CancelRequest) {
        let session = self.0.lock().get(&(request.pid, request.secret_key.to_bytes())).and_then(Weak::upgrade);
        // Whoever names a wrong one learns nothing.
        if let Some(session) = session {
            session.cancel();
        }
    }
}
