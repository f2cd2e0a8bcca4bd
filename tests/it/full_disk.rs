//! A small disk that is really full, at each place where something is written: nothing acknowledged is lost, the error
//! is clear, and it goes on by itself once there is room.
//!
//! Needs to mount a tmpfs, as root can.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::compaction::configured;
use crate::harness::{Reply, Server};
use crate::s3::{ACCESS_KEY, Proxy, S3, SECRET_KEY};

/// Seconds; the golden configuration accepts any age.
const START_S: i64 = 1_768_471_200;
const LINES_A_PUSH: usize = 100;
/// How long it may take until it goes on.
const RECOVERY_WAIT: Duration = Duration::from_secs(30);

/// A tmpfs, unmounted when dropped.
pub(crate) struct SmallDisk {
    pub(crate) directory: PathBuf,
}

impl SmallDisk {
    pub(crate) fn mount(directory: PathBuf, bytes: usize) -> SmallDisk {
        std::fs::create_dir_all(&directory).expect("made");
        let size = format!("size={bytes}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&directory).status();
        assert!(mounted.is_ok_and(|status| status.success()), "cannot mount a tmpfs: run the tests as root");
        SmallDisk { directory }
    }

    fn ballast(&self) -> PathBuf {
        self.directory.join("ballast")
    }

    /// Leaves `bytes` free.
    pub(crate) fn fill(&self, bytes: usize) {
        use std::io::Write;
        let mut ballast = std::fs::File::create(self.ballast()).expect("made");
        let block = [0x5a; 4096];
        while ballast.write_all(&block).is_ok() {}
        let length = ballast.metadata().expect("there").len();
        ballast.set_len(length.saturating_sub(bytes as u64)).expect("cut");
    }

    pub(crate) fn make_room(&self) {
        std::fs::remove_file(self.ballast()).expect("there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.directory).status();
    }
}

fn push(server: &Server, number: usize) -> Reply {
    let values: Vec<_> = (0..LINES_A_PUSH)
        .map(|line| {
            let at = number * LINES_A_PUSH + line;
            let noise = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let ts = START_S as usize * 1_000_000_000 + at * 1_000;
            json!([ts.to_string(), format!("line {at} {noise:016x} {:016x}", noise.rotate_left(17) ^ noise)])
        })
        .collect();
    let body = json!({"streams": [{"stream": {"service": "full"}, "values": values}]}).to_string();
    server.post("/loki/api/v1/push", &[("Content-Type", "application/json")], body.as_bytes())
}

/// Pushes until one is refused; answers how many were taken, and the refusal.
fn push_until_refused(server: &Server, first: usize) -> (usize, Reply) {
    for number in first..first + 10_000 {
        let answer = push(server, number);
        if answer.status != 204 {
            return (number, answer);
        }
    }
    panic!("the disk is never full");
}

/// Pushes until it is taken.
fn push_again(server: &Server, number: usize) {
    let started = Instant::now();
    loop {
        let answer = push(server, number);
        if answer.status == 204 {
            return;
        }
        assert!(started.elapsed() < RECOVERY_WAIT, "it does not recover: {} {}", answer.status, answer.text());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn count(server: &Server) -> usize {
    server.number(r#"sum(count_over_time({service="full"}[1h]))"#, START_S + 1800) as usize
}

/// Waits until `/flush` works again.
fn flush_again(server: &Server) {
    let started = Instant::now();
    while server.post("/flush", &[], b"").status != 204 {
        assert!(started.elapsed() < RECOVERY_WAIT, "flushes do not recover");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn start(data: &Path, config: &Path) -> Server {
    Server::start(data, Some(config), &[])
}

const UPKEEP: &str = "  compaction_interval: 1h\n  retention_delete_delay: 0s\n  retention_enabled: true\n  delete_request_cancel_period: 24h";

#[test]
fn the_log_is_full() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = SmallDisk::mount(directory.path().join("disk"), 8 << 20);
    let data = disk.directory.join("data");
    let config = configured(directory.path(), UPKEEP, "  {}");
    let server = start(&data, &config);
    assert_eq!(push(&server, 0).status, 204);
    disk.fill(64 << 10);
    let (taken, refused) = push_until_refused(&server, 1);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("no space left"), "{}", refused.text());
    assert_eq!(push(&server, taken).status, 503, "still");
    assert_eq!(count(&server), taken * LINES_A_PUSH, "what was acknowledged is there, what was refused is not");
    disk.make_room();
    push_again(&server, taken);
    assert_eq!(count(&server), (taken + 1) * LINES_A_PUSH);
    // Full again, and killed: the next start finds what was acknowledged.
    disk.fill(16 << 10);
    let (taken, _) = push_until_refused(&server, taken + 1);
    server.kill();
    disk.make_room();
    let server = start(&data, &config);
    assert_eq!(count(&server), taken * LINES_A_PUSH);
    push_again(&server, taken);
    server.stop();
    assert_eq!(count(&start(&data, &config)), (taken + 1) * LINES_A_PUSH);
}

#[test]
fn the_table_is_full_when_it_is_flushed_committed_merged_or_asked_to_delete() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = SmallDisk::mount(directory.path().join("disk"), 8 << 20);
    let data = directory.path().join("data");
    let table =
        format!("  table:\n    url: {}\n  compaction:\n    settled_after: 0s", disk.directory.join("logs").display());
    let config = configured(directory.path(), UPKEEP, &table);
    let server = start(&data, &config);
    let mut pushes = 0;
    let mut push_some = |server: &Server| {
        for _ in 0..5 {
            assert_eq!(push(server, pushes).status, 204);
            pushes += 1;
        }
        pushes
    };
    push_some(&server);
    server.flush();
    // No room for the file; then room for the file and none for the commit, page by page.
    for pages in [0, 1, 2, 4, 6, 8, 10, 12] {
        let pushed = push_some(&server);
        disk.fill(pages * 4096);
        let answer = server.post("/flush", &[], b"");
        assert!(answer.status == 204 || answer.text().contains("o space left"), "{} {}", answer.status, answer.text());
        assert!(pages > 0 || answer.status != 204, "there was room");
        assert_eq!(count(&server), pushed * LINES_A_PUSH, "with {pages} pages free");
        assert_eq!(push(&server, pushed).status, 204, "the log has room");
        pushes_are(&server, pushed + 1);
        disk.make_room();
        flush_again(&server);
        push_some(&server);
    }
    // A merge has no room for what it writes.
    let pushed = push_some(&server);
    server.flush();
    let files = |server: &Server| server.get("/api/v1/table/status", &[]).json()["files"].as_u64().expect("a number");
    assert!(files(&server) > 1);
    disk.fill(4096);
    assert!(server.post("/api/v1/table/upkeep", &[], b"").status < 300);
    let started = Instant::now();
    while !server.get("/metrics", &[]).text().contains("millrace_upkeep_failures_total{step=\"compaction\"}") {
        assert!(started.elapsed() < RECOVERY_WAIT, "the merge did not fail");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(count(&server), pushed * LINES_A_PUSH);
    // A delete that cannot be written down is not taken, and hides nothing.
    disk.fill(0);
    let delete = |server: &Server| {
        let query = "%7Bservice%3D%22full%22%7D%20%7C%3D%20%22line%207%20%22";
        let path = format!("/loki/api/v1/delete?query={query}&start={START_S}&end={}", START_S + 3600);
        server.post(&path, &[], b"")
    };
    let refused = delete(&server);
    assert!(refused.status >= 500 && refused.text().contains("o space left"), "{} {}", refused.status, refused.text());
    assert_eq!(count(&server), pushed * LINES_A_PUSH);
    disk.make_room();
    assert!(server.post("/api/v1/table/upkeep", &[], b"").status < 300);
    let started = Instant::now();
    while files(&server) > 1 {
        assert!(started.elapsed() < RECOVERY_WAIT, "the merge does not recover");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(delete(&server).status, 204);
    assert_eq!(count(&server), pushed * LINES_A_PUSH - 1);
    server.kill();
    assert_eq!(count(&start(&data, &config)), pushed * LINES_A_PUSH - 1);
}

fn pushes_are(server: &Server, pushes: usize) {
    assert_eq!(count(server), pushes * LINES_A_PUSH);
}

#[test]
fn the_place_of_backups_is_full() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = SmallDisk::mount(directory.path().join("disk"), 4 << 20);
    let data = directory.path().join("data");
    let config = configured(directory.path(), UPKEEP, "  {}");
    let server = start(&data, &config);
    for number in 0..20 {
        assert_eq!(push(&server, number).status, 204);
        server.flush();
    }
    let to = disk.directory.join("backups");
    let millrace = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_millrace")).args(arguments).output().expect("it runs");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), said)
    };
    let (data_text, to_text) = (data.to_str().expect("UTF-8"), to.to_str().expect("UTF-8"));
    let create = || millrace(&["backup", "create", to_text, "--data", data_text]);
    for kib in [0, 16, 64] {
        disk.fill(kib << 10);
        let (done, said) = create();
        assert!(!done && said.contains("o space left"), "with {kib} KiB: {said}");
        disk.make_room();
    }
    let (done, said) = create();
    assert!(done, "{said}");
    let (done, said) = millrace(&["backup", "verify", to_text]);
    assert!(done, "{said}");
    assert_eq!(count(&server), 20 * LINES_A_PUSH);
}

#[test]
fn a_checkpoint_that_has_no_room_is_made_up_for_by_the_next() {
    /// Commits between checkpoints.
    const CHECKPOINT_COMMITS: usize = 100;

    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = SmallDisk::mount(directory.path().join("disk"), 16 << 20);
    let data = directory.path().join("data");
    let logs = disk.directory.join("logs");
    let table = format!("  table:\n    url: {}\n  compaction:\n    enabled: false", logs.display());
    let config = configured(directory.path(), UPKEEP, &table);
    let server = start(&data, &config);
    let log_files = |end: &str| {
        let names = std::fs::read_dir(logs.join("_delta_log")).expect("there");
        let names = names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.ends_with(end)).count()
    };
    let mut pushes = 0;
    let mut commit = |server: &Server| {
        assert_eq!(push(server, pushes).status, 204);
        server.flush();
        pushes += 1;
        pushes
    };
    // The table's first commits make it; the last before a checkpoint is found by looking.
    while log_files(".json") < CHECKPOINT_COMMITS {
        commit(&server);
    }
    // Room for a file and its commit, and none for what all of them together take.
    disk.fill(20 << 10);
    commit(&server);
    let said = || std::fs::read_to_string(data.with_extension("log")).unwrap_or_default();
    let started = Instant::now();
    while !said().contains("no checkpoint of the table") {
        assert!(started.elapsed() < RECOVERY_WAIT, "there was room: {} checkpoints", log_files(".checkpoint.parquet"));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!((log_files(".checkpoint.parquet"), log_files("_last_checkpoint")), (0, 0));
    disk.make_room();
    let pushed = commit(&server);
    server.kill();
    let server = start(&data, &config);
    pushes_are(&server, pushed);
    while log_files(".json") < 2 * CHECKPOINT_COMMITS + 1 {
        commit(&server);
    }
    let started = Instant::now();
    while log_files("_last_checkpoint") == 0 {
        assert!(started.elapsed() < RECOVERY_WAIT, "no checkpoint although there is room");
        std::thread::sleep(Duration::from_millis(50));
    }
    let pushed = commit(&server);
    server.kill();
    pushes_are(&start(&data, &config), pushed);
}

#[test]
fn a_full_disk_only_makes_the_cache_of_a_bucket_smaller() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(s3) = S3::start(&directory.path().join("s3"), true) else { return };
    let proxy = Proxy::start(&s3);
    let disk = SmallDisk::mount(directory.path().join("disk"), 4 << 20);
    let own = format!(
        "  cache: {{memory_bytes: 0, directory: {}}}\n  table:\n    url: s3://logs/a/table\n    options: {{aws_endpoint: '{}', aws_access_key_id: {ACCESS_KEY}, aws_secret_access_key: {SECRET_KEY}}}\n  compaction:\n    enabled: false",
        disk.directory.join("cache").display(),
        proxy.endpoint
    );
    let config = configured(directory.path(), UPKEEP, &own);
    let server = start(&directory.path().join("data"), &config);
    for number in 0..20 {
        assert_eq!(push(&server, number).status, 204);
    }
    server.flush();
    let cache = || walk(&disk.directory.join("cache"));
    // Each question is another, so that no answer is remembered.
    let found = |line: usize| {
        server.number(&format!(r#"count_over_time({{service="full"}} |= "line {line} " [1h])"#), START_S + 1800)
    };
    for (state, bytes) in [("full", 0), ("nearly full", 2048)] {
        disk.fill(bytes);
        for line in [3, 700, 1998] {
            assert_eq!(found(line + bytes / 2048), 1.0, "the disk is {state}");
        }
        assert_eq!(cache(), Vec::<PathBuf>::new(), "the disk is {state}: something takes room and is of no use");
        disk.make_room();
    }
    assert_eq!(found(42), 1.0);
    assert!(!cache().is_empty(), "nothing is kept although there is room");
}

/// All files below.
fn walk(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("there").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
