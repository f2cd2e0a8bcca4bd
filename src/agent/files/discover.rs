//! Which files a job has now, with the labels of each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::globs::PathGlob;
use crate::agent::config::{Group, ScrapeConfig};
use crate::agent::relabel::{LabelMap, Relabel, compile, relabel, visible};
use crate::agent::targets::Target;

/// Where targets come from.
#[derive(Debug)]
pub(super) struct Discovery {
    job: String,
    groups: Vec<Group>,
    /// Files of groups.
    files: Vec<String>,
    /// What each of them had when it was last good.
    last: BTreeMap<PathBuf, Vec<Group>>,
    rules: Vec<Relabel>,
}

/// What there is now.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) paths: BTreeMap<PathBuf, LabelMap>,
    pub(super) dropped: Vec<Target>,
}

impl Discovery {
    /// `None` when the job has no files.
    pub(super) fn new(config: &ScrapeConfig) -> Result<Option<Self>, String> {
        let files: Vec<String> = config.file_sd_configs.iter().flat_map(|sd| sd.files.clone()).collect();
        if files.is_empty() && config.static_configs.is_empty() {
            return Ok(None);
        }
        let groups = config.static_configs.clone();
        let rules = compile(&config.relabel_configs)?;
        Ok(Some(Discovery { job: config.job_name.clone(), groups, files, last: BTreeMap::new(), rules }))
    }

    pub(super) fn find(&mut self) -> Found {
        self.read_files();
        let mut found = Found::default();
        let groups = self.groups.iter().chain(self.last.values().flatten());
        for group in groups {
            // Groups without targets stand for this host, as in Promtail.
            let targets = if group.targets.is_empty() { vec![String::new()] } else { group.targets.clone() };
            for address in targets {
                let mut labels: LabelMap = group.labels.clone();
                if !address.is_empty() {
                    labels.insert("__address__".to_owned(), address);
                }
                self.add(labels, &mut found);
            }
        }
        found
    }

    fn add(&self, discovered: LabelMap, found: &mut Found) {
        let dropped = |details: &str, labels: &LabelMap| Target {
            job: self.job.clone(),
            kind: "File",
            name: labels.get("__path__").cloned().unwrap_or_default(),
            labels: format!("{labels:?}"),
            is_ready: false,
            details: details.to_owned(),
        };
        let Some(labels) = relabel(discovered.clone(), &self.rules) else {
            found.dropped.push(dropped("dropped by relabelling", &discovered));
            return;
        };
        let Some(path) = labels.get("__path__") else {
            found.dropped.push(dropped("no path for target", &labels));
            return;
        };
        match PathGlob::new(path, labels.get("__path_exclude__").map(String::as_str)) {
            Ok(globs) => {
                let own = visible(&labels);
                let files = globs.files();
                if files.is_empty() {
                    found.dropped.push(dropped("no file matches yet", &labels));
                }
                for path in files {
                    found.paths.entry(path).or_insert_with(|| own.clone());
                }
            }
            Err(words) => found.dropped.push(dropped(&words, &labels)),
        }
    }

    /// Reads files of groups; one that is bad now keeps what it had.
    fn read_files(&mut self) {
        let mut there = Vec::new();
        for pattern in &self.files {
            let Ok(globs) = PathGlob::new(pattern, None) else { continue };
            for path in globs.files() {
                match read_groups(&path) {
                    Ok(groups) => {
                        self.last.insert(path.clone(), groups);
                    }
                    Err(words) => {
                        tracing::warn!(path = %path.display(), words, "a file of targets is not read; what it had before stays")
                    }
                }
                there.push(path);
            }
        }
        self.last.retain(|path, _| there.contains(path));
    }
}

/// JSON is YAML.
fn read_groups(path: &Path) -> Result<Vec<Group>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let tree = crate::pipeline::yaml::parse(&text)?;
    if tree.is_null() {
        return Ok(Vec::new());
    }
    serde_json::from_value(tree).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_groups_and_files_of_groups() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().to_string_lossy().into_owned();
        for name in ["a.log", "b.log", "c.log"] {
            std::fs::write(directory.path().join(name), "").expect("written");
        }
        let sd = directory.path().join("targets.json");
        std::fs::write(
            &sd,
            format!(r#"[{{"targets":["localhost"],"labels":{{"job":"sd","n":5,"__path__":"{root}/c.log"}}}}]"#),
        )
        .expect("written");
        let yaml = format!(
            "job_name: j\nstatic_configs:\n- targets: [localhost]\n  labels: {{job: st, __path__: '{root}/{{a,b}}.log'}}\n- targets: [x]\n  labels: {{job: none}}\nfile_sd_configs:\n- files: ['{root}/*.json']\nrelabel_configs:\n- {{source_labels: [__address__], target_label: host}}"
        );
        let config: ScrapeConfig =
            serde_json::from_value(crate::pipeline::yaml::parse(&yaml).expect("YAML")).expect("good");
        let mut discovery = Discovery::new(&config).expect("good").expect("files");
        let shown = |discovery: &mut Discovery| -> Vec<String> {
            let found = discovery.find();
            let pairs = |labels: &LabelMap| {
                labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
            };
            found
                .paths
                .iter()
                .map(|(path, labels)| {
                    format!("{} {}", path.file_name().expect("a name").to_string_lossy(), pairs(labels))
                })
                .collect()
        };
        let all = ["a.log host=localhost,job=st", "b.log host=localhost,job=st", "c.log host=localhost,job=sd,n=5"];
        assert_eq!(shown(&mut discovery), all);
        assert_eq!(discovery.find().dropped[0].details, "no path for target");
        std::fs::write(&sd, "[{").expect("written");
        assert_eq!(shown(&mut discovery), all);
        std::fs::remove_file(&sd).expect("removed");
        assert_eq!(shown(&mut discovery), all[..2]);
    }
}
