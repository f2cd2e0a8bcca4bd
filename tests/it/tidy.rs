//! The house rules that no compiler holds: layers, length, a `//!` first, nothing left to do.
//!
//! Layers (`docs/architecture.md`), each importing only from lower ones:
//!
//! | layer | modules | |
//! |---|---|---|
//! | L0 | types | values: no I/O, no tokio, no DataFusion |
//! | L1 | failpoint, tasks, telemetry, seal, store, streams, template, tls, logql | floor; `template` and `logql` are pure text that the engines' rows and plans build on |
//! | L2 | access, wal, head, files, pipeline, promql | islands that never import each other |
//! | L3 | catalog, ingest, query, flow, lease, upkeep, derived | engines; `catalog` says where rows are |
//! | L4 | audit, backup, cluster, doctor, receive, sql, rules, remote_write, agent | edges |
//! | L5 | config, api, cli, server | face; only cli, server and api import config |
//!
//! An exception that is no longer needed fails, so that the list only shrinks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 500;

const LAYERS: &[(&str, u8)] = &[
    ("types", 0),
    ("http_client", 1),
    ("failpoint", 1),
    ("tasks", 1),
    ("telemetry", 1),
    ("seal", 1),
    ("store", 1),
    ("streams", 1),
    ("template", 1),
    ("tls", 1),
    ("logql", 1),
    ("patterns", 1),
    ("access", 2),
    ("wal", 2),
    ("head", 2),
    ("files", 2),
    ("pipeline", 2),
    ("promql", 2),
    ("catalog", 3),
    ("derived", 3),
    ("ingest", 3),
    ("query", 3),
    ("flow", 3),
    ("lease", 3),
    ("upkeep", 3),
    ("agent", 4),
    ("audit", 4),
    ("backup", 4),
    ("cluster", 4),
    ("doctor", 4),
    ("receive", 4),
    ("sql", 4),
    ("agent", 4),
    ("rules", 4),
    ("remote_write", 4),
    ("config", 5),
    ("api", 5),
    ("cli", 5),
    ("demo", 5),
    ("server", 5),
];

/// `(rule, file, detail)`: what a rule finds and is allowed, with the reason beside it.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// One breach of one rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Breach {
    rule: &'static str,
    file: String,
    detail: String,
}

struct Source {
    /// Relative to the package, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// The top module of a file under `src/`.
    fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        Some(inside.split('/').next()?.trim_end_matches(".rs"))
    }

    fn breach(&self, rule: &'static str, detail: impl Into<String>) -> Breach {
        Breach { rule, file: self.path.clone(), detail: detail.into() }
    }

    /// Lines with code, without comments and without the tests at the end.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.text.find("\n#[cfg(test)]").unwrap_or(self.text.len());
        let lines = self.text[..tests].lines().enumerate();
        lines.filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(at, line)| (at + 1, line))
    }
}

#[test]
fn the_house_rules_hold() {
    let sources = sources();
    assert!(sources.len() > 50, "only {} files found: the test looks in the wrong place", sources.len());
    let rules: [fn(&Source) -> Vec<Breach>; 5] = [doc_first, length, unfinished, layers, purity];
    let found: BTreeSet<Breach> =
        sources.iter().flat_map(|source| rules.iter().flat_map(move |rule| rule(source))).collect();
    let allowed: BTreeSet<Breach> = EXCEPTIONS
        .iter()
        .map(|(rule, file, detail)| Breach { rule, file: (*file).to_owned(), detail: (*detail).to_owned() })
        .collect();
    let breaches: Vec<_> = found.difference(&allowed).collect();
    let stale: Vec<_> = allowed.difference(&found).collect();
    assert!(breaches.is_empty(), "breaches: {breaches:#?}");
    assert!(stale.is_empty(), "exceptions that nothing needs any more: {stale:#?}");
}

#[test]
fn every_module_has_a_layer() {
    let known: BTreeSet<&str> = LAYERS.iter().map(|(module, _)| *module).chain(["lib", "main"]).collect();
    let sources = sources();
    let modules: BTreeSet<&str> = sources.iter().filter_map(Source::module).collect();
    let unknown: Vec<_> = modules.difference(&known).collect();
    assert!(unknown.is_empty(), "modules without a layer: {unknown:?}");
    let gone: Vec<_> = known.difference(&modules).collect();
    assert!(gone.is_empty(), "layers of modules that are not there: {gone:?}");
}

