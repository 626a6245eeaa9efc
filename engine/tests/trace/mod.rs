//! Reads sequential traces: `{"startContent": "", "endContent": "...", "txns": [{"patches": [[at, delete, "text"], ...]}, ...]}`.

/// One patch, its positions in UTF-16 units.
#[derive(Debug)]
pub(crate) struct Edit {
    pub(crate) at: usize,
    pub(crate) delete: usize,
    pub(crate) insert: String,
}

#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) edits: Vec<Edit>,
    pub(crate) end: String,
}

impl Trace {
    /// `None` if the file is a trace of several writers, or none.
    pub(crate) fn read(json: &str) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_str(json).ok()?;
        if value.get("kind").is_some_and(|kind| kind == "concurrent") {
            return None;
        }
        let end = value.get("endContent")?.as_str()?.to_owned();
        let start = value.get("startContent").and_then(|start| start.as_str()).unwrap_or_default();
        // Positions count scalars; the traces in use have no others than those of one unit.
        let mut edits = vec![Edit { at: 0, delete: 0, insert: start.to_owned() }];
        for transaction in value.get("txns")?.as_array()? {
            for patch in transaction.get("patches")?.as_array()? {
                let number = |index: usize| patch.get(index)?.as_u64().map(|number| number as usize);
                let insert = patch.get(2)?.as_str()?.to_owned();
                edits.push(Edit { at: number(0)?, delete: number(1)?, insert });
            }
        }
        Some(Self { edits, end })
    }
}
