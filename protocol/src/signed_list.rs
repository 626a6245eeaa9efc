//! The signed list of endpoints: where clients find the regions, in which epoch, provably from whoever runs them.
//!
//! ```text
//! base64url(header) . base64url(list) . base64url(signature)      compact JWS (RFC 7515), at most 32 KiB
//!
//! header     {"alg":"ES256","kid":"<name of the key>","typ":"selvedge-endpoints"}, these bytes and no others
//! list       EndpointList, bincode 2 as in messages
//! signature  ECDSA with P-256 and SHA-256 over everything before the second dot: r and s, 32 bytes each (RFC 7518, 3.4)
//! ```
//!
//! Here are the shape and the order of lists. Whoever signs and whoever verifies brings the cryptography: a browser has its
//! own. The header is compared and never interpreted, so that no list can choose how it is verified.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bincode::{Decode, Encode};

use crate::endpoint::Endpoint;
use crate::error::DecodeError;
use crate::message::{at_most, check_endpoints};
use crate::transfer::sha256;
use crate::wire;

/// Most bytes of a signed list: with its frame it fits one message of any server.
pub const SIGNED_LIST_BYTES_MAX: usize = 32 * 1024;
/// Layout of [`EndpointList`]; later layouts only append.
pub const LIST_FORMAT: u8 = 1;
const NAME_BYTES_MAX: usize = 256;
/// A public key of P-256 as `SubjectPublicKeyInfo` (RFC 5480) but for its last 65 bytes, the point itself.
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Bytes of an uncompressed point: 4, x, y.
const POINT_BYTES: usize = 65;

/// Which of two lists is newer: the greater one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListStamp {
    /// The control plane's epoch in which it was signed.
    pub epoch: u64,
    /// Orders the lists of one epoch: milliseconds of wall time, or one more than the list before where that is greater.
    pub issue: u64,
}

/// Where the regions are, as whoever holds the control plane knows it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EndpointList {
    /// [`LIST_FORMAT`].
    pub format: u8,
    /// See [`ListStamp`].
    pub epoch: u64,
    /// See [`ListStamp`].
    pub issue: u64,
    /// The region that holds the control plane.
    pub home: String,
    /// The relays of all regions, those of the home first.
    pub endpoints: Vec<Endpoint>,
}

impl EndpointList {
    /// Its place in the order of lists.
    pub fn stamp(&self) -> ListStamp {
        ListStamp { epoch: self.epoch, issue: self.issue }
    }

    /// The bytes that are signed.
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Reads what a signature has vouched for.
    ///
    /// # Errors
    /// [`DecodeError`] where it is no list, or beyond the limits of one.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let list: Self = wire::decode_open_ended(bytes)?;
        if list.format < LIST_FORMAT {
            return Err(DecodeError::Malformed("the layout of a list of endpoints"));
        }
        at_most("the home's name", list.home.len(), NAME_BYTES_MAX)?;
        check_endpoints(&list.endpoints)?;
        Ok(list)
    }

    /// What a signature is made over, by a key of that name.
    pub fn signing_input(&self, key: &ListKey) -> String {
        format!("{}.{}", header_of(key), URL_SAFE_NO_PAD.encode(self.encode()))
    }
}

/// A signed list, taken apart; nothing is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedList<'a> {
    /// What was signed.
    pub input: &'a str,
    header: &'a str,
    /// The bytes of the list.
    pub list: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

impl<'a> SignedList<'a> {
    /// Takes a compact JWS apart.
    ///
    /// # Errors
    /// [`DecodeError`] where it is none, or too long for one.
    pub fn parse(signed: &'a str) -> Result<Self, DecodeError> {
        let malformed = || DecodeError::Malformed("a signed list of endpoints");
        at_most("a signed list of endpoints", signed.len(), SIGNED_LIST_BYTES_MAX)?;
        let (input, signature) = signed.rsplit_once('.').ok_or_else(malformed)?;
        let (header, list) = input.split_once('.').ok_or_else(malformed)?;
        let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
        Ok(Self { input, header, list: bytes(list)?, signature: bytes(signature)? })
    }

    /// Whether it says that this key signed it. Only then the signature is worth verifying.
    pub fn names(&self, key: &ListKey) -> bool {
        self.header == header_of(key)
    }

    /// Puts one together.
    ///
    /// # Errors
    /// [`DecodeError::TooLarge`] where it would be longer than any client takes.
    pub fn join(input: &str, signature: &[u8]) -> Result<String, DecodeError> {
        let signed = format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature));
        at_most("a signed list of endpoints", signed.len(), SIGNED_LIST_BYTES_MAX)?;
        Ok(signed)
    }
}

/// The public half of a key that signs lists: a point of P-256.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListKey {
    point: [u8; POINT_BYTES],
}

/// What is given as a public key and is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no public key of P-256 in PEM; `openssl pkey -in KEY.pem -pubout` prints that of a key")]
pub struct ListKeyError;

impl ListKey {
    /// The key whose uncompressed point this is.
    ///
    /// # Errors
    /// [`ListKeyError`] where the bytes are none.
    pub fn from_point(bytes: &[u8]) -> Result<Self, ListKeyError> {
        match <[u8; POINT_BYTES]>::try_from(bytes) {
            Ok(point) if point[0] == 4 => Ok(Self { point }),
            _ => Err(ListKeyError),
        }
    }

