//! Whether a service answers: asked in its own language, as little of it as that takes.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use super::service::Kind;

const PATIENCE: Duration = Duration::from_secs(2);
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Why a service does not count as answering.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The address cannot be read or found.
    Address(String),
    /// Nothing listens there.
    Nobody(String),
    /// Somebody listens and says nothing.
    Silent,
    /// Somebody listens and says something else.
    Stranger(Vec<u8>),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Address(why) => write!(f, "the address leads nowhere: {why}"),
            Trouble::Nobody(why) => write!(f, "nobody listens there: {why}"),
            Trouble::Silent => write!(f, "somebody listens there and says nothing for {} s", PATIENCE.as_secs()),
            Trouble::Stranger(bytes) => {
                write!(
                    f,
                    "somebody listens there and answers as no such service does: {:?}",
                    bytes.escape_ascii().to_string()
                )
            }
        }
    }
}

/// Whether the service at this port answers as one of its kind does.
pub(super) fn answers(kind: Kind, port: u16) -> bool {
    probe(kind, &format!("127.0.0.1:{port}")).is_ok()
}

/// Asks the service at an address as clients are given it; of several hosts one has to answer.
pub(super) fn probe_address(kind: Kind, address: &str) -> Result<(), Trouble> {
    let mut trouble = Trouble::Address("it names no host".to_owned());
    for host in hosts(kind, address) {
        // What speaks TLS is not asked: that somebody listens has to be enough.
        let asked = if address.starts_with("https://") { connect(&host).map(drop) } else { probe(kind, &host) };
        match asked {
            Ok(()) => return Ok(()),
            Err(found) => trouble = found,
        }
    }
    Err(trouble)
}

/// What a service of this kind is asked, for a person.
pub(super) fn question(kind: Kind) -> &'static str {
    match kind {
        Kind::Kafka => "its API versions",
        Kind::DynamoDb | Kind::Aws | Kind::Witness => "anything over HTTP",
        Kind::Postgres => "to let the user selvedge in",
        Kind::Redis => "PING",
    }
}

/// The `host:port` of each server that an address names.
fn hosts(kind: Kind, address: &str) -> Vec<String> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let servers = authority.rsplit_once('@').map_or(authority, |(_, servers)| servers);
    let usual = match (kind, scheme) {
        (Kind::Kafka, _) => 9092,
        (Kind::Postgres, _) => 5432,
        (Kind::Redis, _) => 6379,
        (_, "https") => 443,
        _ => 80,
    };
    let with_port = |server: &str| {
        let has_port = server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if has_port { server.to_owned() } else { format!("{server}:{usual}") }
    };
    servers.split(',').map(str::trim).filter(|server| !server.is_empty()).map(with_port).collect()
}

fn probe(kind: Kind, host: &str) -> Result<(), Trouble> {
    let check = |answer: Vec<u8>, right: bool| if right { Ok(()) } else { Err(Trouble::Stranger(answer)) };
    match kind {
        // ApiVersions 0 of client `null`. A broker answers nobody before the controller has taken it in.
        Kind::Kafka => {
            let answer = ask(host, b"\0\0\0\x0a\0\x12\0\0\0\0\0\x07\xff\xff", 10)?;
            let right = answer[4..] == [0, 0, 0, 7, 0, 0];
            check(answer, right)
        }
        // Which is refused, but only by somebody who speaks HTTP.
        Kind::DynamoDb | Kind::Aws | Kind::Witness => {
            let answer = ask(host, b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n", 5)?;
            let right = answer == b"HTTP/";
            check(answer, right)
        }
        // A start-up message with a user: answered by R (a request to authenticate, here: welcome), or by E when it is not ready.
        Kind::Postgres => {
            let answer = ask(host, b"\0\0\0\x29\0\x03\0\0user\0selvedge\0database\0postgres\0\0", 1)?;
            let right = answer == b"R";
            check(answer, right)
        }
        Kind::Redis => {
            let answer = ask(host, b"PING\r\n", 5)?;
            // One that wants a password first is there, too.
            let right = answer == b"+PONG" || answer == b"-NOAU";
            check(answer, right)
        }
    }
}

/// Whether nobody listens there, so that a service could.
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

fn connect(host: &str) -> Result<TcpStream, Trouble> {
    let addresses = host.to_socket_addrs().map_err(|error| Trouble::Address(format!("{host}: {error}")))?;
    let mut trouble = Trouble::Address(format!("{host} has no address"));
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(connection) => return Ok(connection),
            Err(error) => trouble = Trouble::Nobody(error.to_string()),
        }
    }
    Err(trouble)
}

/// The first bytes of the answer to a question.
fn ask(host: &str, question: &[u8], length: usize) -> Result<Vec<u8>, Trouble> {
    let mut connection = connect(host)?;
    let silent = |error: std::io::Error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Trouble::Silent,
        _ => Trouble::Nobody(error.to_string()),
    };
    connection.set_read_timeout(Some(PATIENCE)).map_err(silent)?;
    connection.set_write_timeout(Some(PATIENCE)).map_err(silent)?;
    connection.write_all(question).map_err(silent)?;
    let mut answer = vec![0; length];
    let mut taken = 0;
    while taken < length {
        match connection.read(&mut answer[taken..]).map_err(silent)? {
            0 => return Err(Trouble::Stranger(answer[..taken].to_vec())),
            more => taken += more,
        }
    }
    Ok(answer)
}

