//! Marks: pieces of text that are typed once each and recognised wherever they stand.
//!
//! ```text
//! <12.345>    client 12's mark number 345
//! ```

use std::fmt;

/// One mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// Who typed it: an index into [`super::History::writers`].
    pub client: u32,
    /// Its number among that client's, from 0.
    pub number: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}.{}>", self.client, self.number)
    }
}

/// The marks of a text in their order, and the first piece of it that is none.
///
/// Costs O(n), n = bytes of the text.
#[must_use]
pub fn marks(text: &str) -> (Vec<Mark>, Option<String>) {
    let (mut found, mut torn) = (Vec::new(), None);
    for piece in text.split_inclusive('>') {
        match parse(piece) {
            Some(mark) => found.push(mark),
            None => {
                torn.get_or_insert_with(|| piece.chars().take(40).collect());
            }
        }
    }
    (found, torn)
}

fn parse(piece: &str) -> Option<Mark> {
    let (client, number) = piece.strip_prefix('<')?.strip_suffix('>')?.split_once('.')?;
    let mark = Mark { client: client.parse().ok()?, number: number.parse().ok()? };
    // One mark is written in one way.
    (mark.to_string() == piece).then_some(mark)
}
