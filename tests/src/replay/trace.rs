//! Recorded editing sessions, read from the two public formats.
//!
//! Sequential: `{startContent, endContent, txns: [{patches}]}`, one writer. Concurrent: `{kind: "concurrent", endContent,
//! numAgents, txns: [{parents, agent, patches}]}`, where a transaction's positions refer to the text made by exactly the
//! transactions in its past: its parents and theirs. A patch is `[position, deleted, inserted]`, in Unicode scalars.
//! Both may be gzipped.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Bytes of a recording, unpacked: so that a file that unpacks without end is refused.
const RECORDING_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// People in one recording.
const AGENTS_MAX: usize = 64;

/// A recorded session, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The text before the first transaction.
    pub start: String,
    /// The text after the last one, as its recorder merged it.
    pub end: String,
    /// People, at least one.
    pub agents: usize,
    /// In an order in which every transaction comes after its past.
    pub transactions: Vec<Transaction>,
}

/// What one person did at one causal point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Who, below [`Trace::agents`].
    pub agent: usize,
    /// How many of each agent's transactions are in its past. Its own agent's are all those before it.
    pub past: Vec<usize>,
    /// What, in order.
    pub patches: Vec<Patch>,
}

/// One replacement, in Unicode scalars.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "(usize, usize, String)")]
pub struct Patch {
    /// Where.
    pub at: usize,
    /// How many scalars go.
    pub delete: usize,
    /// What comes.
    pub insert: String,
}

impl From<(usize, usize, String)> for Patch {
    fn from((at, delete, insert): (usize, usize, String)) -> Self {
        Self { at, delete, insert }
    }
}

/// Why a file is no recording that can be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// It cannot be read.
    #[error("{}: {source}; name a recording, *.json or *.json.gz", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no JSON of one of the two forms.
    #[error("{}: no recording: {source}; it needs endContent and txns (see the public editing-traces format)", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is missing, and where.
        source: serde_json::Error,
    },
    /// One transaction contradicts the others.
    #[error("{}: transaction {index}: {problem}", path.display())]
    Transaction {
        /// The file.
        path: PathBuf,
        /// Which, from 0.
        index: usize,
        /// How.
        problem: String,
    },
    /// The whole contradicts itself.
    #[error("{}: {problem}", path.display())]
    Whole {
        /// The file.
        path: PathBuf,
        /// How.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    kind: Option<String>,
    #[serde(default)]
    start_content: String,
    end_content: String,
    num_agents: Option<usize>,
    txns: Vec<FileTransaction>,
}

#[derive(Deserialize)]
struct FileTransaction {
    parents: Option<Vec<usize>>,
    agent: Option<usize>,
    patches: Vec<Patch>,
}

impl Trace {
    /// Reads and checks a recording.
    ///
    /// # Errors
    /// [`TraceError`] names the file, the transaction and the problem.
    pub fn read(path: &Path) -> Result<Self, TraceError> {
        let unreadable = |source| TraceError::Unreadable { path: path.to_owned(), source };
        let bytes = unpacked(path).map_err(unreadable)?;
        Self::parse(&bytes, path)
    }

    /// As [`Trace::read`], of bytes at hand; `path` is for the errors.
    ///
    /// # Errors
    /// As [`Trace::read`].
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, TraceError> {
        let form = |source| TraceError::Form { path: path.to_owned(), source };
        let file: File = serde_json::from_slice(bytes).map_err(form)?;
        let whole = |problem: String| TraceError::Whole { path: path.to_owned(), problem };
        let concurrent = match file.kind.as_deref() {
            Some("concurrent") => true,
            None | Some("sequential") => false,
            Some(other) => return Err(whole(format!("kind {other:?} is neither sequential nor concurrent"))),
        };
        let agents = if concurrent { file.num_agents.unwrap_or(1) } else { 1 };
        if agents == 0 || agents > AGENTS_MAX {
            return Err(whole(format!("numAgents is {agents}: replay takes 1 to {AGENTS_MAX}")));
        }
        let mut made = vec![0; agents];
        let mut pasts: Vec<Vec<usize>> = Vec::with_capacity(file.txns.len());
        let mut transactions = Vec::with_capacity(file.txns.len());
        for (index, transaction) in file.txns.into_iter().enumerate() {
            let wrong = |problem: String| TraceError::Transaction { path: path.to_owned(), index, problem };
            let agent = if concurrent { transaction.agent.unwrap_or(0) } else { 0 };
            if agent >= agents {
                return Err(wrong(format!("agent {agent} of {agents}")));
            }
            let past = if concurrent {
                let parents = transaction.parents.ok_or_else(|| wrong("it has no parents".to_owned()))?;
                past_of(&parents, &pasts, agents).map_err(wrong)?
            } else {
                vec![index]
            };
            if past[agent] != made[agent] {
                let problem =
                    format!("its past has {} of its agent's {} transactions before it", past[agent], made[agent]);
                return Err(wrong(problem));
            }
            made[agent] += 1;
            let mut with_it = past.clone();
            with_it[agent] += 1;
            pasts.push(with_it);
            transactions.push(Transaction { agent, past, patches: transaction.patches });
        }
        Ok(Self { start: file.start_content, end: file.end_content, agents, transactions })
    }

