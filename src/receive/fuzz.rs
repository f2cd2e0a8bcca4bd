//! Bodies that were good until something happened to them: what every decoder must survive, in bounded time.
//!
//! ```text
//! sound bodies ─▶ a few mutations (bits, numbers, lengths, pieces lost, doubled or moved) ─▶ decoder ─▶ invariants
//! ```
//!
//! The mutations are the same in every run. `MILLRACE_FUZZ_ROUNDS` makes it go on for longer.

use std::time::{Duration, Instant};

use super::decode::PushOutcome;

/// Bodies a decoder is given by default.
const ROUNDS: usize = 4_000;
/// How long one small body may take in a debug build on a busy machine; a loop without end takes longer.
const BODY_WAIT: Duration = Duration::from_secs(5);
/// Bytes that decoders look for, and those at the ends of numbers.
const INTERESTING: &[u8] = b"\0\x01\x7f\x80\xff\"\\{}[],:<>- \n\r019eE.+u\xc3\xed";
/// Texts that decoders look for.
const TEXTS: &[&str] = &[
    "null",
    "true",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "99999999999999999999",
    "1e400",
    "9999-12-31T23:59:59Z",
    "0000-01-01T00:00:00Z",
    "+292278994-08-17T07:12:55Z",
    "\\ud800",
    "\\u0000",
    "{\"a\":",
    "[[[[[[[[[[[[[[[[",
    "\u{feff}",
    "\u{202e}",
];

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

/// Gives `decode` each sound body, and then thousands that were sound.
pub(super) fn survives(sound: &[Vec<u8>], mut decode: impl FnMut(&[u8])) {
    let rounds = std::env::var("MILLRACE_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    sound.iter().for_each(|body| decode(body));
    for round in 0..rounds {
        let mut body = sound[round % sound.len()].clone();
        for _ in 0..=dice.roll(4) {
            mutate(&mut body, &mut dice);
        }
        let started = Instant::now();
        decode(&body);
        assert!(started.elapsed() < BODY_WAIT, "{:?} for {body:?}", started.elapsed());
    }
}

fn mutate(body: &mut Vec<u8>, dice: &mut Dice) {
    if body.is_empty() {
        body.push(dice.roll(256) as u8);
        return;
    }
    let at = dice.roll(body.len());
    let end = at + dice.roll(body.len() - at + 1).min(64);
    match dice.roll(9) {
        0 => body[at] ^= 1 << dice.roll(8),
        1 => body[at] = INTERESTING[dice.roll(INTERESTING.len())],
        2 => body[at] = body[at].wrapping_add(dice.roll(5) as u8).wrapping_sub(2),
        3 => body.truncate(at),
        4 => drop(body.drain(at..end)),
        5 => {
            let piece = body[at..end].to_vec();
            let to = dice.roll(body.len());
            body.splice(to..to, piece);
        }
        // A length or number of protobuf that is as large as they get.
        6 => drop(body.splice(at..at, [0xff; 9].into_iter().chain([dice.roll(2) as u8]))),
        7 => drop(body.splice(at..end, TEXTS[dice.roll(TEXTS.len())].bytes())),
        _ => body.insert(at, INTERESTING[dice.roll(INTERESTING.len())]),
    }
}

/// What holds for whatever came of a body.
pub(super) fn check(outcome: &PushOutcome) {
    let rows = outcome.batch.as_ref().map_or(0, |batch| batch.rows());
    assert_eq!(rows as u64, outcome.lines, "lines are counted as they are kept");
    if let Err(error) = &outcome.answer {
        assert!([400, 413, 422, 429].contains(&error.status), "{error:?}");
        assert!(!error.text.is_empty());
    }
}
