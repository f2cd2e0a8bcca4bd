//! The documentation: its links lead somewhere, its index is complete, its reference is what the code says.

use std::path::{Path, PathBuf};

use crate::harness::repository;

fn markdown(directory: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            markdown(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            out.push(path);
        }
    }
}

fn documents() -> Vec<PathBuf> {
    let mut found = vec![repository("README.md"), repository("CHANGELOG.md")];
    for directory in ["docs", "queries", "docker", "dashboards"] {
        markdown(&repository(directory), &mut found);
    }
    found.sort();
    found
}

/// Targets of `[text](target)`, fenced code left out.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for part in line.split("](").skip(1) {
            if let Some(end) = part.find([')', ' ']) {
                found.push(part[..end].to_owned());
            }
        }
    }
    found
}

/// Headings as GitHub makes anchors of them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let title = title.split("](").next().unwrap_or("").replace(['[', '`'], "");
            title
                .chars()
                .filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_' || *c == ' ')
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut checked = 0;
    for document in documents() {
        let text = std::fs::read_to_string(&document).expect("readable");
        for link in links(&text) {
            if link.starts_with("http://") || link.starts_with("https://") || link.starts_with("mailto:") {
                continue;
            }
            checked += 1;
            let (path, anchor) =
                link.split_once('#').map_or((link.as_str(), None), |(path, anchor)| (path, Some(anchor)));
            let target =
                if path.is_empty() { document.clone() } else { document.parent().expect("in a directory").join(path) };
            let found = target.exists();
            let has_anchor = anchor.is_none_or(|anchor| {
                std::fs::read_to_string(&target).is_ok_and(|text| anchors(&text).iter().any(|known| known == anchor))
            });
            if !found || !has_anchor {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
    assert!(checked > 30, "only {checked} links were found");
}

#[test]
fn the_index_names_every_document() {
    let index = std::fs::read_to_string(repository("docs/README.md")).expect("the index is there");
    let listed = links(&index);
    let mut missing = Vec::new();
    for entry in std::fs::read_dir(repository("docs")).expect("readable").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".md")
            && name != "README.md"
            && !listed.iter().any(|link| link.split('#').next() == Some(&name))
        {
            missing.push(name);
        }
    }
    assert!(missing.is_empty(), "docs/README.md does not name {missing:?}");
}

#[test]
fn the_configuration_reference_is_what_the_code_says() {
    let path = repository("docs/configuration.md");
    let expected = format!(
        "# Configuration\n\n\
         Every setting that acts, with its default, its unit and what it trades: the output of `millrace defaults`. A file of\n\
         your own needs only what differs. The names are Loki's wherever Loki has the setting; what is Millrace's own is under\n\
         `millrace:`. A misspelt key is an error that names the nearest known one; a setting of Loki that does nothing here is\n\
         named in a warning at the start. `GET /config` shows what is in force, `GET /config?mode=diff` what differs.\n\n\
         This page is written by `UPDATE_DOCS=1 cargo test --test it docs::`, and checked by it otherwise.\n\n\
         ```yaml\n{}```\n",
        millrace::config::DEFAULT_YAML
    );
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &expected).expect("written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/configuration.md is old: run UPDATE_DOCS=1 cargo test --test it docs::");
}

/// Pieces of code that begin with ```` ```kind ````.
fn fenced(text: &str, kind: &str) -> Vec<String> {
    let opening = format!("```{kind}\n");
    let blocks = text.split(&opening).skip(1);
    blocks.filter_map(|block| block.split("```").next()).map(str::to_owned).collect()
}

#[test]
fn every_example_of_the_logql_reference_is_answered() {
    let text = std::fs::read_to_string(repository("docs/logql.md")).expect("the reference is there");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = crate::dataset::serve(&directory.path().join("data"));
    let examples: Vec<String> = fenced(&text, "logql")
        .iter()
        .flat_map(|block| block.split("\n\n").map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let examples: Vec<&str> =
        examples.iter().map(|example| example.trim()).filter(|example| !example.is_empty()).collect();
    assert!(examples.len() > 25, "only {} examples", examples.len());
    for example in examples {
        let run = if example.trim_start().starts_with('{') {
            crate::dataset::Run::Logs
        } else {
            crate::dataset::Run::Instant
        };
        let found = crate::dataset::ask(&server, example, run, "docs/logql.md");
        assert!(!found.is_empty(), "no answer for {example}");
    }
}
