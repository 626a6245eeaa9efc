//! Doors in front of a relay, for QUIC and for TCP, that can be shut: nothing goes through then, and nobody is told.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// See the module.
pub struct Door {
    pub address: SocketAddr,
    shut: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Door {
    /// Forwards datagrams.
    pub async fn udp(relay: SocketAddr) -> Self {
        let outside = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = outside.local_addr().unwrap();
        let shut = watch::channel(false).0;
        let task = tokio::spawn(forward(outside, relay, shut.subscribe()));
        Door { address, shut, task }
    }

    /// Forwards connections.
    pub async fn tcp(relay: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shut = watch::channel(false).0;
        let watching = shut.subscribe();
        let task = tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(relay).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                open.spawn(copy(from_client, to_server, watching.clone()));
                open.spawn(copy(from_server, to_client, watching.clone()));
            }
        });
        Door { address, shut, task }
    }

    pub fn shut(&self) {
        self.shut.send_replace(true);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(outside: Arc<UdpSocket>, relay: SocketAddr, shut: watch::Receiver<bool>) {
    let mut insides: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut answers = JoinSet::new();
    let mut packet = vec![0; 65_536];
    while let Ok((length, client)) = outside.recv_from(&mut packet).await {
        if *shut.borrow() {
            continue;
        }
        if let Entry::Vacant(vacant) = insides.entry(client) {
            let inside = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
            inside.connect(relay).await.unwrap();
            vacant.insert(Arc::clone(&inside));
            let (outside, shut) = (Arc::clone(&outside), shut.clone());
            answers.spawn(async move {
                let mut packet = vec![0; 65_536];
                while let Ok(length) = inside.recv(&mut packet).await {
                    if !*shut.borrow() {
                        let _ = outside.send_to(&packet[..length], client).await;
                    }
                }
            });
        }
        let _ = insides[&client].send(&packet[..length]).await;
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut shut: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 16 * 1024];
    let shut = async { drop(shut.wait_for(|shut| *shut).await) };
    let going = async {
        while let Ok(length @ 1..) = from.read(&mut bytes).await {
            if to.write_all(&bytes[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = going => return,
        () = shut => {}
    }
    // Held open, and silent.
    std::future::pending::<()>().await;
}
