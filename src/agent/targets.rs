//! What is read now, for `/targets` and `/ready`.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// One thing that is read, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub job: String,
    /// `File`, `Docker`, `Syslog`, …
    pub kind: &'static str,
    pub name: String,
    pub labels: String,
    pub is_ready: bool,
    pub details: String,
}

/// All targets. Cheap to clone; clones see the same.
#[derive(Debug, Clone, Default)]
pub struct Targets(Arc<Mutex<BySource>>);

/// By job and kind.
type BySource = BTreeMap<(String, &'static str), Vec<Target>>;

impl Targets {
    /// The targets that a source of a job has now.
    pub fn replace(&self, job: &str, kind: &'static str, targets: Vec<Target>) {
        self.0.lock().insert((job.to_owned(), kind), targets);
    }

    /// The one target of a source that listens or follows.
    pub fn single(&self, job: &str, kind: &'static str, name: &str, labels: String, details: &str) {
        let (name, details) = (name.to_owned(), details.to_owned());
        let target = Target { job: job.to_owned(), kind, name, labels, is_ready: true, details };
        self.replace(job, kind, vec![target]);
    }

    pub fn all(&self) -> Vec<Target> {
        self.0.lock().values().flatten().cloned().collect()
    }

    pub fn any_ready(&self) -> bool {
        self.0.lock().values().flatten().any(|target| target.is_ready)
    }

    /// As when a configuration is loaded anew.
    pub fn clear(&self) {
        self.0.lock().clear();
    }
}
