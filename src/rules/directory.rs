//! Where rule files lie: the operator's directory, which is only read, and our own, which the API writes.
//!
//! ```text
//! ruler.storage.local.directory/  rules.yaml            flat: the single tenant's
//!                                 <tenant>/<file>       the file name is the namespace
//! DATA/rules/                     <tenant>/<namespace>  written by the API, atomically
//! ```
//!
//! Names that start with a dot are not looked at (editors, Kubernetes' config maps).
//! Invariant: a namespace of the operator's directory is never written by the API.
//! Errors: a bad file is a [`BadFile`]; the others are loaded all the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::model::{RuleFile, RuleGroup};
use super::read::read_rules;
use super::write::write_file;
use crate::types::ids::TenantId;

/// A file larger than this is not read, bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

const IN_NAMES: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b' ');

/// Files of one tenant, by namespace.
pub type Namespaces = BTreeMap<String, RuleFile>;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    pub tenants: BTreeMap<TenantId, Namespaces>,
    pub bad: Vec<BadFile>,
}

/// A file that is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {words}", path.display())]
pub struct BadFile {
    pub path: PathBuf,
    /// The namespace it would be.
    pub whose: Option<(TenantId, String)>,
    pub words: String,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("group does not exist")]
    NoGroup,
    #[error("group namespace does not exist")]
    NoNamespace,
    #[error("namespace {namespace:?} is a file of the operator, {}: change it there", path.display())]
    OfOperator { namespace: String, path: PathBuf },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Bad(#[from] BadFile),
}

/// Both directories.
#[derive(Debug, Clone)]
pub struct RuleDirectories {
    /// `ruler.storage.local.directory`.
    pub operator: Option<PathBuf>,
    /// Ours.
    pub own: PathBuf,
}

impl RuleDirectories {
    /// Reads everything. Blocking.
    pub fn load(&self) -> Found {
        let mut found = Found::default();
        if let Some(operator) = &self.operator {
            load_tenants(operator, true, &mut found);
        }
        let mut own = Found::default();
        load_tenants(&self.own, false, &mut own);
        for (tenant, namespaces) in own.tenants {
            let of_tenant = found.tenants.entry(tenant).or_default();
            for (namespace, file) in namespaces {
                of_tenant.entry(namespace).or_insert(file);
            }
        }
        found.bad.extend(own.bad);
        found
    }

    /// Adds or replaces one group.
    pub fn set_group(&self, tenant: &TenantId, namespace: &str, group: RuleGroup) -> Result<(), StoreError> {
        let path = self.own_file(tenant, namespace)?;
        let mut file = read_if_there(&path)?.unwrap_or_default();
        match file.groups.iter_mut().find(|known| known.name == group.name) {
            Some(known) => *known = group.into(),
            None => file.groups.push(group.into()),
        }
        write(&path, &file)
    }

    /// Removes one group; the last one takes its namespace along.
    pub fn delete_group(&self, tenant: &TenantId, namespace: &str, group: &str) -> Result<(), StoreError> {
        let path = self.own_file(tenant, namespace)?;
        let mut file = read_if_there(&path)?.ok_or(StoreError::NoGroup)?;
        let before = file.groups.len();
        file.groups.retain(|known| known.name != group);
        if file.groups.len() == before {
            return Err(StoreError::NoGroup);
        }
        if file.groups.is_empty() { remove(&path) } else { write(&path, &file) }
    }

    pub fn delete_namespace(&self, tenant: &TenantId, namespace: &str) -> Result<(), StoreError> {
        let path = self.own_file(tenant, namespace)?;
        if !path.exists() {
            return Err(StoreError::NoNamespace);
        }
        remove(&path)
    }

    fn own_file(&self, tenant: &TenantId, namespace: &str) -> Result<PathBuf, StoreError> {
        if let Some(operator) = &self.operator {
            let mut candidates = vec![operator.join(tenant.as_str()).join(namespace)];
            if *tenant == TenantId::single() {
                candidates.push(operator.join(namespace));
            }
            if let Some(path) = candidates.into_iter().find(|path| path.is_file()) {
                return Err(StoreError::OfOperator { namespace: namespace.to_owned(), path });
            }
        }
        Ok(self.own.join(tenant.as_str()).join(utf8_percent_encode(namespace, IN_NAMES).to_string()))
    }
}

fn load_tenants(root: &Path, of_operator: bool, found: &mut Found) {
    for path in visible_entries(root) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if path.is_dir() {
            match TenantId::parse(name) {
                Ok(tenant) => load_files(&path, tenant, of_operator, found),
                Err(error) => found.bad.push(BadFile { path, whose: None, words: error.to_string() }),
            }
        } else if of_operator && is_rule_file(&path) {
            load_file(&path, name.to_owned(), TenantId::single(), found);
        }
    }
}

