//! `journal`: systemd's journal, through `journalctl`, which is wherever a journal is.
//!
//! Labels: `__journal_<field>` in small letters, and `__journal_priority_keyword`; relabelling makes labels of them.
//! The cursor of the last acknowledged entry is the position `cursor-<job>`, as in Promtail.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::{Around, Labelling};
use crate::agent::config::JournalConfig;
use crate::agent::positions::Track;
use crate::pipeline::{Entry, Receipt};
use crate::tasks::Tasks;

/// How long to wait before `journalctl` is started again.
const RESTART_WAIT: Duration = Duration::from_secs(5);
/// Lines that go on together.
const LINES_MAX: usize = 500;
const PRIORITIES: [&str; 8] = ["emerg", "alert", "crit", "error", "warning", "notice", "info", "debug"];

/// Follows the journal until the sources are stopped.
pub(super) fn start(config: &JournalConfig, labelling: Labelling, around: &Around, tasks: &Tasks) {
    let (config, around) = (config.clone(), around.clone());
    let job = around.feed.job().to_owned();
    around.targets.single(&job, "Journal", "journalctl", String::new(), &config.path);
    tasks.spawn("journal", |_| async move {
        let key = format!("cursor-{job}");
        let (track, part) = Track::of_cursor(&around.positions, key.clone());
        while !around.stop.is_cancelled() {
            let mut command = Command::new("journalctl");
            command.args(arguments(&config, around.positions.get(&key).as_deref()));
            command.stdout(Stdio::piped()).stderr(Stdio::null()).stdin(Stdio::null()).kill_on_drop(true);
            match command.spawn() {
                Ok(mut child) => {
                    if let Some(stdout) = child.stdout.take() {
                        let mut lines = BufReader::new(stdout).lines();
                        loop {
                            let line = tokio::select! {
                                line = lines.next_line() => line,
                                () = around.stop.cancelled() => return,
                            };
                            let Ok(Some(first)) = line else { break };
                            let mut texts = vec![first];
                            // What has come already goes together.
                            while texts.len() < LINES_MAX
                                && let Ok(Ok(Some(more))) =
                                    tokio::time::timeout(Duration::ZERO, lines.next_line()).await
                            {
                                texts.push(more);
                            }
                            let mut entries: Vec<Entry> = Vec::new();
                            let mut cursor = None;
                            for text in &texts {
                                let Ok(fields) = serde_json::from_str::<Json>(text) else { continue };
                                cursor = field(&fields, "__CURSOR").or(cursor);
                                entries.extend(entry(&fields, text, &config, &labelling, around.feed.clock().now().0));
                            }
                            if let Some(cursor) = cursor {
                                let held: std::sync::Arc<_> = std::sync::Arc::new(track.chunk(part, cursor));
                                entries.iter_mut().for_each(|entry| entry.receipt = Receipt::of(held.clone()));
                            }
                            around.feed.push(entries).await;
                        }
                    }
                    tracing::warn!("journalctl ended; it is started again");
                }
                Err(error) => {
                    tracing::warn!(%error, "journalctl cannot be started; is systemd here, and journalctl in the PATH?")
                }
            }
            tokio::select! {
                () = tokio::time::sleep(RESTART_WAIT) => {}
                () = around.stop.cancelled() => return,
            }
        }
    });
}

fn arguments(config: &JournalConfig, cursor: Option<&str>) -> Vec<String> {
    let mut arguments =
        vec!["--follow".to_owned(), "--output=json".to_owned(), "--all".to_owned(), "--no-tail".to_owned()];
    match cursor {
        Some(cursor) => arguments.push(format!("--after-cursor={cursor}")),
        None => arguments.push(format!("--since=-{}", if config.max_age.is_empty() { "7h" } else { &config.max_age })),
    }
    if !config.path.is_empty() {
        arguments.push(format!("--directory={}", config.path));
    }
    arguments.extend(config.matches.split_whitespace().map(str::to_owned));
    arguments
}

/// Bytes that are no text come as a list of numbers.
fn field(fields: &Json, name: &str) -> Option<String> {
    match fields.get(name)? {
        Json::String(text) => Some(text.clone()),
        Json::Array(bytes) => {
            let bytes: Vec<u8> = bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
        _ => None,
    }
}

fn entry(fields: &Json, text: &str, config: &JournalConfig, labelling: &Labelling, now_ns: i64) -> Option<Entry> {
    let message = field(fields, "MESSAGE")?;
    let micros = field(fields, "__REALTIME_TIMESTAMP").and_then(|text| text.parse::<i64>().ok());
    let map = fields.as_object()?;
    let mut labels: Vec<(String, String)> = map
        .keys()
        .filter_map(|name| Some((format!("__journal_{}", name.to_lowercase()), field(fields, name)?)))
        .collect();
    let priority = field(fields, "PRIORITY").and_then(|text| text.parse::<usize>().ok());
    if let Some(keyword) = priority.and_then(|priority| PRIORITIES.get(priority)) {
        labels.push(("__journal_priority_keyword".to_owned(), (*keyword).to_owned()));
    }
    let line = if config.json { text.to_owned() } else { message };
    Some(Entry::new(labelling.of(labels)?, micros.map_or(now_ns, |micros| micros.saturating_mul(1_000)), line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::relabel::{RelabelConfig, compile};

    #[test]
    fn entries_of_the_journal() {
        let text = r#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1700000000123456","MESSAGE":"hello","_SYSTEMD_UNIT":"ssh.service","PRIORITY":"3","BIN":[104,105]}"#;
        let rule = |source: &str, target: &str| RelabelConfig {
            source_labels: vec![source.to_owned()],
            target_label: target.to_owned(),
            ..RelabelConfig::default()
        };
        let rules = [
            rule("__journal__systemd_unit", "unit"),
            rule("__journal_priority_keyword", "level"),
            rule("__journal_bin", "bin"),
        ];
        let labelling =
            Labelling { own: [("job".to_owned(), "j".to_owned())].into(), rules: compile(&rules).expect("good") };
        let fields = serde_json::from_str(text).expect("JSON");
        let made = entry(&fields, text, &JournalConfig::default(), &labelling, 0).expect("an entry");
        assert_eq!(made.labels.to_string(), r#"{bin="hi", job="j", level="error", unit="ssh.service"}"#);
        assert_eq!((made.ts_ns, made.line.as_str()), (1_700_000_000_123_456_000, "hello"));
    }

    #[test]
    fn what_journalctl_is_asked() {
        let config = JournalConfig {
            matches: "_UID=0 PRIORITY=3".to_owned(),
            path: "/j".to_owned(),
            ..JournalConfig::default()
        };
        assert_eq!(
            arguments(&config, None),
            [
                "--follow",
                "--output=json",
                "--all",
                "--no-tail",
                "--since=-7h",
                "--directory=/j",
                "_UID=0",
                "PRIORITY=3"
            ]
        );
        assert!(arguments(&config, Some("s=1")).contains(&"--after-cursor=s=1".to_owned()));
    }
}
