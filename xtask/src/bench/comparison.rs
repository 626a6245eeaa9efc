//! Each of our figures beside the best a peer has.

use serde_json::{Value, json};

use super::rows::Row;

/// Ours, in the column `subject`.
const OURS: &str = "selvedge";
/// What no peer is: something bare that shows what the machine can do.
const REFERENCE: &str = "reference-";
/// Figures of ours that a peer may also answer with a smaller form that gives something up: we are held to that one.
const ALSO: [(&str, &str); 1] = [("emptied_bytes", "emptied_shallow_bytes")];

/// One figure of ours and the best peer's.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Comparison {
    pub(super) case: String,
    pub(super) figure: String,
    pub(super) unit: String,
    pub(super) ours: f64,
    /// Who is best among the peers, and with what.
    pub(super) peer: String,
    pub(super) best: f64,
    /// Below 1 we are ahead, whichever way the figure is better.
    pub(super) ratio: f64,
}

impl Comparison {
    pub(super) fn is_behind(&self) -> bool {
        self.ratio >= 1.0
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "case": self.case,
            "figure": self.figure,
            "unit": self.unit,
            "selvedge": self.ours,
            "peer": self.peer,
            "best": self.best,
            "ratio": self.ratio,
        })
    }
}

/// Every figure of ours that a peer has too, in the order of the rows. What was not verified counts for nobody.
pub(super) fn compare(rows: &[Row]) -> Vec<Comparison> {
    let ours = rows.iter().filter(|row| row.subject == OURS && row.verified);
    ours.filter_map(|own| {
        let best =
            rows.iter().filter(|row| answers(row, own)).min_by(|a, b| ratio(b, own).total_cmp(&ratio(a, own)))?;
        Some(Comparison {
            case: own.case.clone(),
            figure: own.figure.clone(),
            unit: own.unit.clone(),
            ours: own.value,
            peer: best.subject.clone(),
            best: best.value,
            ratio: ratio(best, own),
        })
    })
    .collect()
}

/// Whether a row is a peer's answer to what `own` was asked.
fn answers(row: &Row, own: &Row) -> bool {
    let same = row.figure == own.figure || ALSO.contains(&(own.figure.as_str(), row.figure.as_str()));
    let peer = row.subject != OURS && !row.subject.starts_with(REFERENCE);
    same && peer && row.verified && (&row.suite, &row.case) == (&own.suite, &own.case)
}

fn ratio(peer: &Row, own: &Row) -> f64 {
    if own.figure.ends_with("_per_s") { peer.value / own.value } else { own.value / peer.value }
}

#[cfg(test)]
mod tests {
    use super::compare;
    use crate::bench::rows::Row;

    fn row(subject: &str, figure: &str, value: f64) -> Row {
        Row {
            suite: "engine".into(),
            case: "paste".into(),
            subject: subject.into(),
            figure: figure.into(),
            value,
            unit: "ms".into(),
            runs: 5,
            verified: true,
        }
    }

    #[test]
    fn the_best_peer_is_found() {
        let wrong = Row { verified: false, ..row("c", "time", 0.1) };
        let rows = [
            row("selvedge", "time", 2.0),
            row("a", "time", 8.0),
            row("b", "time", 4.0),
            wrong,
            row("reference-copy", "time", 0.5),
            row("selvedge", "edits_per_s", 10.0),
            row("a", "edits_per_s", 20.0),
            row("b", "edits_per_s", 5.0),
            row("selvedge", "emptied_bytes", 50.0),
            row("a", "emptied_bytes", 500.0),
            row("a", "emptied_shallow_bytes", 100.0),
            row("selvedge", "heap", 1.0),
            row("a", "shallow_bytes", 1.0),
        ];
        let found = compare(&rows);
        let short: Vec<_> = found.iter().map(|c| (c.figure.as_str(), c.peer.as_str(), c.best, c.ratio)).collect();
        let expected = [("time", "b", 4.0, 0.5), ("edits_per_s", "a", 20.0, 2.0), ("emptied_bytes", "a", 100.0, 0.5)];
        assert_eq!(short, expected);
        assert_eq!(found.iter().filter(|c| c.is_behind()).count(), 1);
    }
}
