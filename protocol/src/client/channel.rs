//! A document's channel: opened on every new connection, closed by either side, left with the site given back.

use selvedge_engine::SiteKind;

use super::Context;
use super::effect::Effect;
use super::rebuild::Rebuild;
use super::replica::{Refusal, Replica};
use super::sync::{Phase, Session};
use crate::close::{CloseCode, Reaction};
use crate::message::{Bye, Closed, Open};

impl Replica {
    /// Opens the document on the connection in use.
    pub(super) fn open_channel(&mut self, cx: &mut Context<'_>) {
        self.reopen_at = None;
        if self.closed.is_some() || self.awaiting_token || self.closing {
            return;
        }
        let Some(wire) = cx.link.new_channel() else { return };
        self.seal(cx.now);
        self.session = Session::opening(wire, cx.link.features());
        if let Some(rebuild) = &mut self.rebuild {
            rebuild.begin(&mut self.outbox);
        }
        let rebuilding = self.rebuild.is_some();
        let mut outbox = self.outbox.announce();
        self.outbox.hold_seeds();
        if let Some(rebuild) = &self.rebuild {
            outbox.retain(|range| !rebuild.concerns(range.site));
        }
        self.frames.announce(&mut outbox);
        let base = self.frames.base(self.outbox.base(self.document.vector().clone()));
        let open = Open {
            document: self.id.as_str().into(),
            generation: self.generation,
            position: self.position.filter(|_| !rebuilding),
            vector_hash: if rebuilding { 0 } else { base.hash() },
            outbox,
            outbox_bytes: self.outbox.bytes(),
            token: self.token.clone(),
            wants_site: self.document.site().is_none() && self.lease.is_none(),
        };
        cx.link.send(wire, open);
    }

    /// The connection is gone.
    pub(super) fn disconnected(&mut self) {
        self.session = Session::default();
        self.presence.disconnected();
        self.reopen_at = None;
        self.saved_changed = true;
    }

    pub(super) fn channel_closed(&mut self, closed: Closed, cx: &mut Context<'_>) {
        let code = CloseCode(closed.code);
        self.disconnected();
        let reason = if closed.reason.is_empty() { code.sentence().into() } else { closed.reason };
        match code.reaction() {
            Reaction::Stop => {
                self.closed = Some(Refusal { code, message: reason.clone() });
                cx.effects.push_back(Effect::Closed { channel: self.handle, code, reason });
            }
            Reaction::AskToken => {
                self.awaiting_token = true;
                cx.effects.push_back(Effect::TokenNeeded { channel: Some(self.handle) });
            }
            Reaction::Restart if closed.generation != 0 && closed.generation != self.generation => {
                self.reset(closed.generation, cx);
                self.open_channel(cx);
            }
            Reaction::Restart => {
                let sites: Vec<_> = self.outbox.iter().map(|(site, _)| (site, 1)).collect();
                self.begin_rebuild(Rebuild::restamp(sites));
                self.reopen_at = Some(cx.now.after(self.backoff.fail()));
            }
            Reaction::Resync => self.open_channel(cx),
            Reaction::Retry | Reaction::Follow => {
                let wait = self.backoff.fail().max(closed.retry_after_ms);
                self.reopen_at = Some(cx.now.after(wait));
            }
        }
    }

    /// Leaves the channel, giving the site back where everything is acknowledged at the highest level.
    pub(super) fn leave_channel(&mut self, cx: &mut Context<'_>) {
        let Some(wire) = self.session.wire else { return };
        let bye = if self.closing { self.release() } else { Bye::default() };
        cx.link.send(wire, bye);
        self.disconnected();
    }

    fn release(&mut self) -> Bye {
        if self.session.phase != Phase::Live || !self.outbox.is_empty() || self.document.has_unsealed() {
            return Bye::default();
        }
        let leased = self.document.site().filter(|site| matches!(site.kind(), SiteKind::Leased { .. }));
        if let Some(site) = leased {
            return Bye { site: Some(site), counter: self.document.vector().get(site) };
        }
        match self.lease.take() {
            Some(lease) => Bye { site: Some(lease.site), counter: lease.next_counter - 1 },
            None => Bye::default(),
        }
    }

    /// A new token for this document.
    pub(super) fn provide_token(&mut self, token: Option<String>, cx: &mut Context<'_>) {
        let same = self.token == token;
        self.token = token;
        if std::mem::take(&mut self.awaiting_token) {
            if same || self.token.is_none() {
                let (code, reason) = (CloseCode::TOKEN, CloseCode::TOKEN.sentence().to_owned());
                self.closed = Some(Refusal { code, message: reason.clone() });
                cx.effects.push_back(Effect::Closed { channel: self.handle, code, reason });
            } else if cx.link.is_up() {
                self.open_channel(cx);
            }
        } else if let (Some(wire), Some(token)) = (self.session.wire, self.token.clone()) {
            cx.link.send(wire, crate::message::Token { token });
        }
    }
}
