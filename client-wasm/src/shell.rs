//! The receiving side in JavaScript, and effects as calls on it.
//!
//! The shell must only write down what it is told: it is called while the machine is borrowed.

use selvedge_engine::{Patch, PatchList, TextPatch};
use selvedge_protocol::AckLevel;
use selvedge_protocol::client::{Effect, Origin, Pending, StoreTransaction};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::convert::{channel_number, level_number, number, position_bytes, transport_name};

#[wasm_bindgen]
extern "C" {
    /// An object with one method an item; see the hand-written declarations of the package.
    #[derive(Clone)]
    pub type Shell;

    #[wasm_bindgen(method)]
    fn connect(this: &Shell, attempt: f64, url: &str, transport: &str, certificates: &[u8]);
    #[wasm_bindgen(method)]
    fn send(this: &Shell, attempt: f64, bytes: Vec<u8>);
    #[wasm_bindgen(method)]
    fn disconnect(this: &Shell, attempt: f64, code: u16);

    #[wasm_bindgen(method, js_name = outboxPut)]
    fn outbox_put(this: &Shell, site: &str, first: f64, last: f64, principal: &str, bytes: Vec<u8>, acked: u8);
    #[wasm_bindgen(method, js_name = outboxDelete)]
    fn outbox_delete(this: &Shell, site: &str, first: f64);
    #[wasm_bindgen(method, js_name = framePut)]
    fn frame_put(this: &Shell, site: &str, first: f64, bytes: Vec<u8>);
    #[wasm_bindgen(method, js_name = frameDelete)]
    fn frame_delete(this: &Shell, site: &str, first: f64);
    #[wasm_bindgen(method, js_name = statePut)]
    fn state_put(
        this: &Shell,
        vector: Vec<u8>,
        generation: f64,
        highest: &str,
        position: Option<Vec<u8>>,
        snapshot: Vec<u8>,
        replace: bool,
    );
    #[wasm_bindgen(method)]
    fn store(this: &Shell, channel: f64, ticket: f64);

    #[wasm_bindgen(method, js_name = textPatch)]
    fn text_patch(this: &Shell, at: f64, remove: f64, insert: &str);
    #[wasm_bindgen(method)]
    fn patch(this: &Shell, channel: f64, origin: &str);

    #[wasm_bindgen(method, js_name = localDelta)]
    fn local_delta(this: &Shell, channel: f64, bytes: Vec<u8>);
    #[wasm_bindgen(method, js_name = metaChanged)]
    fn meta_changed(this: &Shell, channel: f64);
    #[wasm_bindgen(method, js_name = savedAt)]
    fn saved_at(this: &Shell, level: u8, ops: f64, bytes: f64, through: f64);
    #[wasm_bindgen(method)]
    fn saved(this: &Shell, channel: f64, edited: f64, oldest_pending_ms: f64, highest: u8);
    #[wasm_bindgen(method)]
    fn status(this: &Shell, channel: f64, status: &str);
    #[wasm_bindgen(method)]
    fn synced(this: &Shell, channel: f64);
    #[wasm_bindgen(method)]
    fn rights(this: &Shell, channel: f64, rights: &str);

    #[wasm_bindgen(method, js_name = presenceChange)]
    fn presence_change(this: &Shell, session: f64, data: Option<Vec<u8>>, user: Option<String>);
    #[wasm_bindgen(method)]
    fn presence(this: &Shell, channel: f64);

    #[wasm_bindgen(method, js_name = tokenNeeded)]
    fn token_needed(this: &Shell, channel: Option<f64>);
    #[wasm_bindgen(method, js_name = verifyEndpoints)]
    fn verify_endpoints(this: &Shell, signed: &str);
    #[wasm_bindgen(method, js_name = keepEndpoints)]
    fn keep_endpoints(this: &Shell, signed: &str, epoch: f64, issue: f64);
    #[wasm_bindgen(method, js_name = endpointsRefused)]
    fn endpoints_refused(this: &Shell, message: &str);
    #[wasm_bindgen(method, js_name = linkUp)]
    fn link_up(this: &Shell, url: &str, region: &str, transport: &str, session: f64, rtt_ms: f64);
    #[wasm_bindgen(method, js_name = linkDown)]
    fn link_down(this: &Shell);
    #[wasm_bindgen(method)]
    fn refused(this: &Shell, channel: f64, code: u16, message: &str);
    #[wasm_bindgen(method, js_name = storeFailed)]
    fn store_failed(this: &Shell, channel: f64, message: &str);
    #[wasm_bindgen(method)]
    fn reset(this: &Shell, channel: f64, generation: f64, previous: Vec<u8>, unsent_ops: f64);
    #[wasm_bindgen(method)]
    fn closed(this: &Shell, channel: f64, code: u16, reason: &str);
}

