//! The rebase token: of those who write where identifiers have become deep, one makes room, and the others wait for it.
//!
//! It saves double work and is no lock: rebases commute, and whoever cannot wait makes one without. The room asks the region's bus
//! for it, so that the rooms of several relays have one between them; another region has its own. It comes back when every
//! session here has been sent what its holder moved, when the holder leaves, and by time.

use selvedge_engine::{Delta, Op, SiteId};
use selvedge_protocol::Instant;
use selvedge_protocol::message::RebaseAnswer;

use super::Room;
use super::event::{RoomEffect, SessionKey};

/// When who did not get it asks again, in milliseconds: the holder has mostly written its next character by then.
const AGAIN_MS: u64 = 500;

/// Where the token is, as far as this room knows.
#[derive(Debug, Default)]
pub(super) enum Token {
    #[default]
    Free,
    /// The region is asked for it.
    Asking,
    /// This session has it.
    Held {
        key: SessionKey,
        until: Instant,
        /// What it has moved: everything of this site up to this counter.
        rebased: Option<(SiteId, u64)>,
    },
}

impl Room {
    /// A session asks for the token. Each asking is answered once.
    pub(super) fn rebase_ask(&mut self, key: SessionKey, now: Instant) {
        let Some(member) = self.members.get(&key) else { return };
        let is_free = match &self.token {
            Token::Free => true,
            // One question to the region at a time, however often clients ask.
            Token::Asking => false,
            Token::Held { key: holder, until, .. } => *holder == key || *until <= now,
        };
        if !is_free || !member.rights.may_write() || self.ready().is_none() {
            return self.send(key, RebaseAnswer { granted: false, for_ms: AGAIN_MS });
        }
        self.token = Token::Asking;
        self.effects.push_back(RoomEffect::TakeToken { key, for_ms: self.setup.config.rebase_token_ms });
    }

    /// The region has answered whether the session has the token.
    pub(super) fn token_taken(&mut self, key: SessionKey, taken: bool, now: Instant) {
        self.token = Token::Free;
        let for_ms = self.setup.config.rebase_token_ms;
        match taken {
            true if !self.members.contains_key(&key) => self.effects.push_back(RoomEffect::GiveToken { key }),
            true => {
                self.token = Token::Held { key, until: now.after(for_ms), rebased: None };
                self.send(key, RebaseAnswer { granted: true, for_ms });
            }
            false if self.members.contains_key(&key) => {
                self.send(key, RebaseAnswer { granted: false, for_ms: AGAIN_MS });
            }
            false => {}
        }
    }

    /// A session's delta goes into the log: if it is the holder's and moves something, the token has done its work with it.
    pub(super) fn note_rebase(&mut self, by: SessionKey, delta: &Delta) {
        if let Token::Held { key, rebased, .. } = &mut self.token
            && *key == by
            && delta.ops.iter().any(|op| matches!(op, Op::Rebase(_)))
        {
            *rebased = Some((delta.site, delta.last()));
        }
    }

    /// Gives the token back once everybody here has been sent what its holder moved: who gets it next builds on that.
    pub(super) fn give_token(&mut self) {
        if let Token::Held { key, rebased: Some((site, last)), .. } = self.token
            && self.sent.get(site) >= last
        {
            self.free_token(key);
        }
    }

    /// A session is gone, and with it its token.
    pub(super) fn forget_holder(&mut self, gone: SessionKey) {
        if let Token::Held { key, .. } = self.token
            && key == gone
        {
            self.free_token(key);
        }
    }

    fn free_token(&mut self, key: SessionKey) {
        self.token = Token::Free;
        self.effects.push_back(RoomEffect::GiveToken { key });
    }
}
