//! Recorded editing sessions, in the two public formats, with every position in three measures.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use crop::Rope;
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

/// Reads a `.json` or `.json.gz` recording.
pub fn read(path: &Path) -> Result<Trace> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("trace");
    let name = name.trim_end_matches(".gz").trim_end_matches(".json").to_string();
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
        let transactions = file
            .txns
            .into_iter()
            .map(|t| Transaction { parents: t.parents, author: t.agent, patches: t.patches })
            .collect();
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

/// Gives every position its three measures by replaying on a plain rope.
pub fn measure(name: String, patches: Vec<(usize, usize, String)>, end: String) -> Result<Sequential> {
    let mut rope = Rope::new();
    let mut ascii = true;
    let mut edits = Vec::with_capacity(patches.len());
    for (at, delete, insert) in patches {
        let (from, to) = if ascii {
            (at, at + delete)
        } else {
            let text = rope.to_string();
            let offset = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(i, _)| i);
            (offset(at), offset(at + delete))
        };
        // Counted by hand: the rope's own UTF-16 measure is wrong on some long texts.
        let utf16 = if ascii {
            (from, to)
        } else {
            let text = rope.to_string();
            let units = |bytes: usize| text[..bytes].encode_utf16().count();
            (units(from), units(to))
        };
        edits.push(Edit {
            scalars: Span { at, delete },
            utf16: Span { at: utf16.0, delete: utf16.1 - utf16.0 },
            bytes: Span { at: from, delete: to - from },
            insert: insert.clone(),
        });
        ascii &= insert.is_ascii();
        rope.replace(from..to, insert);
    }
    ensure!(rope.to_string() == end, "{name}: the recording does not lead to its own end content");
    Ok(Sequential { name, edits, end })
}
