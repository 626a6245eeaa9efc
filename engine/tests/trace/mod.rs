//! Reads sequential traces: `{"startContent": "", "endContent": "...", "txns": [{"patches": [[at, delete, "text"], ...]}, ...]}`; and
//! concurrent ones: `{"kind": "concurrent", "numAgents": n, "txns": [{"parents": [...], "agent": i, "patches": ...}, ...]}`, where positions
//! are those of the text made by the parents and all before them.
#![allow(dead_code, reason = "each test file uses its part")]

/// One patch, its positions in UTF-16 units; in scalars where there are several writers.
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
            edits.extend(patches(transaction)?);
        }
        Some(Self { edits, end })
    }
}

fn patches(transaction: &serde_json::Value) -> Option<Vec<Edit>> {
    let edit = |patch: &serde_json::Value| {
        let number = |index: usize| patch.get(index)?.as_u64().map(|number| number as usize);
        Some(Edit { at: number(0)?, delete: number(1)?, insert: patch.get(2)?.as_str()?.to_owned() })
    };
    transaction.get("patches")?.as_array()?.iter().map(edit).collect()
}

/// A session of several writers.
#[derive(Debug)]
pub(crate) struct Concurrent {
    pub(crate) writers: usize,
    /// Each after all in its past.
    pub(crate) transactions: Vec<Transaction>,
    pub(crate) end: String,
}

#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) writer: usize,
    /// How many transactions of each writer its own had seen.
    pub(crate) past: Vec<usize>,
    pub(crate) edits: Vec<Edit>,
}

impl Concurrent {
    /// `None` if the file is a trace of one writer, or none.
    pub(crate) fn read(json: &str) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_str(json).ok()?;
        if value.get("kind")? != "concurrent" {
            return None;
        }
        let end = value.get("endContent")?.as_str()?.to_owned();
        let writers = value.get("numAgents")?.as_u64()? as usize;
        let mut transactions: Vec<Transaction> = Vec::new();
        for transaction in value.get("txns")?.as_array()? {
            let writer = transaction.get("agent")?.as_u64()? as usize;
            let mut past = vec![0; writers];
            for parent in transaction.get("parents")?.as_array()? {
                let parent = &transactions[parent.as_u64()? as usize];
                past.iter_mut().zip(&parent.past).for_each(|(mine, theirs)| *mine = (*mine).max(*theirs));
                past[parent.writer] = past[parent.writer].max(parent.past[parent.writer] + 1);
            }
            transactions.push(Transaction { writer, past, edits: patches(transaction)? });
        }
        Some(Self { writers, transactions, end })
    }
}
