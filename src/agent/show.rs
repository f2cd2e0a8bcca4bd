//! Entries for people: what each stage made of them, and what would be sent.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::feed::Inspect;
use crate::pipeline::{Entry, Observer};
use crate::types::go_time::{GoTime, RFC3339_NANO, Zone};

/// Colours of a terminal, or none.
#[derive(Debug, Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    pub fn new(colours: bool) -> Self {
        Paint(colours)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn changed(self, text: &str) -> String {
        self.with("33", text)
    }

    fn added(self, text: &str) -> String {
        self.with("32", text)
    }

    fn gone(self, text: &str) -> String {
        self.with("31", text)
    }

    fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    fn bold(self, text: &str) -> String {
        self.with("1", text)
    }
}

/// What can be seen of an entry.
#[derive(Debug, Clone, PartialEq)]
struct View {
    time: String,
    line: String,
    labels: Vec<(String, String)>,
    metadata: Vec<(String, String)>,
    extracted: Vec<(String, String)>,
}

impl View {
    fn of(entry: &Entry) -> Self {
        let pair = |(name, value): (&Arc<str>, &Arc<str>)| (name.to_string(), value.to_string());
        let extracted = entry.extracted.iter().map(|(name, value)| {
            (name.to_string(), value.as_text().map_or_else(|| "<nil>".to_owned(), |text| text.into_owned()))
        });
        View {
            time: GoTime::from_unix_nanos(entry.ts_ns, Zone::Utc).format(RFC3339_NANO),
            line: entry.line.clone(),
            labels: entry.labels.iter().map(pair).collect(),
            metadata: entry.metadata.iter().map(|(name, value)| pair((name, value))).collect(),
            extracted: extracted.collect(),
        }
    }
}

/// Prints entries after each stage; what the stage changed stands out.
pub struct Stages<W> {
    out: W,
    paint: Paint,
    before: Vec<View>,
}

impl<W: Write> Stages<W> {
    /// `before` is what goes into the first stage.
    pub fn new(out: W, paint: Paint, before: &[Entry]) -> Self {
        Stages { out, paint, before: before.iter().map(View::of).collect() }
    }

    fn print(&mut self, depth: usize, stage: &str, entries: &[Entry]) -> io::Result<()> {
        let indent = "  ".repeat(depth);
        let after: Vec<View> = entries.iter().map(View::of).collect();
        let paint = self.paint;
        writeln!(self.out, "{indent}{}", paint.bold(&format!("── {stage}")))?;
        if after.is_empty() {
            let words = if self.before.is_empty() { "nothing" } else { "dropped, or held back for a later line" };
            writeln!(self.out, "{indent}   {}", paint.gone(words))?;
        }
        let same_number = self.before.len() == after.len();
        for (at, view) in after.iter().enumerate() {
            let before = if same_number { self.before.get(at) } else { None };
            if before == Some(view) {
                writeln!(self.out, "{indent}   {}", paint.faint("unchanged"))?;
                continue;
            }
            let changed = |old: Option<&String>, new: &String| match old {
                Some(old) if old == new => paint.faint(new),
                Some(_) => paint.changed(new),
                None => new.clone(),
            };
            writeln!(self.out, "{indent}   time      {}", changed(before.map(|view| &view.time), &view.time))?;
            writeln!(self.out, "{indent}   line      {}", changed(before.map(|view| &view.line), &view.line))?;
            for (what, old, new) in [
                ("labels", before.map(|view| &view.labels), &view.labels),
                ("metadata", before.map(|view| &view.metadata), &view.metadata),
                ("extracted", before.map(|view| &view.extracted), &view.extracted),
            ] {
                let pairs = self.pairs(old, new);
                if !pairs.is_empty() {
                    writeln!(self.out, "{indent}   {what:<9} {pairs}")?;
                }
            }
        }
        self.before = after;
        Ok(())
    }

    fn pairs(&self, old: Option<&Vec<(String, String)>>, new: &[(String, String)]) -> String {
        let paint = self.paint;
        let mut parts: Vec<String> = Vec::new();
        for (name, value) in new {
            let text = format!("{name}={value:?}");
            let before = old.map(|old| old.iter().find(|(known, _)| known == name));
            parts.push(match before {
                None => text,
                Some(None) => paint.added(&format!("+{text}")),
                Some(Some((_, known))) if known == value => paint.faint(&text),
                Some(Some(_)) => paint.changed(&format!("~{text}")),
            });
        }
        for (name, value) in old.into_iter().flatten() {
            if !new.iter().any(|(known, _)| known == name) {
                parts.push(paint.gone(&format!("-{name}={value:?}")));
            }
        }
        parts.join(" ")
    }

    /// An entry that goes into the first stage, or comes out of the last.
    pub fn entry(&mut self, title: &str, entry: &Entry) -> io::Result<()> {
        let view = View::of(entry);
        writeln!(self.out, "{}", self.paint.bold(&format!("== {title}")))?;
        writeln!(self.out, "   time      {}", view.time)?;
        writeln!(self.out, "   line      {}", view.line)?;
        for (what, pairs) in [("labels", &view.labels), ("metadata", &view.metadata)] {
            if !pairs.is_empty() {
                writeln!(self.out, "   {what:<9} {}", self.pairs(None, pairs))?;
            }
        }
        Ok(())
    }
}

impl<W: Write> Observer for Stages<W> {
    fn after_stage(&mut self, depth: usize, stage: &str, entries: &[Entry]) {
        // A terminal that is gone has no one to tell.
        let _ = self.print(depth, stage, entries);
    }
}

/// `-inspect`: what each stage changes, on standard error.
pub(super) fn inspector() -> Inspect {
    let paint = Paint::new(io::stderr().is_terminal());
    Arc::new(move |_| Box::new(Stages::new(io::stderr(), paint, &[])))
}

/// `-dry-run`: prints entries as they would be sent, as Promtail does.
pub(super) async fn print_entries(mut received: mpsc::Receiver<Arc<Vec<Entry>>>) {
    let paint = Paint::new(io::stdout().is_terminal());
    while let Some(batch) = received.recv().await {
        let mut out = io::stdout().lock();
        for entry in batch.iter() {
            let time = GoTime::from_unix_nanos(entry.ts_ns, Zone::Utc).format("2006-01-02T15:04:05.999999999-0700");
            let labels = entry.labels.to_string();
            let _ = writeln!(out, "{}\t{}\t{}", paint.with("34", &time), paint.changed(&labels), entry.line);
        }
        let _ = out.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{LabelSet, Origin};

    #[test]
    fn what_a_stage_changed_stands_out() {
        let before = Entry::new(LabelSet::from_pairs(Origin::Operator, [("a", "1"), ("b", "2")]), 0, "x");
        let mut after = before.clone();
        after.labels.remove("b");
        after.labels.set("a".into(), "3".into(), Origin::Data);
        after.labels.set("c".into(), "4".into(), Origin::Data);
        let mut out = Vec::new();
        let mut stages = Stages::new(&mut out, Paint::new(false), std::slice::from_ref(&before));
        stages.after_stage(0, "labels", std::slice::from_ref(&after));
        stages.after_stage(0, "drop", &[]);
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("labels    ~a=\"3\" +c=\"4\" -b=\"2\"\n── drop\n   dropped"), "{text}");
        let mut out = Vec::new();
        Stages::new(&mut out, Paint::new(true), &[before]).after_stage(0, "labels", &[after]);
        assert!(String::from_utf8(out).expect("text").contains("\x1b[32m+c=\"4\"\x1b[0m"));
    }
}
