//! A test in a process of its own, for what may abort the process it is in.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

/// Says to the process of one test that it is the one.
const IS_APART: &str = "MILLRACE_TEST_APART";
/// How many times the stand-in may break before the test is given up.
const ATTEMPTS: usize = 5;
/// In the message of an assertion of librdkafka's mock cluster: it aborts when a member joins again while its answer is
/// due, which real brokers allow. A broken stand-in says nothing about us, so the test is run again.
const BROKEN_STAND_IN: &str = "rdkafka_mock";

/// Runs `body` in a process of its own, which is the test called `name` (with its module) of this very binary.
pub(crate) fn apart(name: &str, body: impl FnOnce()) {
    if std::env::var_os(IS_APART).is_some() {
        return body();
    }
    for _ in 0..ATTEMPTS {
        let child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", name, "--nocapture"])
            .env(IS_APART, "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("this binary starts again");
        let group = format!("-{}", child.id());
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        // The servers it started are in its group, and outlive it when it is aborted.
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        if output.status.signal() == Some(libc::SIGABRT) && said.contains(BROKEN_STAND_IN) {
            eprintln!("{name}: the stand-in broke: {said}");
            continue;
        }
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {}\n{printed}\n{said}", output.status);
        assert!(printed.contains("1 passed"), "{name} is no test of this binary: {printed}");
        return;
    }
    panic!("{name}: the stand-in broke {ATTEMPTS} times");
}
