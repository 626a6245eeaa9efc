//! A client's quota on Kafka, for the contract suites: Kafka's own protocol (`AlterClientQuotas`, KIP-546), because its client library
//! has no such request.
//!
//! ```text
//! length i32 | 49 i16 | version 0 i16 | correlation i32 | client id string          the head
//! 1 i32 | 1 i32 "client-id" NAME | 1 i32 "producer_byte_rate" f64 remove bool | validate only bool
//! length i32 | correlation i32 | throttle time i32 | entries i32 | error code i16 ...    the answer
//! ```
//!
//! Integers are big-endian; a string is its length in two bytes and its bytes.

use std::io::{self, ErrorKind};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::log::kafka::KafkaOptions;

const ALTER_CLIENT_QUOTAS: i16 = 49;
const CORRELATION: i32 = 1;
/// An answer is some dozens of bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Sets how many bytes a second all clients of that prefix may write together, or sets no limit. Asks the first broker.
///
/// # Errors
/// When the broker cannot be asked, or refuses.
pub(super) async fn set_quota(options: &KafkaOptions, bytes_per_second: Option<u32>) -> io::Result<()> {
    let broker = options.bootstrap.split(',').next().unwrap_or_default().trim();
    let mut connection = TcpStream::connect(broker).await?;
    connection.write_all(&request(&options.named("selvedge"), bytes_per_second)).await?;
    let length = usize::try_from(connection.read_i32().await?).unwrap_or(usize::MAX);
    if length > ANSWER_BYTES_MAX {
        return Err(io::Error::new(ErrorKind::InvalidData, "the answer is too long"));
    }
    let mut answer = vec![0; length];
    connection.read_exact(&mut answer).await?;
    match error_code(&answer) {
        Some(0) => Ok(()),
        code => Err(io::Error::other(format!("the broker sets no quota: {code:?}"))),
    }
}

fn request(client: &str, bytes_per_second: Option<u32>) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(ALTER_CLIENT_QUOTAS.to_be_bytes());
    body.extend(0_i16.to_be_bytes());
    body.extend(CORRELATION.to_be_bytes());
    string(&mut body, "selvedge");
    // One entry, of one entity, with one change.
    body.extend(1_i32.to_be_bytes());
    body.extend(1_i32.to_be_bytes());
    string(&mut body, "client-id");
    string(&mut body, client);
    body.extend(1_i32.to_be_bytes());
    string(&mut body, "producer_byte_rate");
    body.extend(f64::from(bytes_per_second.unwrap_or_default()).to_be_bytes());
    body.push(u8::from(bytes_per_second.is_none()));
    body.push(0);
    let length = i32::try_from(body.len()).unwrap_or(i32::MAX);
    [&length.to_be_bytes()[..], &body].concat()
}

fn string(body: &mut Vec<u8>, text: &str) {
    body.extend(i16::try_from(text.len()).unwrap_or(i16::MAX).to_be_bytes());
    body.extend(text.as_bytes());
}

/// The code of the only entry; behind correlation, throttle time and count.
fn error_code(answer: &[u8]) -> Option<i16> {
    let code = answer.get(12..14)?;
    Some(i16::from_be_bytes([code[0], code[1]]))
}
