//! How much processor time the parts of a deployment take: which one is at its end.

use std::collections::BTreeMap;

/// The kernel's ticks a second, as it tells processes; the same on every Linux.
const TICKS_PER_S: f64 = 100.0;

/// Processor seconds that each named process has used so far, its ended children included.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Processors(BTreeMap<String, f64>);

impl Processors {
    /// Reads them now; a process that is gone is left out.
    #[must_use]
    pub fn read(processes: &[(String, u32)]) -> Self {
        let used = processes.iter().filter_map(|(name, process)| Some((name.clone(), used(*process)?)));
        Self(used.collect())
    }

    /// Cores used on the average since an earlier reading, by process, greatest first.
    #[must_use]
    pub fn since(&self, earlier: &Self, seconds: f64) -> Vec<(String, f64)> {
        let cores = |(name, used): (&String, &f64)| {
            let before = earlier.0.get(name).copied().unwrap_or(0.0);
            (name.clone(), (used - before) / seconds)
        };
        let mut shares: Vec<(String, f64)> = self.0.iter().map(cores).collect();
        shares.sort_by(|(_, left), (_, right)| right.total_cmp(left));
        shares
    }
}

/// Processor seconds that the machine has used so far, whoever used them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine(f64);

impl Machine {
    /// Reads them now; `None` where the system does not tell.
    #[must_use]
    pub fn read() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        let all = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<f64> = all.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        // User, nice, system, then idle and waiting for disks, then interrupts and what a host took away.
        let busy = [0, 1, 2, 5, 6, 7].into_iter().filter_map(|field| ticks.get(field)).sum::<f64>();
        Some(Self(busy / TICKS_PER_S))
    }

    /// Cores used on the average since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self, seconds: f64) -> f64 {
        (self.0 - earlier.0) / seconds
    }
}

fn used(process: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold anything; the 14th to 17th are times of user and system,
    // own and of children.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: Option<f64> = fields.split(' ').skip(11).take(4).map(|field| field.parse::<f64>().ok()).sum();
    Some(ticks? / TICKS_PER_S)
}

#[cfg(test)]
mod tests {
    use super::{Machine, Processors};

    #[test]
    fn work_is_seen() {
        let own = [("own".to_owned(), std::process::id()), ("nobody".to_owned(), u32::MAX)];
        let (before, machine) = (Processors::read(&own), Machine::read().unwrap());
        let began = std::time::Instant::now();
        let mut sum = 0_u64;
        loop {
            sum = sum.wrapping_mul(31).wrapping_add(std::hint::black_box(7));
            let after = Processors::read(&own);
            let shares = after.since(&before, began.elapsed().as_secs_f64());
            assert_eq!(shares.len(), 1, "{sum}");
            // The machine's ticks are counted apart from a process's, and may come later.
            let all = Machine::read().unwrap().since(machine, began.elapsed().as_secs_f64());
            if shares[0].1 > 0.0 && all > 0.0 {
                return;
            }
            assert!(began.elapsed().as_secs() < 60, "{shares:?} {all}");
        }
    }
}
