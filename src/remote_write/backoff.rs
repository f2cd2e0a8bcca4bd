//! What an answer means, and how long to wait after a failure. Pure.

use std::time::Duration;

/// The longest wait that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Sent,
    /// The same request may work later.
    TryAgain {
        after: Option<Duration>,
    },
    /// The receiver will never take it.
    Refused,
}

/// `status` 0 means that there was no answer; `retry_after` is the header's value in seconds.
pub(super) fn outcome(status: u16, retry_after: Option<&str>, retries_429: bool) -> Outcome {
    let after = || retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    match status {
        200..=299 => Outcome::Sent,
        0 | 500..=599 => Outcome::TryAgain { after: after() },
        429 if retries_429 => Outcome::TryAgain { after: after() },
        _ => Outcome::Refused,
    }
}

/// Waits that double.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Backoff { min, max, next: min }
    }

    /// How long to wait now: what the receiver asks for, within reason; else twice as long as before.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let wait = asked.map_or(self.next, |asked| asked.clamp(self.min, RETRY_AFTER_MAX.max(self.min)));
        self.next = (self.next * 2).min(self.max);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let check = |status, retry_after, retries_429, expected| {
            assert_eq!(outcome(status, retry_after, retries_429), expected, "{status}");
        };
        check(204, None, true, Outcome::Sent);
        check(400, None, true, Outcome::Refused);
        check(500, None, true, Outcome::TryAgain { after: None });
        check(503, Some("7"), true, Outcome::TryAgain { after: Some(Duration::from_secs(7)) });
        check(429, None, true, Outcome::TryAgain { after: None });
        check(429, None, false, Outcome::Refused);
        check(0, None, true, Outcome::TryAgain { after: None });
        check(301, None, true, Outcome::Refused);
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(30), ms(100));
        assert_eq!([backoff.next(None), backoff.next(None), backoff.next(None)], [ms(30), ms(60), ms(100)]);
        assert_eq!(backoff.next(Some(ms(1_000))), ms(1_000));
        assert_eq!(backoff.next(Some(Duration::from_secs(86_400))), RETRY_AFTER_MAX);
    }
}
