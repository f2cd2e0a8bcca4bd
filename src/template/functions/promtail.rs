//! What the `template` stage of Promtail and Alloy knows.
//!
//! Sprig, and over it Promtail's own `ToLower`, `Replace`, `Hash` and their kin. Left out of Sprig: what reads the
//! environment or the network (`env`, `expandenv`, `getHostByName`), random values (`randAlpha`, `randInt`,
//! `shuffle`, `uuidv4`, …), keys, certificates and encryption (`genCA`, `bcrypt`, `encryptAES`, …), semantic
//! versions and parts of URLs (`semver`, `urlParse`, …).

use std::sync::LazyLock;

use super::FunctionTable;
use super::{
    cases, cast, dates, defaults, dicts, encoding, hashes, json, json_text, lists, math, reflection, regexes, strings,
    words,
};

static PROMTAIL: LazyLock<FunctionTable> = LazyLock::new(|| {
    FunctionTable::new(&[
        strings::SPRIG,
        words::SPRIG,
        cases::SPRIG,
        cast::SPRIG,
        math::SPRIG,
        dates::SPRIG,
        defaults::SPRIG,
        encoding::SPRIG,
        hashes::SPRIG,
        json::SPRIG,
        json_text::SPRIG,
        lists::SPRIG,
        dicts::SPRIG,
        reflection::SPRIG,
        regexes::SPRIG,
        strings::GO,
        hashes::PROMTAIL,
    ])
});

/// The functions of the `template` stage.
pub fn promtail_functions() -> &'static FunctionTable {
    &PROMTAIL
}
