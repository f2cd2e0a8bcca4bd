//! `decolorize`: takes the sequences that colour a terminal out of the line.
//!
//! ```yaml
//! - decolorize:
//! ```
//! `\e[31mred\e[0m` becomes `red`.

use super::each;
use crate::logql::decolorize::decolorize;
use crate::pipeline::Stage;
use crate::pipeline::error::StageError;

pub(super) fn build() -> Result<Box<dyn Stage>, StageError> {
    let mut plain = String::new();
    Ok(each("decolorize", move |entry, _| {
        if decolorize(&entry.line, &mut plain) {
            std::mem::swap(&mut entry.line, &mut plain);
        }
    }))
}

#[cfg(test)]
mod tests {
    use crate::pipeline::testing::check;

    #[test]
    fn plain() {
        check("- decolorize:", "\u{1b}[0;32mfeature\u{1b}[0m x", "0 {} feature x");
        check("- decolorize: {}", "plain", "0 {} plain");
    }
}
