//! What is run on arbitrary bytes: every decoder that reads bytes of strangers, and histories against the naive model.
//!
//! Each target is a function of bytes that panics where something is wrong. cargo-fuzz calls it (`fuzz_targets/`), and so
//! do tests of `protocol`, `region` and `client`, which replay what is kept in `corpus/` in the test command. Beside panics a
//! target finds what decodes and is not canonical, what does not come back, and what claims more memory than its input
//! entitles it to. `README.md` says how to run them.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests may")]

mod allocation;
mod downstream;
mod engine;
mod history;
#[path = "../../engine/tests/model/mod.rs"]
mod model;
mod protocol;
mod script;

pub use downstream::{Heard, downstream, run_downstream};
pub use engine::{anchor, delta, inflate, keystroke, snapshot, state_diff, vector};
pub use history::{Reached, history, run_history};
pub use protocol::{connection, endpoint_list, frames, messages, names, run_connection, stream};

/// A target: its name, that of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All of them but those of `region.rs` and `client.rs`.
pub const TARGETS: [Target; 15] = [
    ("anchor", anchor),
    ("connection", connection),
    ("delta", delta),
    ("downstream", downstream),
    ("endpoint_list", endpoint_list),
    ("frames", frames),
    ("history", history),
    ("inflate", inflate),
    ("keystroke", keystroke),
    ("messages", messages),
    ("names", names),
    ("snapshot", snapshot),
    ("state_diff", state_diff),
    ("stream", stream),
    ("vector", vector),
];

/// Keys for lists of endpoints. No signature by them is ever looked at here: that is the shell's.
fn list_key(last: u8) -> selvedge_protocol::ListKey {
    let mut point = [4; 65];
    point[64] = last;
    selvedge_protocol::ListKey::from_point(&point).unwrap()
}