impl Shell {
    /// Tells one effect.
    pub(crate) fn tell(&self, effect: Effect) {
        match effect {
            Effect::Connect { attempt, url, transport, certificates } => {
                self.connect(number(attempt), &url, transport_name(transport), &certificates.concat())
            }
            Effect::Send { attempt, bytes } => self.send(number(attempt), bytes),
            Effect::Disconnect { attempt, code } => self.disconnect(number(attempt), code.0),
            Effect::Store { channel, ticket, transaction } => {
                self.tell_transaction(transaction);
                self.store(channel_number(channel), number(ticket.0));
            }
            Effect::Patch { channel, patches, origin } => {
                self.tell_patches(patches);
                self.patch(channel_number(channel), origin_name(origin));
            }
            Effect::LocalDelta { channel, bytes } => self.local_delta(channel_number(channel), bytes),
            Effect::Meta { channel } => self.meta_changed(channel_number(channel)),
            Effect::Saved { channel, state } => {
                self.tell_pending(AckLevel::Device, state.device);
                self.tell_pending(AckLevel::Region, state.region);
                self.tell_pending(AckLevel::Replicated, state.replicated);
                let oldest = number(state.oldest_pending_ms);
                self.saved(channel_number(channel), number(state.edited), oldest, level_number(state.highest));
            }
            Effect::Status { channel, status } => self.status(channel_number(channel), status.name()),
            Effect::Synced { channel } => self.synced(channel_number(channel)),
            Effect::Presence { channel, changed } => {
                for change in changed {
                    self.presence_change(number(change.session), change.data, change.user);
                }
                self.presence(channel_number(channel));
            }
            Effect::Rights { channel, rights } => self.rights(channel_number(channel), rights.name()),
            Effect::TokenNeeded { channel } => self.token_needed(channel.map(channel_number)),
            Effect::VerifyEndpoints { signed } => self.verify_endpoints(&signed),
            Effect::KeepEndpoints { signed, stamp } => {
                self.keep_endpoints(&signed, number(stamp.epoch), number(stamp.issue));
            }
            Effect::EndpointsRefused { fault } => self.endpoints_refused(&fault.to_string()),
            Effect::Reset { channel, generation, previous, unsent_ops } => {
                self.reset(channel_number(channel), number(generation), previous, number(unsent_ops))
            }
            Effect::Refused { channel, code, message } => self.refused(channel_number(channel), code.0, &message),
            Effect::StoreFailed { channel, error } => self.store_failed(channel_number(channel), &error.to_string()),
            Effect::Closed { channel, code, reason } => self.closed(channel_number(channel), code.0, &reason),
            Effect::Link { link: Some(link) } => {
                let transport = transport_name(link.transport);
                self.link_up(&link.url, &link.region, transport, number(link.session), number(link.rtt_ms));
            }
            Effect::Link { link: None } => self.link_down(),
            // A kind of effect added later concerns no browser until it is named here.
            _ => {}
        }
    }

    /// Tells patches one by one.
    pub(crate) fn tell_patches(&self, patches: Vec<TextPatch>) {
        for TextPatch { at, delete, insert } in patches {
            self.text_patch(at as f64, delete as f64, &insert);
        }
    }

    pub(crate) fn tell_changes(&self, patches: &PatchList) {
        for Patch { at, delete, insert } in patches.iter() {
            self.text_patch(at as f64, delete as f64, insert);
        }
    }

    fn tell_transaction(&self, transaction: StoreTransaction) {
        for entry in transaction.put_outbox {
            let (site, acked) = (entry.site.to_string(), level_number(entry.acked));
            self.outbox_put(&site, number(entry.first), number(entry.last), &entry.principal, entry.bytes, acked);
        }
        for key in transaction.delete_outbox {
            self.outbox_delete(&key.site.to_string(), number(key.first));
        }
        for frame in transaction.put_frames {
            self.frame_put(&frame.site.to_string(), number(frame.first), frame.encode());
        }
        for key in transaction.delete_frames {
            self.frame_delete(&key.site.to_string(), number(key.first));
        }
        if let Some(state) = transaction.state {
            let position = state.position.map(position_bytes);
            let (generation, highest) = (number(state.generation), state.highest.name());
            self.state_put(state.vector, generation, highest, position, state.snapshot, state.replace);
        }
    }

    fn tell_pending(&self, level: AckLevel, pending: Pending) {
        self.saved_at(level_number(level), number(pending.ops), number(pending.bytes), number(pending.through));
    }
}

fn origin_name(origin: Origin) -> &'static str {
    match origin {
        Origin::Remote => "remote",
        Origin::Tab => "tab",
        Origin::Restore => "restore",
    }
}
