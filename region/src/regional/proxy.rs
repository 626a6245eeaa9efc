//! A way to a service that can be cut, for the contract suites: what a client sees when the service is away or answers with
//! a refusal, whatever the service itself would say.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What happens to connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// They are passed on.
    Open,
    /// They are closed at once.
    Cut,
    /// They are passed on until the client has sent so many pieces; then nothing is, either way, and they stay open.
    Halts(usize),
    /// Every request is answered with these bytes, and the connection closed.
    Answer(Arc<[u8]>),
}

/// The way; closed when dropped.
pub struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Opens a way to `host:port`.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn to(service: String) -> std::io::Result<Self> {
        Self::at("127.0.0.1:0", service).await
    }

    /// Opens a way to `host:port` that begins there: where a service tells its clients to connect.
    ///
    /// # Errors
    /// When that port cannot be had.
    pub async fn at(begin: &str, service: String) -> std::io::Result<Self> {
        let listener = TcpListener::bind(begin).await?;
        let address = listener.local_addr()?;
        let (way, watching) = watch::channel(Way::Open);
        let task = tokio::spawn(async move {
            // Ends with this task, and every connection with it.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(serve(client, service.clone(), watching.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, way, task })
    }

    /// Where clients connect to, `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes what happens; connections of before are closed.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut client: TcpStream, service: String, mut way: watch::Receiver<Way>) {
    let now = way.borrow_and_update().clone();
    match now {
        Way::Cut => {}
        Way::Answer(bytes) => {
            // The head of a request is enough to answer it.
            let mut request = [0; 8192];
            if client.read(&mut request).await.is_ok_and(|length| length > 0) {
                let _ = client.write_all(&bytes).await;
                let _ = client.shutdown().await;
                // What is still unread would make the close a reset, and the answer be lost.
                while client.read(&mut request).await.is_ok_and(|length| length > 0) {}
            }
        }
        Way::Halts(pieces) => {
            let Ok(mut server) = TcpStream::connect(service).await else { return };
            tokio::select! {
                () = falter(&mut client, &mut server, pieces) => {}
                _ = way.changed() => {}
            }
        }
        Way::Open => {
            let Ok(mut server) = TcpStream::connect(service).await else { return };
            tokio::select! {
                // However it ends, it has ended.
                _ = copy_bidirectional(&mut client, &mut server) => {}
                _ = way.changed() => {}
            }
        }
    }
}

/// Passes on what comes until the client has sent so many pieces, and then waits for ever, unless one of them went before.
async fn falter(client: &mut TcpStream, server: &mut TcpStream, mut pieces: usize) {
    let (mut asked, mut answered) = ([0; 8192], [0; 8192]);
    while pieces > 0 {
        let passed = tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(length @ 1..) => {
                    pieces -= 1;
                    server.write_all(&asked[..length]).await
                }
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(length @ 1..) => client.write_all(&answered[..length]).await,
                _ => return,
            },
        };
        if passed.is_err() {
            return;
        }
    }
    std::future::pending().await
}
