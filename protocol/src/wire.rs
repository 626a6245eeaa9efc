//! How the fields of messages become bytes: bincode 2, standard varint configuration, hard limit.

use std::ops::Deref;

use bincode::config::{self, Configuration, Limit, LittleEndian, Varint};
use bincode::de::read::Reader as _;
use bincode::de::{Decode, Decoder};
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError as BincodeDecode, EncodeError as BincodeEncode};

use selvedge_engine::SiteId;

use crate::error::DecodeError;
use crate::frame::FRAME_BYTES_MAX;

/// Most memory that decoding one payload may claim: fields in memory are wider than on the wire.
const DECODE_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;

type Wire = Configuration<LittleEndian, Varint, Limit<DECODE_BYTES_MAX>>;

fn wire() -> Wire {
    config::standard().with_limit::<DECODE_BYTES_MAX>()
}

/// Encodes one message's fields.
pub(crate) fn encode<T: Encode>(value: &T) -> Vec<u8> {
    // Without a limit: what is too large is refused where the frame is written.
    bincode::encode_to_vec(value, config::standard()).expect("plain structs encode into memory")
}

/// Decodes one message's fields; bytes left over are malformed.
pub(crate) fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    match bincode::decode_from_slice::<T, Wire>(bytes, wire()) {
        Ok((value, taken)) if taken == bytes.len() => Ok(value),
        Ok(_) => Err(DecodeError::Malformed("bytes after the last field")),
        Err(BincodeDecode::LimitExceeded) => Err(DecodeError::TooLarge { what: "a message", most: FRAME_BYTES_MAX }),
        Err(_) => Err(DecodeError::Malformed("the fields of a message")),
    }
}

/// Like [`decode`], but bytes left over are fields of a later version and are ignored.
pub(crate) fn decode_open_ended<T: Decode<()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    match bincode::decode_from_slice::<T, Wire>(bytes, wire()) {
        Ok((value, _)) => Ok(value),
        Err(_) => Err(DecodeError::Malformed("the fields of a message")),
    }
}

/// Bytes inside a message. On the wire a length and that many bytes; decoding never allocates more than is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bytes(pub Vec<u8>);

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<Bytes> for Vec<u8> {
    fn from(bytes: Bytes) -> Self {
        bytes.0
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Encode for Bytes {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), BincodeEncode> {
        self.0.encode(encoder)
    }
}

impl<C> Decode<C> for Bytes {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, BincodeDecode> {
        let length = u64::decode(decoder)?;
        let length = usize::try_from(length).map_err(|_| BincodeDecode::LimitExceeded)?;
        decoder.claim_bytes_read(length)?;
        let here = decoder.reader().peek_read(length);
        let bytes = here.ok_or(BincodeDecode::UnexpectedEnd { additional: length })?.to_vec();
        decoder.reader().consume(length);
        Ok(Self(bytes))
    }
}

bincode::impl_borrow_decode!(Bytes);

/// The site of a number from outside.
pub(crate) fn site(number: u64) -> Result<SiteId, BincodeDecode> {
    let site = SiteId::new(number);
    if site.is_valid() { Ok(site) } else { Err(BincodeDecode::Other("a number that is no site")) }
}

/// Implements `Encode` and `Decode` for a struct whose first field `site` is the engine's `SiteId`: its number comes first.
macro_rules! site_fields {
    ($name:ident { $($field:ident),* }) => {
        impl bincode::Encode for $name {
            fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
                bincode::Encode::encode(&self.site.get(), encoder)?;
                $(bincode::Encode::encode(&self.$field, encoder)?;)*
                Ok(())
            }
        }

        impl<C> bincode::Decode<C> for $name {
            fn decode<D: bincode::de::Decoder<Context = C>>(
                decoder: &mut D,
            ) -> Result<Self, bincode::error::DecodeError> {
                Ok(Self {
                    site: $crate::wire::site(bincode::Decode::decode(decoder)?)?,
                    $($field: bincode::Decode::decode(decoder)?,)*
                })
            }
        }

        bincode::impl_borrow_decode!($name);
    };
}

pub(crate) use site_fields;
