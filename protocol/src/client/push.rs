//! A document's outbox on its channel: what is sent when, and what acks, gaps and refusals do to it.

use selvedge_engine::{Delta, SiteId};

use super::Context;
use super::config::OutboxKey;
use super::effect::Effect;
use super::replica::{Refusal, Replica};
use super::sync::Phase;
use crate::close::CloseCode;
use crate::frame::{Channel, FRAME_CONTENT_BYTES_MAX};
use crate::level::{AckLevel, Instant};
use crate::message::{Ack, Gap, Push, Refused};

/// Most bytes of pushes that wait for the region's acknowledgement: memory of the socket and the room stays bounded.
pub const PUSH_WINDOW_BYTES: u64 = 256 * 1024;

impl Replica {
    pub(super) fn ack(&mut self, ack: Ack, cx: &mut Context<'_>) {
        self.acked(ack.site, ack.region, ack.replicated, cx.now);
        self.push_due(cx);
    }

    pub(super) fn acked(&mut self, site: SiteId, region: u64, replicated: u64, now: Instant) {
        if let Some(rebuild) = &mut self.rebuild {
            let of_site = self.outbox.iter().filter(|(of, _)| *of == site).map(|(_, entry)| entry);
            let fresh = of_site.filter(|entry| entry.acked < AckLevel::Region && entry.last <= region.max(replicated));
            rebuild.keep(fresh.map(|entry| entry.bytes.clone()));
        }
        let acked = self.outbox.ack(site, region, replicated, self.highest);
        self.saved_changed |= acked.changed;
        self.store.forget(acked.forgotten, now);
        self.store.rose(acked.risen);
        if acked.changed {
            self.growth_acked(site, region, now);
        }
        if self.frames.ack(site, region, replicated, self.highest) {
            self.store.state_changed(now);
        }
    }

    pub(super) fn gap(&mut self, gap: Gap, cx: &mut Context<'_>) {
        let kept = self.frames_gap(gap.site, gap.have, cx.now);
        let can_fill = self.outbox.rewind(gap.site, gap.have, cx.now);
        if can_fill {
            self.push_due(cx);
        } else if kept {
            // What fills the hole is due soon, among the frames kept.
        } else if !self.session.vector_sent {
            // What the server lacks is not in the outbox any more: it comes as state.
            self.send_vector(cx);
        }
    }

    /// Sends what may be sent.
    pub(super) fn push_due(&mut self, cx: &mut Context<'_>) {
        self.outbox.release_holds(cx.now);
        if !matches!(self.session.phase, Phase::Syncing | Phase::Live)
            || !self.rights.is_some_and(|rights| rights.may_write())
        {
            return;
        }
        if let Some(wire) = self.session.wire {
            self.push_to(wire, cx);
        }
    }

    // Apart from its caller, which is called for every edit, also where there is no relay.
    #[inline(never)]
    fn push_to(&mut self, wire: Channel, cx: &mut Context<'_>) {
        let mut buffer = Vec::new();
        for site in self.outbox.sites() {
            while let Some((key, last, length)) = self.next_push(site, cx.now) {
                let bytes = self.outbox.entry(key).map(|entry| entry.bytes.clone()).unwrap_or_default();
                self.outbox.note_sent(site, last, length);
                // Entries were sealed here or decoded when they were restored.
                let Ok(delta) = Delta::decode(&bytes) else { continue };
                let mut one = Vec::new();
                self.session.upstream.push(&delta, &mut one);
                if !buffer.is_empty() && buffer.len() + one.len() > FRAME_CONTENT_BYTES_MAX {
                    self.send_push(wire, std::mem::take(&mut buffer), cx);
                }
                buffer.append(&mut one);
            }
        }
        if !buffer.is_empty() {
            self.send_push(wire, buffer, cx);
        }
    }

    fn send_push(&mut self, wire: Channel, deltas: Vec<u8>, cx: &mut Context<'_>) {
        let seq = self.session.pushes;
        self.session.pushes += 1;
        cx.link.send(wire, Push { seq, tag: None, deltas: deltas.into() });
    }

    /// The next entry of a site that may be sent now; takes its credit.
    fn next_push(&mut self, site: SiteId, now: Instant) -> Option<(OutboxKey, u64, u64)> {
        if self.rebuild.as_ref().is_some_and(|rebuild| rebuild.concerns(site)) {
            return None;
        }
        let in_flight = self.outbox.in_flight();
        let queue = self.outbox.queue(site)?;
        if queue.hold_until > now {
            return None;
        }
        let at = queue.entries.partition_point(|entry| entry.last <= queue.sent);
        let entry = queue.entries.get(at)?;
        let length = entry.bytes.len() as u64;
        let blocked = queue.blocked_from.is_some_and(|from| entry.last >= from);
        if blocked || (in_flight > 0 && in_flight + length > PUSH_WINDOW_BYTES) {
            return None;
        }
        if entry.last <= queue.announced {
            // An entry may overdraw what is left, or the last bytes of a grant would never be used.
            if self.session.credit == 0 {
                return None;
            }
            self.session.credit = self.session.credit.saturating_sub(length);
        }
        let counted = if entry.acked < AckLevel::Region { length } else { 0 };
        Some((OutboxKey { site, first: entry.first }, entry.last, counted))
    }

    /// When a site held back after repeated gaps may send again.
    pub(super) fn push_deadline(&self) -> Option<Instant> {
        let sites = self.outbox.sites().into_iter();
        let held = sites.filter_map(|site| self.outbox.queue(site)).filter(|queue| queue.hold_until > Instant(0));
        held.filter(|queue| queue.entries.back().is_some_and(|last| last.last > queue.sent))
            .map(|queue| queue.hold_until)
            .min()
    }

    pub(super) fn refuse(&mut self, refused: Refused, cx: &mut Context<'_>) {
        let own = self.outbox.queue(refused.site).is_some_and(|queue| queue.holds(refused.from, refused.from));
        if !own && self.frames.concerns(refused.site) {
            // A proof that no relay takes is none. What it proved stays on the screen; nothing of the user's is lost.
            self.frames.give_up(|frame| frame.site == refused.site && frame.last >= refused.from);
            self.store.state_changed(cx.now);
            return;
        }
        if CloseCode(refused.code) == CloseCode::CONFLICT {
            self.restamp([(refused.site, refused.from)], cx);
            return;
        }
        let refusal = Refusal { code: CloseCode(refused.code), message: refused.message };
        let deletes = refusal.takes_deletes();
        if self.refused.as_ref().is_none_or(|before| before.takes_deletes() && !deletes) {
            self.refused = Some(refusal.clone());
            let Refusal { code, message } = refusal;
            cx.effects.push_back(Effect::Refused { channel: self.handle, code, message });
        }
        if deletes {
            self.refuse_growth(refused.site, refused.from, cx);
        } else {
            self.outbox.block(refused.site, refused.from);
        }
    }
}
