//! Passages of UDP: every client's packets go out from a socket of its own, so that answers find their way back.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::passage::bound;
use super::{Condition, Passage, Way};

/// The largest packet there is.
const PACKET_MAX: usize = 65_536;
/// Packets on their way in one direction; more are lost, as in any router.
const PACKETS_MAX: usize = 4_096;
/// Clients at a time; the oldest gives way, as in any table of translations.
const CLIENTS_MAX: usize = 1_024;

type Packet = (Instant, Vec<u8>);

pub(super) async fn open(port: u16, target: String, condition: watch::Receiver<Condition>) -> std::io::Result<Passage> {
    let socket = Arc::new(bound(|| UdpSocket::bind(("127.0.0.1", port))).await?);
    let address = socket.local_addr()?;
    let task = tokio::spawn(async move {
        let mut flows = JoinSet::new();
        let mut clients: HashMap<SocketAddr, (u64, mpsc::Sender<Packet>)> = HashMap::new();
        let mut packet = vec![0; PACKET_MAX];
        for number in 0.. {
            // An error tells of an earlier packet that found nobody; that is the sender's to notice.
            let Ok((length, client)) = socket.recv_from(&mut packet).await else { continue };
            let now = *condition.borrow();
            if now.way != Way::Open {
                continue;
            }
            if clients.get(&client).is_none_or(|(_, packets)| packets.is_closed()) {
                if clients.len() >= CLIENTS_MAX
                    && let Some(oldest) =
                        clients.iter().min_by_key(|(_, (number, _))| *number).map(|(client, _)| *client)
                {
                    clients.remove(&oldest);
                }
                let (sender, packets) = mpsc::channel(PACKETS_MAX);
                flows.spawn(flow(client, target.clone(), packets, Arc::clone(&socket), condition.clone()));
                clients.insert(client, (number, sender));
            }
            if let Some((_, packets)) = clients.get(&client) {
                // Full: lost.
                let _ = packets.try_send((Instant::now() + now.delay, packet[..length].to_vec()));
            }
            while flows.try_join_next().is_some() {}
        }
    });
    Ok(Passage::new(address, task))
}

/// One client's packets, there and back; ends when it is forgotten.
async fn flow(
    client: SocketAddr,
    target: String,
    mut there: mpsc::Receiver<Packet>,
    front: Arc<UdpSocket>,
    condition: watch::Receiver<Condition>,
) -> std::io::Result<()> {
    let server = UdpSocket::bind(("127.0.0.1", 0)).await?;
    server.connect(target).await?;
    let (sender, mut back) = mpsc::channel::<Packet>(PACKETS_MAX);
    let send = async {
        while let Some((due, packet)) = there.recv().await {
            tokio::time::sleep_until(due).await;
            // Nobody there: lost.
            let _ = server.send(&packet).await;
        }
    };
    let hear = async {
        let mut packet = vec![0; PACKET_MAX];
        loop {
            let Ok(length) = server.recv(&mut packet).await else { continue };
            let now = *condition.borrow();
            if now.way == Way::Open {
                let _ = sender.try_send((Instant::now() + now.delay, packet[..length].to_vec()));
            }
        }
    };
    let answer = async {
        while let Some((due, packet)) = back.recv().await {
            tokio::time::sleep_until(due).await;
            let _ = front.send_to(&packet, client).await;
        }
    };
    tokio::select! {
        () = send => {}
        () = hear => {}
        () = answer => {}
    }
    Ok(())
}
