//! Updates in stream form, for applications that carry them themselves.

use selvedge_engine::Delta;
use selvedge_protocol::stream::{StreamDecoder, StreamEncoder};
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::convert::failure;

/// The writing side of a stream of updates.
#[wasm_bindgen]
#[derive(Debug)]
pub struct UpdateEncoder(StreamEncoder);

#[wasm_bindgen]
impl UpdateEncoder {
    /// A stream that begins, or goes on from a state.
    ///
    /// # Errors
    /// If the bytes are no state.
    #[wasm_bindgen(constructor)]
    pub fn new(state: Option<Vec<u8>>) -> Result<UpdateEncoder, JsError> {
        let encoder = state.map(|bytes| StreamEncoder::from_state(&bytes)).transpose();
        Ok(UpdateEncoder(encoder.map_err(|error| failure("update", error))?.unwrap_or_default()))
    }

    /// An update in stream form.
    ///
    /// # Errors
    /// If the bytes are no update; the stream goes on as if they had not come.
    pub fn encode(&mut self, update: &[u8]) -> Result<Vec<u8>, JsError> {
        let delta = Delta::decode(update).map_err(|error| failure("update", error))?;
        let mut message = Vec::new();
        self.0.push(&delta, &mut message);
        Ok(message)
    }

    /// What a decoder that joins now needs.
    pub fn state(&self) -> Vec<u8> {
        self.0.state()
    }
}

/// The reading side of a stream of updates.
#[wasm_bindgen]
#[derive(Debug)]
pub struct UpdateDecoder(StreamDecoder);

#[wasm_bindgen]
impl UpdateDecoder {
    /// A stream that begins, or goes on from a state.
    ///
    /// # Errors
    /// If the bytes are no state.
    #[wasm_bindgen(constructor)]
    pub fn new(state: Option<Vec<u8>>) -> Result<UpdateDecoder, JsError> {
        let decoder = state.map(|bytes| StreamDecoder::from_state(&bytes)).transpose();
        Ok(UpdateDecoder(decoder.map_err(|error| failure("update", error))?.unwrap_or_default()))
    }

    /// The updates of a message, each behind its length in four bytes, little-endian.
    ///
    /// # Errors
    /// If the bytes are no message, or not the one that follows; the stream is lost then.
    pub fn decode(&mut self, message: &[u8]) -> Result<Vec<u8>, JsError> {
        let mut updates = Vec::new();
        for delta in self.0.decode(message).map_err(|error| failure("update", error))? {
            let update = delta.encode();
            updates.extend_from_slice(&(update.len() as u32).to_le_bytes());
            updates.extend_from_slice(&update);
        }
        Ok(updates)
    }
}
