//! Deletes that other processes over the same table were asked for: hidden here too.

use std::time::Duration;

use super::ledger::Changes;
use crate::ingest::flush_plan::FlushReason;
use crate::upkeep::workshop::Workshop;
use crate::upkeep::{Upkeep, UpkeepError};

impl Upkeep {
    /// Looks every so often for deletes that other processes were asked for, until the upkeep stops.
    pub async fn follow_deletes(self, every: Duration) {
        let stop = self.stop.clone();
        while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            self.workshop.note("ledger", self.workshop.follow_deletes().await);
        }
    }
}

impl Workshop {
    async fn follow_deletes(&self) -> Result<(), UpkeepError> {
        let Changes { new, gone, closed } =
            self.ledger.reload().await.map_err(|e| UpkeepError::Ledger(e.to_string()))?;
        for request in new.iter().filter(|request| request.is_open()) {
            let hide = request.hide(self.catalog.streams()).map_err(|error| UpkeepError::Query(error.to_string()))?;
            self.catalog.hide(hide);
        }
        if new.iter().any(super::DeleteRequest::is_open) {
            // A restart replays what is not in files as rows that came later.
            self.flusher.flush(FlushReason::Asked).await?;
        }
        if gone.is_empty() && closed.is_empty() {
            return Ok(());
        }
        // The files without the rows are there before the rows would show again.
        self.flusher.follow().await?;
        for request in gone.iter().chain(&closed) {
            if let Ok(tenant) = request.tenant() {
                self.catalog.unhide(&tenant, &request.id);
            }
        }
        Ok(())
    }
}
