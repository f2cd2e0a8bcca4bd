//! The stream of audit records: its labels, which nobody else may use.
//!
//! It lies among a tenant's other streams, so that LogQL, SQL, tails and rules read it as they read any; what is special
//! about it (who sees it, who writes it, what deletes and retention do to it) asks [`is_audit_stream`].

use crate::types::labels::Labels;

pub const SERVICE_LABEL: &str = "service";
pub const SERVICE: &str = "millrace";
pub const LOGGER_LABEL: &str = "logger";
pub const LOGGER: &str = "audit";
/// Tells the chains of several processes apart.
pub const WRITER_LABEL: &str = "writer";

/// Whether a stream holds audit records.
pub fn is_audit_stream(labels: &Labels) -> bool {
    labels.get(LOGGER_LABEL) == Some(LOGGER) && labels.get(SERVICE_LABEL) == Some(SERVICE)
}

/// The stream of one writer.
pub fn audit_stream(writer: &str) -> Labels {
    let labels = [(SERVICE_LABEL, SERVICE), ("service_name", SERVICE), (LOGGER_LABEL, LOGGER), (WRITER_LABEL, writer)];
    Labels::from_pairs(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_knows_itself() {
        assert!(is_audit_stream(&audit_stream("a")));
        assert!(!is_audit_stream(&Labels::from_pairs([("service", "millrace"), ("logger", "query")])));
        assert!(!is_audit_stream(&Labels::from_pairs([("service", "other"), ("logger", "audit")])));
    }
}
