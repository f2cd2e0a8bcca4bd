use std::path::Path;

mod script;

/// Runs every script of a directory; answers what failed, with file and line.
fn failures(directory: &Path) -> Vec<String> {
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .expect("a directory of scripts")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "test"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no scripts in {}", directory.display());
    let run = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a readable script");
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        script::run(&text).into_iter().map(move |failure| format!("{name}:{failure}")).collect::<Vec<_>>()
    };
    files.into_iter().flat_map(run).collect()
}

#[test]
fn scripts_hold() {
    let found = failures(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/promql/testdata"));
    assert!(found.is_empty(), "{} failures:\n{}", found.len(), found.join("\n"));
}

/// `MILLRACE_PROMQL_SCRIPTS=prometheus/promql/promqltest/testdata`: shows where others see it differently.
#[test]
fn scripts_of_others_are_compared() {
    let Some(directory) = std::env::var_os("MILLRACE_PROMQL_SCRIPTS") else { return };
    let found = failures(Path::new(&directory));
    println!("{}", found.join("\n"));
    println!("{} differences", found.len());
}
