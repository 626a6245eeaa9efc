//! Whether a service answers: asked in its own language, as little of it as that takes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::service::Kind;

const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the service at this port answers as one of its kind does.
pub(super) fn answers(kind: Kind, port: u16) -> bool {
    match kind {
        // ApiVersions 0 of client `null`. A broker answers nobody before the controller has taken it in.
        Kind::Kafka => ask(port, b"\0\0\0\x0a\0\x12\0\0\0\0\0\x07\xff\xff", 10)
            .is_some_and(|answer| answer[4..] == [0, 0, 0, 7, 0, 0]),
        // Which is refused, but only by somebody who speaks HTTP.
        Kind::DynamoDb | Kind::Aws | Kind::Witness => {
            ask(port, b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n", 5).is_some_and(|answer| answer == b"HTTP/")
        }
        // A start-up message with a user: answered by R (a request to authenticate, here: welcome), or by E when it is not ready.
        Kind::Postgres => ask(port, b"\0\0\0\x29\0\x03\0\0user\0selvedge\0database\0postgres\0\0", 1)
            .is_some_and(|answer| answer == b"R"),
        Kind::Redis => ask(port, b"PING\r\n", 5).is_some_and(|answer| answer == b"+PONG"),
    }
}

/// Whether nobody listens there, so that a service could.
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// The first bytes of the answer to a question.
fn ask(port: u16, question: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut connection = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), PATIENCE).ok()?;
    connection.set_read_timeout(Some(PATIENCE)).ok()?;
    connection.set_write_timeout(Some(PATIENCE)).ok()?;
    connection.write_all(question).ok()?;
    let mut answer = vec![0; length];
    connection.read_exact(&mut answer).ok()?;
    Some(answer)
}

/// Makes a bucket in the emulator's S3; one that is there stays as it is.
pub(super) fn make_bucket(port: u16, name: &str) -> anyhow::Result<()> {
    let question = format!("PUT /{name} HTTP/1.0\r\nHost: s3.localhost\r\nContent-Length: 0\r\n\r\n");
    let answer = ask(port, question.as_bytes(), 12).unwrap_or_default();
    let answer = String::from_utf8_lossy(&answer);
    anyhow::ensure!(
        answer.ends_with("200") || answer.ends_with("409"),
        "the bucket {name} could not be made: {answer:?}"
    );
    Ok(())
}
