//! What the programs of a region count, asked of their metrics.

use crate::fleet::{RegionFleet, get};

/// Sums over a region's relays, and its replicator's counts, since their start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counters {
    /// Records that the log confirmed to relays.
    pub appended: f64,
    /// Appends, and the seconds they took together.
    pub appends: f64,
    /// See [`Counters::appends`].
    pub append_seconds: f64,
    /// Records that persist has read.
    pub read: f64,
    /// Writes to the op store, and the seconds they took together.
    pub writes: f64,
    /// See [`Counters::writes`].
    pub write_seconds: f64,
}

impl Counters {
    /// Asks all of them.
    ///
    /// # Errors
    /// When one does not answer.
    pub async fn read(region: &RegionFleet) -> anyhow::Result<Self> {
        let mut sum = Self::default();
        for admin in region.admins() {
            let text = get(&admin, "/metrics").await?;
            let relay = |name: &str| value(&text, &format!("selvedge_relay_{name}"));
            sum.appended += relay("records_total");
            sum.appends += relay("append_seconds_count");
            sum.append_seconds += relay("append_seconds_sum");
        }
        if region.replicator.is_some() {
            let text = get(&region.admin, "/metrics").await?;
            let persist = |name: &str| value(&text, &format!("selvedge_replicator_persist_{name}"));
            sum.read = persist("records_total");
            sum.writes = persist("write_seconds_count");
            sum.write_seconds = persist("write_seconds_sum");
        }
        Ok(sum)
    }

    /// What was counted since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            appended: self.appended - earlier.appended,
            appends: self.appends - earlier.appends,
            append_seconds: self.append_seconds - earlier.append_seconds,
            read: self.read - earlier.read,
            writes: self.writes - earlier.writes,
            write_seconds: self.write_seconds - earlier.write_seconds,
        }
    }

    /// The mean of an append, in milliseconds; 0 where there was none.
    #[must_use]
    pub fn append_ms(&self) -> f64 {
        mean_ms(self.append_seconds, self.appends)
    }

    /// The mean of a write to the op store, in milliseconds; 0 where there was none.
    #[must_use]
    pub fn write_ms(&self) -> f64 {
        mean_ms(self.write_seconds, self.writes)
    }
}

fn mean_ms(seconds: f64, count: f64) -> f64 {
    if count > 0.0 { 1_000.0 * seconds / count } else { 0.0 }
}

/// A metric's value, over all its labels; 0 where it is not told.
fn value(text: &str, name: &str) -> f64 {
    let of = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let rest = match rest.strip_prefix('{') {
            Some(labelled) => labelled.split_once('}')?.1,
            None => rest,
        };
        rest.strip_prefix(' ')?.split(' ').next()?.parse::<f64>().ok()
    };
    text.lines().filter_map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn metrics_are_read_by_their_whole_names() {
        let text =
            "# TYPE a counter\na_total 3\na_total_more 9\nb_total{code=\"1\"} 4\nb_total{code=\"2\"} 0.5\n# EOF\n";
        assert!((value(text, "a_total") - 3.0).abs() < f64::EPSILON);
        assert!((value(text, "b_total") - 4.5).abs() < f64::EPSILON);
        assert!(value(text, "c_total").abs() < f64::EPSILON);
    }
}
