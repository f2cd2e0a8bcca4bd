//! What the server used, as the kernel counts it.

use crate::AnyError;

/// The kernel's clock ticks a second: 100 wherever Linux runs.
const TICKS_A_SECOND: f64 = 100.0;

pub struct Process {
    /// 0: unknown, everything is 0.
    pub pid: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Used {
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
    pub peak_bytes: u64,
}

impl Process {
    pub fn used(&self) -> Result<Used, AnyError> {
        if self.pid == 0 {
            return Ok(Used::default());
        }
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", self.pid));
        let stat = read("stat")?;
        // The name may have spaces; what follows its parenthesis has none.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        let status = read("status")?;
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        Ok(Used {
            cpu_seconds: (ticks(11) + ticks(12)) / TICKS_A_SECOND,
            resident_bytes: kilobytes("VmRSS:") * 1024,
            peak_bytes: kilobytes("VmHWM:") * 1024,
        })
    }
}

impl Used {
    /// CPU since then, memory now.
    pub fn since(&self, before: &Used) -> Used {
        Used { cpu_seconds: self.cpu_seconds - before.cpu_seconds, ..self.clone() }
    }
}
