//! What one template may take: depth, steps, bytes.
//!
//! Steps are counted by the executor (nodes, iterations) and by functions (bytes they read and write), so that no
//! template runs for long, whatever it repeats.

/// Bytes of one execution's output: sixteen times Loki's longest line; stops `repeat 1000000000`.
pub(super) const OUTPUT_BYTES_MAX: usize = 4 << 20;
/// Bytes of one value.
pub(super) const TEXT_BYTES_MAX: usize = OUTPUT_BYTES_MAX;
/// Items of one list that a function makes: `until 1000000000` would fill the memory.
pub(super) const LIST_ITEMS_MAX: usize = 100_000;
/// Steps of one execution: real templates take some hundreds; this many take well under a second.
const STEPS_MAX: usize = 1_000_000;
/// Bytes that a function may read or write for one step.
const BYTES_PER_STEP: usize = 16;
/// Actions and parentheses inside each other, in a text; Go has no bound for actions and 10,000 for parentheses.
pub(super) const NESTING_MAX: usize = 64;
/// Templates that call each other; Go allows 100,000.
pub(super) const TEMPLATE_DEPTH_MAX: usize = 100;
/// Actions, parentheses and templates that are being executed at once.
pub(super) const EXECUTION_DEPTH_MAX: usize = 200;
/// Lists and maps inside each other.
pub(super) const VALUE_DEPTH_MAX: usize = 200;

/// A limit that an execution ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum LimitError {
    #[error("template takes more than {STEPS_MAX} steps")]
    Steps,
    #[error("output is longer than {OUTPUT_BYTES_MAX} bytes")]
    Output,
    #[error("text is longer than {TEXT_BYTES_MAX} bytes")]
    Text,
    #[error("list has more than {LIST_ITEMS_MAX} items")]
    Items,
    #[error("value is nested deeper than {VALUE_DEPTH_MAX}")]
    ValueDepth,
}

/// What is left of an execution's steps.
#[derive(Debug)]
pub(super) struct Budget {
    steps_left: usize,
}

impl Budget {
    pub(super) fn new() -> Self {
        Budget { steps_left: STEPS_MAX }
    }

    #[inline]
    pub(super) fn charge(&mut self, steps: usize) -> Result<(), LimitError> {
        self.steps_left = self.steps_left.checked_sub(steps).ok_or(LimitError::Steps)?;
        Ok(())
    }

    #[inline]
    pub(super) fn charge_bytes(&mut self, bytes: usize) -> Result<(), LimitError> {
        self.charge(bytes / BYTES_PER_STEP)
    }
}
