//! The way from doors to the writer: bounded, off the path of answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::AuditError;
use super::event::Event;
use super::settings::AuditConfig;
use crate::telemetry::metrics::Metrics;
use crate::types::time::{Clock, UnixNanos};

/// How long something that must not happen unrecorded waits for its record to be durable.
const DURABLE_WAIT: Duration = Duration::from_secs(10);
/// After this a caller who comes again is a new login.
const LOGIN_MEMORY: Duration = Duration::from_secs(900);
/// Callers remembered at once.
const LOGINS_MAX: u64 = 10_000;

/// Where doors tell what happens. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Audit(Option<Arc<Queue>>);

#[derive(Debug)]
struct Queue {
    sender: mpsc::Sender<Queued>,
    wait: Duration,
    browsing: bool,
    lost: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
    clock: Clock,
    logins: moka::sync::Cache<(String, Option<IpAddr>, &'static str), ()>,
}

/// An event on its way.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) at: UnixNanos,
    pub(super) event: Event,
    /// Told once the record is durable.
    pub(super) durable: Vec<oneshot::Sender<()>>,
}

/// The writer's end.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) queued: mpsc::Receiver<Queued>,
    /// Events that found no room since the writer looked.
    pub(super) lost: Arc<AtomicU64>,
}

impl Audit {
    /// Nothing is recorded.
    pub fn off() -> Self {
        Audit(None)
    }

    pub(super) fn new(config: &AuditConfig, metrics: Arc<Metrics>, clock: Clock) -> (Self, Received) {
        let (sender, queued) = mpsc::channel(config.queue_records_max.max(1));
        let lost = Arc::new(AtomicU64::new(0));
        let logins = moka::sync::Cache::builder().max_capacity(LOGINS_MAX).time_to_live(LOGIN_MEMORY).build();
        let queue = Queue {
            sender,
            wait: config.queue_wait.to_std(),
            browsing: config.browsing,
            lost: lost.clone(),
            metrics,
            clock,
            logins,
        };
        (Audit(Some(Arc::new(queue))), Received { queued, lost })
    }

    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether questions about what there is are recorded.
    pub fn records_browsing(&self) -> bool {
        self.0.as_ref().is_some_and(|queue| queue.browsing)
    }

    /// Records what was asked. Waits for room for a moment; without, the record is lost, which the trail will tell.
    pub async fn note(&self, event: Event) {
        let Some(queue) = &self.0 else { return };
        let full = match queue.sender.try_send(queue.queued(event, None)) {
            Ok(()) => return queue.show(),
            Err(mpsc::error::TrySendError::Full(queued)) => queued,
            Err(mpsc::error::TrySendError::Closed(_)) => return queue.lose(),
        };
        match tokio::time::timeout(queue.wait, queue.sender.send(full)).await {
            Ok(Ok(())) => queue.show(),
            Ok(Err(_)) | Err(_) => queue.lose(),
        }
    }

    /// As [`Audit::note`], for those who cannot wait.
    pub fn note_now(&self, event: Event) {
        let Some(queue) = &self.0 else { return };
        match queue.sender.try_send(queue.queued(event, None)) {
            Ok(()) => queue.show(),
            Err(_) => queue.lose(),
        }
    }

    /// Records what is about to happen, or was refused, and waits until that is durable.
    ///
    /// # Errors
    /// When it is not durable in time: then it must not happen.
    pub async fn seal(&self, event: Event) -> Result<(), AuditError> {
        let Some(queue) = &self.0 else { return Ok(()) };
        let (durable, told) = oneshot::channel();
        let recording = async {
            queue.sender.send(queue.queued(event, Some(durable))).await.map_err(|_| AuditError::Unavailable)?;
            queue.show();
            told.await.map_err(|_| AuditError::Unavailable)
        };
        match tokio::time::timeout(DURABLE_WAIT, recording).await {
            Ok(recorded) => recorded,
            Err(_) => Err(AuditError::Unavailable),
        }
    }

    /// A trail whose records nobody writes.
    #[cfg(test)]
    pub(crate) fn for_tests() -> (Self, Box<dyn std::any::Any>) {
        let (audit, received) = Audit::new(&AuditConfig::default(), Arc::new(Metrics::new()), Clock::system());
        (audit, Box::new(received))
    }

    /// Whether this caller was not seen for a while.
    pub fn is_new_login(&self, who: &str, source: Option<IpAddr>, door: &'static str) -> bool {
        let Some(queue) = &self.0 else { return false };
        queue.logins.entry((who.to_owned(), source, door)).or_insert(()).is_fresh()
    }
}

impl Queue {
    fn queued(&self, event: Event, durable: Option<oneshot::Sender<()>>) -> Queued {
        Queued { at: self.clock.now(), event, durable: durable.into_iter().collect() }
    }

    fn show(&self) {
        let waiting = self.sender.max_capacity() - self.sender.capacity();
        self.metrics.audit.queue_records.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.metrics.audit.lost.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::units::GoDuration;

    #[tokio::test]
    async fn a_full_queue_loses_questions_and_refuses_what_must_be_recorded() {
        let config = AuditConfig { queue_records_max: 1, queue_wait: GoDuration(1_000_000), ..AuditConfig::default() };
        let metrics = Arc::new(Metrics::new());
        let (audit, mut received) = Audit::new(&config, metrics.clone(), Clock::system());
        audit.note(Event::default()).await;
        audit.note(Event::default()).await;
        audit.note_now(Event::default());
        assert_eq!((received.lost.load(Ordering::Relaxed), metrics.audit.lost.get()), (2, 2));
        let mut sealing = Box::pin(audit.seal(Event::default()));
        assert!(futures::poll!(&mut sealing).is_pending());
        assert!(received.queued.recv().await.is_some_and(|queued| queued.durable.is_empty()));
        assert!(futures::poll!(&mut sealing).is_pending());
        let queued = received.queued.recv().await.expect("there is room now");
        queued.durable.into_iter().for_each(|durable| durable.send(()).expect("it waits"));
        assert_eq!(sealing.await, Ok(()));
        drop(received);
        assert_eq!(audit.seal(Event::default()).await, Err(AuditError::Unavailable));
        assert_eq!(Audit::off().seal(Event::default()).await, Ok(()));
    }

    #[tokio::test]
    async fn a_caller_is_new_once_in_a_while() {
        let (audit, _received) = Audit::new(&AuditConfig::default(), Arc::new(Metrics::new()), Clock::system());
        let news = [("ana", "http"), ("ana", "http"), ("ana", "postgres"), ("ben", "http")];
        let seen: Vec<bool> = news.iter().map(|(who, door)| audit.is_new_login(who, None, door)).collect();
        assert_eq!(seen, [true, false, true, true]);
    }
}