/// Tests beside a module are introduced by that module.
fn doc_first(source: &Source) -> Vec<Breach> {
    let is_beside_its_module = source.path.starts_with("src/") && source.path.ends_with("tests.rs");
    if is_beside_its_module || source.text.starts_with("//!") {
        Vec::new()
    } else {
        vec![source.breach("doc-first", "")]
    }
}

fn length(source: &Source) -> Vec<Breach> {
    if source.text.lines().count() <= FILE_LINES_MAX { Vec::new() } else { vec![source.breach("length", "")] }
}

/// Marks of work that was put off. This file names them, so it spells them in parts.
fn unfinished(source: &Source) -> Vec<Breach> {
    let marks = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["XX", "X:"].concat(),
        ["unimplem", "ented!"].concat(),
        ["to", "do!("].concat(),
    ];
    let lines = source.text.lines().enumerate();
    lines
        .filter(|(_, line)| marks.iter().any(|mark| line.contains(mark.as_str())))
        .map(|(at, _)| source.breach("unfinished", format!("line {}", at + 1)))
        .collect()
}

/// Imports only from lower layers; islands never from each other; `config` only by the face.
fn layers(source: &Source) -> Vec<Breach> {
    let layer: BTreeMap<&str, u8> = LAYERS.iter().copied().collect();
    let Some((module, own)) = source.module().and_then(|module| Some((module, *layer.get(module)?))) else {
        return Vec::new();
    };
    let mut breaches = BTreeSet::new();
    for (_, line) in source.code_lines() {
        for imported in imported_modules(line) {
            let Some(theirs) = layer.get(imported) else { continue };
            let is_allowed = match (own, *theirs) {
                _ if imported == module => true,
                (2, 2) => false,
                (5, 5) => imported != "config" || ["api", "cli", "demo", "server"].contains(&module),
                (own, theirs) => theirs <= own,
            };
            if !is_allowed {
                breaches.insert(source.breach("layers", format!("{module} imports {imported}")));
            }
        }
    }
    breaches.into_iter().collect()
}

/// Modules named as `crate::module` in a line.
fn imported_modules(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

/// Values know nothing of tasks, files or plans.
fn purity(source: &Source) -> Vec<Breach> {
    if !["types", "template", "logql"].contains(&source.module().unwrap_or("")) {
        return Vec::new();
    }
    let foreign = ["tokio::", "datafusion::", "std::fs", "std::net"];
    let named = source.code_lines().flat_map(|(_, line)| foreign.into_iter().filter(move |name| line.contains(name)));
    let named: BTreeSet<&str> = named.collect();
    named.into_iter().map(|name| source.breach("purity", name)).collect()
}

fn sources() -> Vec<Source> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for directory in ["src", "tests", "benches"] {
        rust_files(&root.join(directory), &mut files);
    }
    files.sort();
    files
        .into_iter()
        .map(|file| Source {
            path: file.strip_prefix(&root).expect("found below it").to_string_lossy().replace('\\', "/"),
            text: fs::read_to_string(&file).expect("a source file is readable UTF-8"),
        })
        .collect()
}

fn rust_files(directory: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn the_rules_find_what_they_are_for() {
    let check = |path: &str, text: &str, rule: fn(&Source) -> Vec<Breach>, expected: &[&str]| {
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        let details: Vec<String> = rule(&source).into_iter().map(|breach| breach.detail).collect();
        assert_eq!(details, expected, "{path}: {text}");
    };
    check("src/wal/mod.rs", "use crate::head::Head;", layers, &["wal imports head"]);
    check("src/wal/mod.rs", "use crate::types::ids::Lsn;\nfn f(x: crate::wal::Wal) {}", layers, &[]);
    check("src/query/mod.rs", "use crate::config::Config;", layers, &["query imports config"]);
    check("src/query/mod.rs", "// crate::config\n#[cfg(test)]\nuse crate::config::Config;", layers, &[]);
    check("src/api/mod.rs", "use crate::config::Config;", layers, &[]);
    check("src/config.rs", "use crate::ingest::limits::Limits;", layers, &[]);
    check("src/types/ids.rs", "use tokio::sync::Mutex;", purity, &["tokio::"]);
    check("src/a.rs", "fn f() {}", doc_first, &[""]);
    check("src/a/tests.rs", "use super::*;", doc_first, &[]);
    check("src/a.rs", &["//! a\n// TO", "DO later"].concat(), unfinished, &["line 2"]);
    check("src/a.rs", &"//!\n".repeat(FILE_LINES_MAX + 1), length, &[""]);
}
