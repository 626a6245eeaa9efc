//! Passages of TCP: each direction of a connection is read, kept for the delay, and written.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::passage::bound;
use super::{Condition, Passage, Way, until_not};

/// Bytes read at once.
const CHUNK: usize = 16 << 10;
/// Chunks on their way in one direction; then the sender has to wait, as on any link: 4 MiB, 50 MB/s at 80 ms.
const CHUNKS_MAX: usize = 256;

pub(super) async fn open(port: u16, target: String, condition: watch::Receiver<Condition>) -> std::io::Result<Passage> {
    let listener = bound(|| TcpListener::bind(("127.0.0.1", port))).await?;
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move {
        // Ends with this task, and every connection with it.
        let mut connections = JoinSet::new();
        loop {
            // One that could not be accepted is the client's to try again.
            let Ok((client, _)) = listener.accept().await else { continue };
            connections.spawn(connection(client, target.clone(), condition.clone()));
            while connections.try_join_next().is_some() {}
        }
    });
    Ok(Passage::new(address, task))
}

async fn connection(client: TcpStream, target: String, mut condition: watch::Receiver<Condition>) {
    let mut cut = condition.clone();
    let passed = async {
        // Who connects into silence learns nothing until it ends.
        until_not(Way::Silent, &mut condition).await;
        // Refused here is refused there: the client's connection is closed.
        let server = TcpStream::connect(target).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let there = direction(from_client, to_server, condition.clone());
        let back = direction(from_server, to_client, condition);
        tokio::try_join!(there, back).map(drop)
    };
    tokio::select! {
        // However it ended, it has ended, for both sides.
        _ = passed => {}
        _ = cut.wait_for(|condition| condition.way == Way::Cut) => {}
    }
}

/// Carries what one side says to the other, its end included.
async fn direction(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut condition: watch::Receiver<Condition>,
) -> std::io::Result<()> {
    let (sender, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let reading = condition.clone();
    let read = async move {
        loop {
            let mut chunk = vec![0; CHUNK];
            let length = from.read(&mut chunk).await?;
            chunk.truncate(length);
            let due = Instant::now() + reading.borrow().delay;
            // An empty chunk is the end, and it travels as long as any other.
            if sender.send((due, chunk)).await.is_err() || length == 0 {
                return Ok(());
            }
        }
    };
    let write = async move {
        while let Some((due, chunk)) = under_way.recv().await {
            tokio::time::sleep_until(due).await;
            until_not(Way::Silent, &mut condition).await;
            if chunk.is_empty() {
                break;
            }
            to.write_all(&chunk).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(drop)
}