/// Why the S3 at an address does not have this bucket; `None`: it has, or cannot be asked by whoever has no keys.
pub(super) fn lacks_bucket(address: &str, name: &str) -> Option<String> {
    if address.starts_with("https://") {
        return None;
    }
    let question = format!("HEAD /{name} HTTP/1.0\r\nHost: s3.localhost\r\n\r\n");
    let answered = hosts(Kind::Aws, address).iter().map(|host| ask(host, question.as_bytes(), 12)).next()?;
    match answered {
        Ok(answer) if answer.ends_with(b"404") => Some("it is not there".to_owned()),
        Ok(_) => None,
        Err(trouble) => Some(trouble.to_string()),
    }
}

/// Makes a bucket in the emulator's S3; one that is there stays as it is. The emulator takes a service in when it is first
/// asked for it, which on a busy machine is more than the patience for one question: it is asked again until `time` is over.
pub(super) fn make_bucket(port: u16, name: &str, time: Duration) -> anyhow::Result<()> {
    let question = format!("PUT /{name} HTTP/1.0\r\nHost: s3.localhost\r\nContent-Length: 0\r\n\r\n");
    let begin = Instant::now();
    loop {
        let trouble = match ask(&format!("127.0.0.1:{port}"), question.as_bytes(), 12) {
            Ok(answer) if answer.ends_with(b"200") || answer.ends_with(b"409") => return Ok(()),
            Ok(answer) => Trouble::Stranger(answer),
            Err(trouble) => trouble,
        };
        anyhow::ensure!(begin.elapsed() < time, "the bucket {name} could not be made: {trouble}");
        thread::sleep(AGAIN_AFTER);
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Trouble, hosts, lacks_bucket, make_bucket, probe_address};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn hosts_are_read_off_addresses() {
        let check = |kind, address: &str, expected: &[&str]| assert_eq!(hosts(kind, address), expected, "{address}");
        check(Kind::Kafka, "one:9092,two", &["one:9092", "two:9092"]);
        check(Kind::Postgres, "postgres://selvedge:a@b@host/selvedge?x=y", &["host:5432"]);
        check(Kind::Postgres, "postgres://127.0.0.1:4613/selvedge", &["127.0.0.1:4613"]);
        check(Kind::Redis, "redis://[::1]:7000/0", &["[::1]:7000"]);
        check(
            Kind::DynamoDb,
            "https://dynamodb.eu-central-1.amazonaws.com",
            &["dynamodb.eu-central-1.amazonaws.com:443"],
        );
        check(Kind::Aws, "", &[]);
    }

    /// A server that answers its first connection with these bytes.
    fn server(says: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let _ = connection.read(&mut [0; 256]);
            let _ = connection.write_all(says);
        });
        address
    }

    #[test]
    fn each_trouble_is_told_from_the_others() {
        let redis = |says| probe_address(Kind::Redis, &format!("redis://{}", server(says)));
        assert_eq!(redis(b"+PONG\r\n"), Ok(()));
        assert_eq!(redis(b"-NOAUTH Authentication required.\r\n"), Ok(()));
        assert_eq!(redis(b"HTTP/1.1 400"), Err(Trouble::Stranger(b"HTTP/".to_vec())));
        assert!(matches!(redis(b""), Err(Trouble::Stranger(_) | Trouble::Nobody(_))));
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(matches!(probe_address(Kind::Kafka, &nobody.to_string()), Err(Trouble::Nobody(_))));
        assert!(matches!(probe_address(Kind::Kafka, ""), Err(Trouble::Address(_))));
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap().to_string();
        assert_eq!(probe_address(Kind::Kafka, &address), Err(Trouble::Silent));
    }

    #[test]
    fn a_missing_bucket_is_told_from_one_that_may_not_be_asked_for() {
        let lacks = |says| lacks_bucket(&format!("http://{}", server(says)), "one");
        assert_eq!(lacks(b"HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(lacks(b"HTTP/1.1 403 Forbidden\r\n"), None);
        assert_eq!(lacks(b"HTTP/1.1 404 Not Found\r\n").as_deref(), Some("it is not there"));
        assert!(lacks(b"").is_some());
        assert_eq!(lacks_bucket("https://s3.eu-central-1.amazonaws.com", "one"), None);
    }

    #[test]
    fn a_bucket_is_asked_for_until_the_emulator_is_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let emulator = thread::spawn(move || {
            // One that is closed, one that cannot answer yet, one that answers.
            for says in ["", "HTTP/1.1 500 Internal Server Error\r\n", "HTTP/1.1 200 OK\r\n"] {
                let (mut connection, _) = listener.accept().unwrap();
                let _ = connection.read(&mut [0; 256]);
                let _ = connection.write_all(says.as_bytes());
            }
        });
        make_bucket(port, "one", Duration::from_secs(60)).unwrap();
        emulator.join().unwrap();
        let error = make_bucket(port, "one", Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains("nobody listens"), "{error}");
    }
}
