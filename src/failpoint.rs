//! Named points where a test kills the process or fills its disk, in the very binary that is shipped.
//!
//! ```text
//! MILLRACE_FAILPOINT=flush.committed        killed at the first passing (as `kill -9`: nothing is closed)
//! MILLRACE_FAILPOINT=flush.committed@3      at the third
//! MILLRACE_FAILPOINT=store.put=full@2-5     the second to fifth write of the kind finds no space left
//! ```
//!
//! Several are separated by commas. Without the variable a point costs one relaxed load.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub const VARIABLE: &str = "MILLRACE_FAILPOINT";

static ARMED: AtomicBool = AtomicBool::new(false);
static POINTS: OnceLock<Vec<Point>> = OnceLock::new();

#[derive(Debug)]
struct Point {
    name: String,
    effect: Effect,
    /// Which passings it acts on, counted from 1, both inside.
    first: u64,
    last: u64,
    passed: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Kill,
    Full,
}

/// Why the variable was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{VARIABLE}: {text:?} is not name, name@n, name=full, name=full@n or name=full@n-m")]
pub struct BadFailpoint {
    text: String,
}

/// Arms the points that the environment names; once, at start.
pub fn arm_from_environment() -> Result<(), BadFailpoint> {
    let Ok(text) = std::env::var(VARIABLE) else { return Ok(()) };
    let points = text.split(',').map(parse).collect::<Result<Vec<_>, _>>()?;
    if POINTS.set(points).is_ok() {
        ARMED.store(true, Ordering::Release);
    }
    Ok(())
}

/// Passes a point: returns, or the process ends here.
#[inline]
pub fn hit(name: &str) {
    if ARMED.load(Ordering::Relaxed) && acts(name, Effect::Kill) {
        std::process::abort();
    }
}

/// Passes a point where something is written: returns, fails as a full disk does, or the process ends here.
#[inline]
pub fn io(name: &str) -> std::io::Result<()> {
    if !ARMED.load(Ordering::Relaxed) {
        return Ok(());
    }
    hit(name);
    match acts(name, Effect::Full) {
        true => Err(std::io::Error::new(std::io::ErrorKind::StorageFull, "no space left on device (failpoint)")),
        false => Ok(()),
    }
}

#[cold]
fn acts(name: &str, effect: Effect) -> bool {
    let points = POINTS.get().map_or(&[][..], Vec::as_slice);
    points.iter().filter(|point| point.name == name && point.effect == effect).any(|point| {
        let passing = point.passed.fetch_add(1, Ordering::Relaxed) + 1;
        (point.first..=point.last).contains(&passing)
    })
}

fn parse(text: &str) -> Result<Point, BadFailpoint> {
    let bad = || BadFailpoint { text: text.to_owned() };
    let number = |text: &str| text.parse::<u64>().map_err(|_| bad());
    let (what, when) = text.trim().split_once('@').unwrap_or((text.trim(), ""));
    let (name, effect) = match what.split_once('=') {
        Some((name, "full")) => (name, Effect::Full),
        Some(_) => return Err(bad()),
        None => (what, Effect::Kill),
    };
    let (first, last) = match (when.split_once('-'), effect) {
        (Some((first, last)), _) => (number(first)?, number(last)?),
        (None, Effect::Full) if when.is_empty() => (1, u64::MAX),
        (None, Effect::Kill) if when.is_empty() => (1, 1),
        (None, _) => (number(when)?, number(when)?),
    };
    if name.is_empty() {
        return Err(bad());
    }
    Ok(Point { name: name.to_owned(), effect, first, last, passed: AtomicU64::new(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_is_read() {
        let check = |text: &str, expected: Option<(&str, Effect, u64, u64)>| {
            let point = parse(text).ok();
            let got = point.as_ref().map(|point| (point.name.as_str(), point.effect, point.first, point.last));
            assert_eq!(got, expected, "{text}");
        };
        check("a.b", Some(("a.b", Effect::Kill, 1, 1)));
        check("a@3", Some(("a", Effect::Kill, 3, 3)));
        check("a=full", Some(("a", Effect::Full, 1, u64::MAX)));
        check("a=full@2", Some(("a", Effect::Full, 2, 2)));
        check("a=full@2-5", Some(("a", Effect::Full, 2, 5)));
        check("a=empty", None);
        check("a@x", None);
        check("", None);
    }

    #[test]
    fn an_unarmed_point_does_nothing() {
        hit("anything");
        assert!(io("anything").is_ok());
    }
}
