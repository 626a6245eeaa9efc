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
    use super::Processors;

    #[test]
    fn work_is_seen() {
        let own = [("own".to_owned(), std::process::id()), ("nobody".to_owned(), u32::MAX)];
        let before = Processors::read(&own);
        let began = std::time::Instant::now();
        let mut sum = 0_u64;
        loop {
            sum = sum.wrapping_mul(31).wrapping_add(std::hint::black_box(7));
            let after = Processors::read(&own);
            let shares = after.since(&before, began.elapsed().as_secs_f64());
            assert_eq!(shares.len(), 1, "{sum}");
            if shares[0].1 > 0.0 {
                return;
            }
            assert!(began.elapsed().as_secs() < 60);
        }
    }
}
