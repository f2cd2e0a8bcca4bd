//! Tasks with names: they end when told to, and one that panics is noticed.
//!
//! ```text
//! spawn(name, |stop| …) ─▶ running ─▶ ended
//!                              └ panicked ─▶ error! + `failed()`: the server stops
//! shutdown(patience) ─▶ stop rings ─▶ waits ─▶ names of those still running
//! ```

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of one server. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    failed: CancellationToken,
    running: Arc<Mutex<BTreeMap<u64, &'static str>>>,
    next: Arc<AtomicU64>,
}

impl Tasks {
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a task until it ends by itself or sees that `stop` was rung.
    pub fn spawn<F>(&self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.running.lock().insert(id, name);
        let work = std::panic::AssertUnwindSafe(task(self.stop.clone())).catch_unwind();
        let (running, failed) = (self.running.clone(), self.failed.clone());
        tokio::spawn(self.tracker.track_future(async move {
            let outcome = work.await;
            running.lock().remove(&id);
            if let Err(panic) = outcome {
                tracing::error!(task = name, panic = panic_text(&*panic), "a task panicked");
                failed.cancel();
            }
        }));
    }

    /// Waits until a task has panicked; never, when none does.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Rings `stop` and waits at most `patience`. Answers the names of tasks that did not end.
    pub async fn shutdown(&self, patience: Duration) -> Vec<&'static str> {
        self.stop.cancel();
        self.tracker.close();
        match tokio::time::timeout(patience, self.tracker.wait()).await {
            Ok(()) => Vec::new(),
            Err(_) => self.running.lock().values().copied().collect(),
        }
    }
}

/// What a panic said.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shutdown_names_the_stubborn() {
        let tasks = Tasks::new();
        tasks.spawn("obedient", |stop| async move { stop.cancelled().await });
        tasks.spawn("stubborn", |_| std::future::pending());
        assert_eq!(tasks.shutdown(Duration::from_millis(50)).await, ["stubborn"]);
    }

    #[tokio::test]
    async fn a_panic_is_noticed() {
        let tasks = Tasks::new();
        tasks.spawn("clumsy", |_| async { panic!("oops") });
        tasks.failed().await;
        assert!(tasks.shutdown(Duration::from_secs(5)).await.is_empty());
    }
}
