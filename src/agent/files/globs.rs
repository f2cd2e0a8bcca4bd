//! Globs as Promtail's doublestar reads them: `*`, `?`, `[a-z]`, `**` and `{a,b}`.

use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

/// Alternatives that braces may make of one pattern.
const ALTERNATIVES_MAX: usize = 1_000;

const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// A pattern of paths, and one of those it leaves out.
#[derive(Debug, Clone)]
pub(super) struct PathGlob {
    include: Vec<String>,
    exclude: Vec<Pattern>,
}

impl PathGlob {
    /// # Errors
    /// A pattern that is none.
    pub(super) fn new(include: &str, exclude: Option<&str>) -> Result<Self, String> {
        let include = alternatives(include)?;
        for pattern in &include {
            Pattern::new(pattern).map_err(|error| format!("{pattern}: {error}"))?;
        }
        let exclude = alternatives(exclude.unwrap_or_default())?;
        let exclude = exclude.iter().filter(|pattern| !pattern.is_empty());
        let exclude = exclude.map(|pattern| Pattern::new(pattern).map_err(|error| format!("{pattern}: {error}")));
        Ok(PathGlob { include, exclude: exclude.collect::<Result<_, _>>()? })
    }

    /// The files there are now, sorted.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = Vec::new();
        for pattern in &self.include {
            let found = glob::glob_with(pattern, OPTIONS).into_iter().flatten().flatten();
            files.extend(found.filter(|path| self.takes(path)));
        }
        files.sort();
        files.dedup();
        files
    }

    fn takes(&self, path: &Path) -> bool {
        !self.exclude.iter().any(|pattern| pattern.matches_path_with(path, OPTIONS)) && path.is_file()
    }
}

/// What `{a,b}` stands for, written out.
fn alternatives(pattern: &str) -> Result<Vec<String>, String> {
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(next) = open.pop() {
        let Some((start, end)) = innermost(&next) else {
            done.push(next);
            continue;
        };
        for way in next[start + 1..end].split(',') {
            open.push(format!("{}{way}{}", &next[..start], &next[end + 1..]));
        }
        if open.len() + done.len() > ALTERNATIVES_MAX {
            return Err(format!("{pattern}: more than {ALTERNATIVES_MAX} alternatives"));
        }
    }
    done.sort();
    Ok(done)
}

/// The first pair of braces without braces within.
fn innermost(pattern: &str) -> Option<(usize, usize)> {
    let end = pattern.find('}')?;
    let start = pattern[..end].rfind('{')?;
    Some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_patterns() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["a.log", "b.log", "c.txt", "sub/d.log", "sub/deep/e.log"] {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, "").expect("written");
        }
        let root = directory.path().to_string_lossy().into_owned();
        let check = |include: &str, exclude: Option<&str>, expected: &[&str]| {
            let under = |pattern: &str| format!("{root}/{pattern}");
            let globs = PathGlob::new(&under(include), exclude.map(under).as_deref()).expect("good");
            let files: Vec<String> = globs
                .files()
                .iter()
                .map(|path| path.strip_prefix(&root).expect("below").to_string_lossy().into_owned())
                .collect();
            assert_eq!(files, expected, "{include}");
        };
        check("*.log", None, &["a.log", "b.log"]);
        check("*.log", Some("b*"), &["a.log"]);
        check("**/*.log", None, &["a.log", "b.log", "sub/d.log", "sub/deep/e.log"]);
        check("**/*.log", Some("sub/**"), &["a.log", "b.log"]);
        check("{a,c}.{log,txt}", None, &["a.log", "c.txt"]);
        check("[ab].log", None, &["a.log", "b.log"]);
        check("a.log", None, &["a.log"]);
        check("none/*.log", None, &[]);
        assert!(PathGlob::new("/a[", None).is_err());
    }
}