/// A flat directory may be shared with other things.
fn is_rule_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn load_files(directory: &Path, tenant: TenantId, of_operator: bool, found: &mut Found) {
    for path in visible_entries(directory).into_iter().filter(|path| path.is_file()) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let namespace =
            if of_operator { name.to_owned() } else { percent_decode_str(name).decode_utf8_lossy().into_owned() };
        load_file(&path, namespace, tenant.clone(), found);
    }
}

fn load_file(path: &Path, namespace: String, tenant: TenantId, found: &mut Found) {
    match read_file(path) {
        Ok(file) => {
            found.tenants.entry(tenant).or_default().insert(namespace, file);
        }
        Err(bad) => found.bad.push(BadFile { whose: Some((tenant, namespace)), ..bad }),
    }
}

/// Reads one file.
pub fn read_file(path: &Path) -> Result<RuleFile, BadFile> {
    let bad = |words: String| BadFile { path: path.to_owned(), whose: None, words };
    let bytes = std::fs::metadata(path).map_err(|error| bad(error.to_string()))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(bad(format!("{bytes} bytes; a rule file has at most {FILE_BYTES_MAX}")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    read_rules(&text).map_err(|error| bad(error.to_string()))
}

fn read_if_there(path: &Path) -> Result<Option<RuleFile>, StoreError> {
    if path.exists() { Ok(Some(read_file(path)?)) } else { Ok(None) }
}

/// Sorted; nothing when there is no such directory.
fn visible_entries(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| !is_hidden(path)).collect();
    paths.sort();
    paths
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'))
}

fn write(path: &Path, file: &RuleFile) -> Result<(), StoreError> {
    let failed = |source| StoreError::Write { path: path.to_owned(), source };
    super::durable::replace(path, write_file(file).as_bytes()).map_err(failed)
}

fn remove(path: &Path) -> Result<(), StoreError> {
    std::fs::remove_file(path).map_err(|source| StoreError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::read::read_group;

    fn group(name: &str) -> RuleGroup {
        read_group(&format!("name: {name}\nrules: [{{record: x, expr: vector(1)}}]")).expect("good")
    }

    #[test]
    fn both_layouts_are_found_and_hidden_names_are_not() {
        let root = tempfile::tempdir().expect("a directory");
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("below root")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        put("rules.yaml", "groups: [{name: flat}]");
        put("notes.txt", "not rules");
        put("team-a/a.yml", "groups: [{name: a}]");
        put("team-a/bad.yml", "groups: [{nam: a}]");
        put("team-a/.swp", "{");
        put("..data/x", "{");
        let own = root.path().join(".own");
        let found = RuleDirectories { operator: Some(root.path().to_owned()), own }.load();
        let names: Vec<String> = found
            .tenants
            .iter()
            .flat_map(|(tenant, files)| files.keys().map(move |file| format!("{tenant}/{file}")))
            .collect();
        assert_eq!(names, ["fake/rules.yaml", "team-a/a.yml"]);
        assert_eq!(found.bad.len(), 1);
        assert!(found.bad[0].to_string().contains("team-a/bad.yml: line"), "{}", found.bad[0]);
    }

    #[test]
    fn groups_are_set_and_deleted_in_our_own_directory_alone() {
        let root = tempfile::tempdir().expect("a directory");
        let operator = root.path().join("operator");
        std::fs::create_dir_all(&operator).expect("made");
        std::fs::write(operator.join("rules.yaml"), "groups: [{name: flat}]").expect("written");
        let directories = RuleDirectories { operator: Some(operator), own: root.path().join("own") };
        let tenant = TenantId::single();
        let groups = |namespace: &str| -> Vec<String> {
            let found = directories.load();
            let file = found.tenants.get(&tenant).and_then(|files| files.get(namespace)).cloned().unwrap_or_default();
            file.groups.iter().map(|group| group.name.clone()).collect()
        };
        directories.set_group(&tenant, "a/b", group("one")).expect("set");
        directories.set_group(&tenant, "a/b", group("two")).expect("set");
        directories.set_group(&tenant, "a/b", group("one")).expect("set");
        assert_eq!(groups("a/b"), ["one", "two"]);
        assert!(matches!(directories.set_group(&tenant, "rules.yaml", group("x")), Err(StoreError::OfOperator { .. })));
        assert!(matches!(directories.delete_group(&tenant, "a/b", "three"), Err(StoreError::NoGroup)));
        directories.delete_group(&tenant, "a/b", "one").expect("deleted");
        directories.delete_group(&tenant, "a/b", "two").expect("deleted");
        assert!(matches!(directories.delete_namespace(&tenant, "a/b"), Err(StoreError::NoNamespace)));
        directories.set_group(&tenant, "n", group("one")).expect("set");
        directories.delete_namespace(&tenant, "n").expect("deleted");
        assert_eq!(groups("rules.yaml"), ["flat"]);
    }
}
