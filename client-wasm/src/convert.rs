//! Words and numbers at the border.

use core::fmt::Display;

use selvedge_protocol::{AckLevel, Channel, DocumentId, Instant, LogId, Position, Transport};
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

/// Bytes of a position: log, partition, offset, each big-endian.
const POSITION_BYTES: usize = 16 + 4 + 8;

/// The full form `tenant/name` of a document's name.
///
/// # Errors
/// What is wrong with the name.
#[wasm_bindgen(js_name = documentName)]
pub fn document_name(name: &str) -> Result<String, JsError> {
    name.parse::<DocumentId>().map(|id| id.to_string()).map_err(|error| failure("bad-document", error))
}

/// An error JavaScript can tell apart: `code: sentence`.
pub(crate) fn failure(code: &str, error: impl Display) -> JsError {
    JsError::new(&format!("{code}: {error}"))
}

/// A number of the protocol, all of which are below 2^53 where they cross.
pub(crate) fn number(value: u64) -> f64 {
    value as f64
}

/// A number from JavaScript; negative and fractional ones are cut.
pub(crate) fn integer(value: f64) -> u64 {
    value as u64
}

/// An instant of JavaScript's monotonic clock.
pub(crate) fn instant(now: f64) -> Instant {
    Instant(integer(now))
}

/// A channel as a number.
pub(crate) fn channel_number(channel: Channel) -> f64 {
    number(channel.0.into())
}

/// The word for a transport.
pub(crate) fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::WebSocket => "websocket",
        Transport::WebTransport => "webtransport",
        Transport::Quic => "quic",
    }
}

/// The transport a word names.
pub(crate) fn transport(name: &str) -> Option<Transport> {
    [Transport::WebSocket, Transport::WebTransport].into_iter().find(|transport| transport_name(*transport) == name)
}

/// The place of a level from least to most safe: it is told with every edit, and a word would be decoded each time.
pub(crate) fn level_number(level: AckLevel) -> u8 {
    level as u8
}

/// The level a word names; what is no word counts as least.
pub(crate) fn level(name: &str) -> AckLevel {
    [AckLevel::Replicated, AckLevel::Region].into_iter().find(|level| level.name() == name).unwrap_or(AckLevel::Device)
}

/// A position as the store keeps it.
pub(crate) fn position_bytes(position: Position) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(POSITION_BYTES);
    bytes.extend(position.log.0.to_be_bytes());
    bytes.extend(position.partition.to_be_bytes());
    bytes.extend(position.offset.to_be_bytes());
    bytes
}

/// Undoes [`position_bytes`]; other bytes are no position: sync then goes by vector.
pub(crate) fn position(bytes: &[u8]) -> Option<Position> {
    let (log, rest) = bytes.split_first_chunk::<16>()?;
    let (partition, rest) = rest.split_first_chunk::<4>()?;
    let offset: [u8; 8] = rest.try_into().ok()?;
    Some(Position {
        log: LogId(u128::from_be_bytes(*log)),
        partition: u32::from_be_bytes(*partition),
        offset: u64::from_be_bytes(offset),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_the_store() {
        let there = Position { log: LogId(u128::MAX - 5), partition: 7, offset: 1 << 60 };
        assert_eq!(position(&position_bytes(there)), Some(there));
        assert_eq!(position(&[1, 2, 3]), None);
        assert_eq!(position(&[0; POSITION_BYTES + 1]), None);
    }

    #[test]
    fn levels_are_known_by_name() {
        for known in [AckLevel::Device, AckLevel::Region, AckLevel::Replicated] {
            assert_eq!(level(known.name()), known);
        }
        assert_eq!(level("elsewhere"), AckLevel::Device);
    }
}
