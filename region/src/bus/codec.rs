//! Bus messages as bytes. They live for moments between relays of one region, so there is a version byte and no more ceremony:
//! what a relay of another version cannot read it passes over, as if it had been lost.
//!
//! ```text
//! version 1 byte = 1; kind 1 byte; then, by kind (integers big-endian, texts and bytes with a length of 4 bytes):
//! 1 logged      log id 16, partition 4, offset 8, record
//! 2 presence    relay 8, session 8, flags 1 (bit 0 data, bit 1 user; others are 0), data, user
//! 3 rights      rights 1, principal
//! 4 deleted     generation 8
//! 5 replicated  log id 16, partition 4, offset 8
//! 6 tentative   record
//! ```

use std::sync::Arc;

use selvedge_protocol::Rights;

use super::BusMessage;
use crate::record::LogRecord;
use crate::{LogId, Position};

const VERSION: u8 = 1;
const FLAG_DATA: u8 = 1;
const FLAG_USER: u8 = 2;

/// The bytes of a message.
pub(crate) fn encode(message: &BusMessage) -> Vec<u8> {
    let mut out = vec![VERSION];
    match message {
        BusMessage::Logged { position, record } => {
            out.push(1);
            put_position(&mut out, *position);
            put_bytes(&mut out, &record.encode());
        }
        BusMessage::Presence { relay, session, data, user } => {
            out.push(2);
            out.extend(relay.to_be_bytes());
            out.extend(session.to_be_bytes());
            out.push(u8::from(data.is_some()) * FLAG_DATA + u8::from(user.is_some()) * FLAG_USER);
            let parts = [data.as_deref(), user.as_ref().map(String::as_bytes)];
            parts.into_iter().flatten().for_each(|part| put_bytes(&mut out, part));
        }
        BusMessage::Rights { principal, rights } => {
            out.extend([3, rights_number(*rights)]);
            put_bytes(&mut out, principal.as_bytes());
        }
        BusMessage::Deleted { generation } => {
            out.push(4);
            out.extend(generation.to_be_bytes());
        }
        BusMessage::Replicated { watermark } => {
            out.push(5);
            put_position(&mut out, *watermark);
        }
        BusMessage::Tentative { record } => {
            out.push(6);
            put_bytes(&mut out, &record.encode());
        }
    }
    out
}

/// The message in these bytes; `None` when they are none that this code reads.
pub(crate) fn decode(bytes: &[u8]) -> Option<BusMessage> {
    let mut input = Input(bytes);
    if input.byte()? != VERSION {
        return None;
    }
    let message = match input.byte()? {
        1 => {
            let position = input.position()?;
            BusMessage::Logged { position, record: Arc::new(LogRecord::decode(input.bytes()?).ok()?) }
        }
        2 => {
            let (relay, session, flags) = (input.integer()?, input.integer()?, input.byte()?);
            if flags & !(FLAG_DATA | FLAG_USER) != 0 {
                return None;
            }
            let data = if flags & FLAG_DATA != 0 { Some(input.bytes()?.to_vec()) } else { None };
            let user = if flags & FLAG_USER != 0 { Some(input.text()?) } else { None };
            BusMessage::Presence { relay, session, data, user }
        }
        3 => {
            let rights = rights_from(input.byte()?)?;
            BusMessage::Rights { principal: input.text()?, rights }
        }
        4 => BusMessage::Deleted { generation: input.integer()? },
        5 => BusMessage::Replicated { watermark: input.position()? },
        6 => BusMessage::Tentative { record: Arc::new(LogRecord::decode(input.bytes()?).ok()?) },
        _ => return None,
    };
    input.0.is_empty().then_some(message)
}

fn put_position(out: &mut Vec<u8>, position: Position) {
    out.extend(position.log.0.to_be_bytes());
    out.extend(position.partition.to_be_bytes());
    out.extend(position.offset.to_be_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(bytes);
}

const fn rights_number(rights: Rights) -> u8 {
    match rights {
        Rights::None => 0,
        Rights::Read => 1,
        Rights::Write => 2,
        Rights::Admin => 3,
    }
}

const fn rights_from(number: u8) -> Option<Rights> {
    match number {
        0 => Some(Rights::None),
        1 => Some(Rights::Read),
        2 => Some(Rights::Write),
        3 => Some(Rights::Admin),
        _ => None,
    }
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn integer(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn position(&mut self) -> Option<Position> {
        let log = LogId(u128::from_be_bytes(self.array()?));
        let partition = u32::from_be_bytes(self.array()?);
        Some(Position { log, partition, offset: self.integer()? })
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_be_bytes(self.array()?) as usize;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use selvedge_protocol::Rights;

    use super::{decode, encode};
    use crate::{BusMessage, LogId, LogRecord, Position};

    #[test]
    fn every_message_comes_back() {
        let at = Position { log: LogId(u128::MAX - 3), partition: 7, offset: 1 << 40 };
        let record = LogRecord::new("a/b".parse().unwrap(), 3, "p".to_owned(), vec![1, 2, 3]);
        let presence = |data: Option<Vec<u8>>, user: Option<&str>| BusMessage::Presence {
            relay: 1,
            session: u64::MAX,
            data,
            user: user.map(str::to_owned),
        };
        let messages = [
            BusMessage::Logged { position: at, record: Arc::new(record.clone()) },
            BusMessage::Tentative { record: Arc::new(record) },
            presence(None, None),
            presence(Some(vec![]), Some("ann")),
            presence(None, Some("ann")),
            BusMessage::Rights { principal: "ann".to_owned(), rights: Rights::Write },
            BusMessage::Deleted { generation: 9 },
            BusMessage::Replicated { watermark: at },
        ];
        for message in messages {
            let bytes = encode(&message);
            assert_eq!(decode(&bytes), Some(message));
            assert!((0..bytes.len()).all(|length| decode(&bytes[..length]).is_none()), "no part of it is a message");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_passed_over(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0_u8..7) {
            let _ = decode(&bytes);
            let _ = decode(&[&[1, kind], bytes.as_slice()].concat());
        }
    }
}