    /// How many transactions each agent made.
    #[must_use]
    pub fn made(&self) -> Vec<usize> {
        let mut made = vec![0; self.agents];
        for transaction in &self.transactions {
            made[transaction.agent] += 1;
        }
        made
    }
}

fn past_of(parents: &[usize], pasts: &[Vec<usize>], agents: usize) -> Result<Vec<usize>, String> {
    let mut past = vec![0; agents];
    for parent in parents {
        let of_parent = pasts.get(*parent).ok_or_else(|| format!("its parent {parent} does not come before it"))?;
        for (mine, theirs) in past.iter_mut().zip(of_parent) {
            *mine = (*mine).max(*theirs);
        }
    }
    Ok(past)
}

fn unpacked(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(RECORDING_BYTES_MAX).read_to_end(&mut bytes)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = Vec::new();
        flate2::read::MultiGzDecoder::new(&bytes[..]).take(RECORDING_BYTES_MAX).read_to_end(&mut unpacked)?;
        bytes = unpacked;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Trace, String> {
        Trace::parse(text.as_bytes(), Path::new("file.json")).map_err(|error| error.to_string())
    }

    #[test]
    fn both_formats_are_read() {
        let sequential = parse(
            r#"{"startContent": "a", "endContent": "abc", "txns": [{"time": "", "patches": [[1, 0, "b"], [2, 0, "c"]]}]}"#,
        )
        .unwrap();
        assert_eq!((sequential.agents, sequential.start.as_str()), (1, "a"));
        assert_eq!(sequential.transactions[0].patches[1], Patch { at: 2, delete: 0, insert: "c".to_owned() });

        let concurrent = parse(
            r#"{"kind": "concurrent", "endContent": "xyz", "numAgents": 2, "txns": [
                {"parents": [], "agent": 0, "patches": [[0, 0, "x"]]},
                {"parents": [0], "agent": 1, "patches": [[1, 0, "y"]]},
                {"parents": [0], "agent": 0, "patches": [[1, 0, "z"]]},
                {"parents": [1, 2], "agent": 1, "patches": [[2, 1, ""]]}]}"#,
        )
        .unwrap();
        let pasts: Vec<_> = concurrent.transactions.iter().map(|transaction| transaction.past.clone()).collect();
        assert_eq!(pasts, [[0, 0], [1, 0], [1, 0], [2, 1]]);
        assert_eq!(concurrent.made(), [2, 2]);
    }

    #[test]
    fn a_broken_file_is_told_by_name_place_and_problem() {
        let check = |text: &str, told: &str| {
            let error = parse(text).expect_err("broken");
            assert!(error.contains("file.json") && error.contains(told), "{error}");
        };
        check("", "no recording");
        check("[1, 2", "no recording");
        check(r#"{"txns": []}"#, "endContent");
        check(r#"{"endContent": "", "txns": [{"patches": [[0, -1, ""]]}]}"#, "no recording");
        check(r#"{"kind": "other", "endContent": "", "txns": []}"#, "other");
        check(r#"{"kind": "concurrent", "numAgents": 0, "endContent": "", "txns": []}"#, "numAgents");
        let concurrent =
            |txns: &str| format!(r#"{{"kind": "concurrent", "numAgents": 2, "endContent": "", "txns": [{txns}]}}"#);
        check(&concurrent(r#"{"agent": 0, "patches": []}"#), "transaction 0: it has no parents");
        check(&concurrent(r#"{"parents": [], "agent": 2, "patches": []}"#), "agent 2");
        check(&concurrent(r#"{"parents": [0], "agent": 0, "patches": []}"#), "parent 0");
        let unlinked = r#"{"parents": [], "agent": 0, "patches": []}, {"parents": [], "agent": 0, "patches": []}"#;
        check(&concurrent(unlinked), "transaction 1: its past has 0");
        let missing = Trace::read(Path::new("no-such-file.json")).expect_err("missing").to_string();
        assert!(missing.contains("no-such-file.json"), "{missing}");
    }
}
