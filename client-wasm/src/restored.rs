//! What a store kept of a document, on its way back.

use selvedge_protocol::client;
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::convert::{failure, integer, level, position};

/// What a store kept of one document, for [`crate::Client::open`].
#[wasm_bindgen]
#[derive(Debug)]
pub struct Restored(pub(crate) client::Restored);

#[wasm_bindgen]
impl Restored {
    /// The state row; without a state there is only an outbox.
    #[wasm_bindgen(constructor)]
    pub fn new(
        generation: f64,
        state: Option<Vec<u8>>,
        position_bytes: Option<Vec<u8>>,
        highest: Option<String>,
    ) -> Restored {
        Restored(client::Restored {
            generation: integer(generation),
            state: state.unwrap_or_default(),
            position: position_bytes.as_deref().and_then(position),
            highest: highest.as_deref().map(level),
            outbox: Vec::new(),
            frames: Vec::new(),
        })
    }

    /// Adds one kept frame; a damaged one is left out: what it proves is on the screen, and may be proven by others.
    pub fn frame(&mut self, bytes: &[u8]) {
        self.0.frames.extend(client::KeptFrame::decode(bytes));
    }

    /// Adds one entry of the outbox.
    ///
    /// # Errors
    /// If `site` is none.
    pub fn outbox(
        &mut self,
        site: &str,
        first: f64,
        last: f64,
        principal: String,
        bytes: Vec<u8>,
        acked: &str,
    ) -> Result<(), JsError> {
        self.0.outbox.push(client::OutboxEntry {
            site: site.parse().map_err(|error| failure("stored-copy", error))?,
            first: integer(first),
            last: integer(last),
            principal,
            bytes,
            acked: level(acked),
        });
        Ok(())
    }
}