    /// Reads `-----BEGIN PUBLIC KEY-----`, or the base64 between those lines alone.
    ///
    /// # Errors
    /// [`ListKeyError`] for anything else.
    pub fn from_pem(text: &str) -> Result<Self, ListKeyError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
        let spki = STANDARD.decode(lines.collect::<String>()).map_err(|_| ListKeyError)?;
        Self::from_point(spki.strip_prefix(&SPKI_PREFIX).ok_or(ListKeyError)?)
    }

    /// The key as text that [`ListKey::from_pem`] reads.
    pub fn to_pem(&self) -> String {
        let digits = STANDARD.encode(self.spki());
        let (first, rest) = digits.split_at(64);
        format!("-----BEGIN PUBLIC KEY-----\n{first}\n{rest}\n-----END PUBLIC KEY-----\n")
    }

    /// How lists name it: the first 16 hexadecimal digits of SHA-256 over its `SubjectPublicKeyInfo`, which is what
    /// `openssl pkey -pubin -outform DER | sha256sum` prints.
    pub fn name(&self) -> String {
        sha256(&self.spki())[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The uncompressed point: 4, x, y.
    pub fn point(&self) -> &[u8] {
        &self.point
    }

    fn spki(&self) -> Vec<u8> {
        [&SPKI_PREFIX[..], &self.point].concat()
    }
}

fn header_of(key: &ListKey) -> String {
    URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"ES256","kid":"{}","typ":"selvedge-endpoints"}}"#, key.name()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::ENDPOINTS_MAX;

    fn list(relays: usize) -> EndpointList {
        let relay = |number: usize| Endpoint {
            relay: format!("r{number}"),
            region: "a".into(),
            ..Endpoint::websocket(format!("wss://r{number}"))
        };
        EndpointList {
            format: LIST_FORMAT,
            epoch: 7,
            issue: 9,
            home: "a".into(),
            endpoints: (0..relays).map(relay).collect(),
        }
    }

    fn key(last: u8) -> ListKey {
        let mut point = [4; POINT_BYTES];
        point[64] = last;
        ListKey::from_point(&point).unwrap()
    }

    #[test]
    fn a_signed_list_comes_apart_as_it_was_put_together() {
        let input = list(2).signing_input(&key(1));
        let signed = SignedList::join(&input, &[5; 64]).unwrap();
        let parts = SignedList::parse(&signed).unwrap();
        assert_eq!(parts.input, input);
        assert_eq!(EndpointList::decode(&parts.list), Ok(list(2)));
        assert_eq!(parts.signature, [5; 64]);
        assert!(parts.names(&key(1)));
        assert!(!parts.names(&key(2)), "the header says which key it was");
    }

    #[test]
    fn a_header_that_says_anything_else_is_of_no_key() {
        for header in [r#"{"alg":"none"}"#.to_owned(), format!(r#"{{"alg":"HS256","kid":"{}"}}"#, key(1).name())] {
            let forged = format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(list(1).encode()));
            assert!(!SignedList::parse(&forged).unwrap().names(&key(1)));
        }
    }

    #[test]
    fn lists_are_held_to_their_limits() {
        assert!(EndpointList::decode(&list(ENDPOINTS_MAX).encode()).is_ok());
        assert!(EndpointList::decode(&list(ENDPOINTS_MAX + 1).encode()).is_err());
        assert!(EndpointList::decode(&EndpointList { format: 0, ..list(1) }.encode()).is_err());
        let later = [EndpointList { format: 2, ..list(1) }.encode(), vec![1, 2, 3]].concat();
        assert!(EndpointList::decode(&later).is_ok(), "later layouts append");
        let long = "x".repeat(SIGNED_LIST_BYTES_MAX + 1);
        assert!(matches!(SignedList::parse(&long), Err(DecodeError::TooLarge { .. })));
        assert!(matches!(SignedList::join(&long, &[]), Err(DecodeError::TooLarge { .. })));
    }

    #[test]
    fn an_epoch_comes_before_an_issue() {
        let stamp = |epoch, issue| ListStamp { epoch, issue };
        assert!(stamp(2, 1) > stamp(1, u64::MAX) && stamp(2, 2) > stamp(2, 1));
    }

    #[test]
    fn a_key_is_read_from_the_text_that_openssl_prints() {
        // openssl ecparam -genkey -name prime256v1 | openssl pkey -pubout
        let pem = "-----BEGIN PUBLIC KEY-----\n\
            MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEoBUyo8CQAFPeYPvv78ylh5MwFZjT\n\
            CLQeb042TjiMJxG+9DLFmRSMlBQ9T/RsLLc+PmpB1+7yPAR+oR5gZn3kJQ==\n\
            -----END PUBLIC KEY-----\n";
        let key = ListKey::from_pem(pem).unwrap();
        assert_eq!(key.to_pem(), pem);
        let inside: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        assert_eq!(ListKey::from_pem(&inside), Ok(key.clone()));
        assert_eq!(key.name().len(), 16);
        for bad in ["", "x", &inside[4..], &inside[..80]] {
            assert_eq!(ListKey::from_pem(bad), Err(ListKeyError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_apart_or_refused(text in "[A-Za-z0-9_.=-]{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = SignedList::parse(&text);
            let _ = EndpointList::decode(&bytes);
            let _ = ListKey::from_pem(&text);
        }
    }
}
