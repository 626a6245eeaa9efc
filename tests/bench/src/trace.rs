//! Recorded editing sessions, in the two public formats, with every position in three measures.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use ropey::Rope;
use serde::Deserialize;

/// One change of one person: `delete` characters at `at` go, `insert` comes.
#[derive(Clone, Debug)]
pub struct Edit {
    /// Where, and how much goes, in Unicode scalars, UTF-16 units and bytes.
    pub scalars: Span,
    pub utf16: Span,
    pub bytes: Span,
    /// What comes.
    pub insert: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub at: usize,
    pub delete: usize,
}

/// A session of one person, or one person's view of it: edits in order, and the text they end in.
pub struct Sequential {
    pub name: String,
    pub edits: Vec<Edit>,
    pub end: String,
}

/// A session of several people: each transaction names those its author had seen.
pub struct Concurrent {
    pub name: String,
    pub authors: usize,
    pub transactions: Vec<Transaction>,
    /// The text it ends in, where that does not depend on who orders it.
    pub end: Option<String>,
}

pub struct Transaction {
    pub parents: Vec<usize>,
    pub author: usize,
    pub patches: Vec<(usize, usize, String)>,
}

pub enum Trace {
    Sequential(Sequential),
    Concurrent(Concurrent),
}

impl Trace {
    pub fn name(&self) -> &str {
        match self {
            Self::Sequential(trace) => &trace.name,
            Self::Concurrent(trace) => &trace.name,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File_ {
    kind: Option<String>,
    #[serde(default)]
    start_content: String,
    end_content: String,
    #[serde(default)]
    num_agents: usize,
    txns: Vec<Txn>,
}

#[derive(Deserialize)]
struct Txn {
    #[serde(default)]
    parents: Vec<usize>,
    #[serde(default)]
    agent: usize,
    patches: Vec<(usize, usize, String)>,
}

/// What a recording is called.
pub fn name(path: &Path) -> String {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("trace");
    name.trim_end_matches(".gz").trim_end_matches(".json").to_owned()
}

/// Reads a `.json` or `.json.gz` recording.
pub fn read(path: &Path) -> Result<Trace> {
    let name = name(path);
    let mut json = Vec::new();
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    if path.extension().is_some_and(|e| e == "gz") {
        flate2::read::GzDecoder::new(file).read_to_end(&mut json)
    } else {
        file.read_to_end(&mut json)
    }
    .with_context(|| format!("read {}", path.display()))?;
    let file: File_ =
        serde_json::from_slice(&json).with_context(|| format!("{} is not a recording", path.display()))?;
    if file.kind.as_deref() == Some("concurrent") {
        let inserts = file.txns.iter().flat_map(|transaction| &transaction.patches).map(|(_, _, insert)| insert);
        // Where two wrote at one place, engines order it differently: other bytes stand before a position then.
        ensure!(
            inserts.chain([&file.start_content]).all(|text| text.is_ascii()),
            "{name}: a recording of several people must be ASCII: its positions cannot be told to every engine"
        );
        let mut transactions = file
            .txns
            .into_iter()
            .map(|t| Transaction { parents: t.parents, author: t.agent, patches: t.patches })
            .collect();
        if !file.start_content.is_empty() {
            begin(&mut transactions, file.start_content);
        }
        return Ok(Trace::Concurrent(Concurrent {
            name,
            authors: file.num_agents,
            transactions,
            end: Some(file.end_content),
        }));
    }
    let mut patches = file.txns.into_iter().flat_map(|t| t.patches).collect::<Vec<_>>();
    if !file.start_content.is_empty() {
        patches.insert(0, (0, 0, file.start_content));
    }
    let trace = measure(name, patches, file.end_content)?;
    Ok(Trace::Sequential(trace))
}

/// Puts a transaction with the text that everybody began with before all the others.
fn begin(transactions: &mut Vec<Transaction>, start: String) {
    for transaction in &mut *transactions {
        transaction.parents.iter_mut().for_each(|parent| *parent += 1);
        if transaction.parents.is_empty() {
            transaction.parents.push(0);
        }
    }
    transactions.insert(0, Transaction { parents: Vec::new(), author: 0, patches: vec![(0, 0, start)] });
}

/// Gives every position its three measures by replaying on a plain rope that counts in each of them.
pub fn measure(name: String, patches: Vec<(usize, usize, String)>, end: String) -> Result<Sequential> {
    let mut rope = Rope::new();
    let mut edits = Vec::with_capacity(patches.len());
    for (at, delete, insert) in patches {
        let length = rope.len_chars();
        ensure!(at <= length && delete <= length - at, "{name}: an edit outside of the text, {at} of {length}");
        let span = |from: usize, to: usize| Span { at: from, delete: to - from };
        let end = at + delete;
        edits.push(Edit {
            scalars: Span { at, delete },
            utf16: span(rope.char_to_utf16_cu(at), rope.char_to_utf16_cu(end)),
            bytes: span(rope.char_to_byte(at), rope.char_to_byte(end)),
            insert: insert.clone(),
        });
        rope.remove(at..end);
        rope.insert(at, &insert);
    }
    ensure!(rope == end, "{name}: the recording does not lead to its own end content");
    Ok(Sequential { name, edits, end })
}
