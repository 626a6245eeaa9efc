//! The engines under comparison, behind one trait.

mod automerge;
mod cola;
mod diamond;
mod loro;
mod selvedge;
mod yrs;

use crate::messages::Messages;
use crate::trace::Edit;

pub use self::automerge::Automerge;
pub use self::cola::Cola;
pub use self::diamond::Diamond;
pub use self::loro::Loro;
pub use self::selvedge::Selvedge;
pub use self::yrs::Yrs;

/// One replica of one engine. Every engine gets positions in the measure it is fastest with.
pub trait Subject: Sized {
    const NAME: &'static str;

    /// An empty replica with an identity of its own.
    fn new(site: u64) -> Self;
    /// Applies a local edit; nothing need be ready to send.
    fn edit(&mut self, edit: &Edit);
    /// Applies a local edit and adds what goes to the others, each message standing alone.
    fn edit_emitting(&mut self, edit: &Edit, out: &mut Messages);
    /// Bytes of these messages on one connection, in the shortest form the engine has for that.
    fn messages_bytes(messages: &Messages) -> usize {
        messages.bytes()
    }
    /// Applies another replica's message.
    fn integrate(&mut self, message: &[u8]);
    fn text(&self) -> String;

    /// Everything since the beginning, as one message for a replica that has nothing.
    fn bulk(&mut self) -> Vec<u8>;
    fn integrate_bulk(&mut self, bytes: &[u8]);
    /// A document that merges with anyone, ever.
    fn save(&mut self) -> Vec<u8>;
    fn load(bytes: &[u8], site: u64) -> Self;
    /// A smaller form that gives up merging with some, where the engine has one.
    fn save_shallow(&mut self) -> Option<Vec<u8>> {
        None
    }
}
