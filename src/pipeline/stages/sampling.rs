//! `sampling`: one in so many entries goes on.
//!
//! ```yaml
//! - sampling: {rate: 0.25, drop_counter_reason: sampled_out}
//! ```
//! Each entry goes on with this probability, whatever came before.

use prometheus::IntCounterVec;
use serde_json::Value as Yaml;

use super::done;
use crate::pipeline::body::{Body, Typing};
use crate::pipeline::error::StageError;
use crate::pipeline::{Context, Entry, Stage, Tools};

struct Sampling {
    /// Of 2⁶³.
    boundary: u64,
    state: u64,
    reason: String,
    dropped: IntCounterVec,
}

pub(super) fn build(config: &Yaml, tools: &mut Tools<'_>) -> Result<Box<dyn Stage>, StageError> {
    let mut body = Body::new(config, Typing::Weak);
    let rate = body.number("rate").unwrap_or(0.0);
    let reason = body.text("drop_counter_reason").filter(|reason| !reason.is_empty());
    done("sampling", body, tools)?;
    if !(0.0..=1.0).contains(&rate) {
        return Err(StageError::new(format!(
            "sampling stage failed to parse rate,Sampling Rate must be between 0.0 and 1.0, received {rate:.6}"
        )));
    }
    Ok(Box::new(Sampling {
        boundary: (rate * (u64::MAX >> 1) as f64) as u64,
        state: tools.seed | 1,
        reason: reason.unwrap_or_else(|| "sampling_stage".to_owned()),
        dropped: tools.metrics.dropped_lines.clone(),
    }))
}

impl Sampling {
    /// xorshift64*: 63 bits.
    fn random(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 1
    }
}

impl Stage for Sampling {
    fn name(&self) -> &'static str {
        "sampling"
    }

    fn run(&mut self, batch: &mut Vec<Entry>, _context: &mut Context<'_>) {
        let before = batch.len();
        batch.retain(|_| self.random() <= self.boundary);
        let gone = (before - batch.len()) as u64;
        if gone > 0 {
            self.dropped.with_label_values(&[self.reason.as_str()]).inc_by(gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::testing::{check_error, lines_of};

    #[test]
    fn about_as_many_as_asked() {
        let kept = |rate: &str| lines_of(&format!("- sampling: {{rate: {rate}}}"), &["x"; 1000]).len();
        assert_eq!((kept("0"), kept("1")), (0, 1000));
        assert!((400..600).contains(&kept("0.5")));
        check_error(
            "- sampling: {rate: 12}",
            "invalid sampling stage config: sampling stage failed to parse rate,Sampling Rate must be between 0.0 and 1.0, received 12.000000",
        );
    }
}
