//! A link delays what it passes, keeps back what it is silent about, and cuts what it is cut for.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

use super::{Link, Way};

const DELAY: Duration = Duration::from_millis(60);
const LONG: Duration = Duration::from_secs(20);
/// Long enough for what would come, if it came.
const SHORT: Duration = Duration::from_millis(300);

/// A server that says back what it hears.
async fn tcp_echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = connection.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    address
}

async fn udp_echo() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut packet = [0; 2_048];
        while let Ok((length, from)) = socket.recv_from(&mut packet).await {
            let _ = socket.send_to(&packet[..length], from).await;
        }
    });
    address
}

async fn answered(connection: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
    connection.write_all(text).await?;
    let mut answer = vec![0; text.len()];
    connection.read_exact(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn tcp_is_late_whole_and_ended() {
    let link = Link::new(DELAY);
    let passage = link.tcp(0, &tcp_echo().await).await.unwrap();
    let mut connection = TcpStream::connect(passage.address()).await.unwrap();
    let began = Instant::now();
    assert_eq!(answered(&mut connection, b"there and back").await.unwrap(), b"there and back");
    assert!(began.elapsed() >= 2 * DELAY, "{:?}", began.elapsed());
    // More than fits on the way at once.
    let much: Vec<u8> = (0..6 << 20).map(|n| (n % 251) as u8).collect();
    let (mut reader, mut writer) = connection.split();
    let mut heard = Vec::new();
    let say = async {
        writer.write_all(&much).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    timeout(LONG, async { tokio::join!(say, reader.read_to_end(&mut heard)).1 }).await.unwrap().unwrap();
    assert!(heard == much, "{} of {} bytes", heard.len(), much.len());
}

#[tokio::test]
async fn tcp_is_kept_back_in_silence_and_goes_on() {
    let link = Link::new(Duration::ZERO);
    let passage = link.tcp(0, &tcp_echo().await).await.unwrap();
    let mut connection = TcpStream::connect(passage.address()).await.unwrap();
    answered(&mut connection, b"before").await.unwrap();
    link.set(Way::Silent);
    let mut late = TcpStream::connect(passage.address()).await.unwrap();
    assert!(timeout(SHORT, answered(&mut connection, b"silence")).await.is_err());
    assert!(timeout(SHORT, answered(&mut late, b"late")).await.is_err());
    link.set(Way::Open);
    let mut answer = [0; 7];
    timeout(LONG, connection.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"silence");
    timeout(LONG, late.read_exact(&mut answer[..4])).await.unwrap().unwrap();
}

#[tokio::test]
async fn tcp_is_closed_by_a_cut_and_comes_back() {
    let link = Link::new(Duration::ZERO);
    let passage = link.tcp(0, &tcp_echo().await).await.unwrap();
    let mut connection = TcpStream::connect(passage.address()).await.unwrap();
    answered(&mut connection, b"before").await.unwrap();
    link.set(Way::Cut);
    let mut byte = [0];
    assert!(matches!(timeout(LONG, connection.read(&mut byte)).await.unwrap(), Ok(0) | Err(_)));
    let mut refused = TcpStream::connect(passage.address()).await.unwrap();
    assert!(matches!(timeout(LONG, refused.read(&mut byte)).await.unwrap(), Ok(0) | Err(_)));
    link.set(Way::Open);
    let mut connection = TcpStream::connect(passage.address()).await.unwrap();
    assert_eq!(timeout(LONG, answered(&mut connection, b"after")).await.unwrap().unwrap(), b"after");
}

#[tokio::test]
async fn udp_is_late_and_lost_while_nothing_passes() {
    let link = Link::new(DELAY);
    let passage = link.udp(0, &udp_echo().await).await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(passage.address()).await.unwrap();
    let mut answer = [0; 64];
    let began = Instant::now();
    socket.send(b"one").await.unwrap();
    let length = timeout(LONG, socket.recv(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer[..length], b"one");
    assert!(began.elapsed() >= 2 * DELAY);
    for way in [Way::Silent, Way::Cut] {
        link.set(way);
        socket.send(b"lost").await.unwrap();
        assert!(timeout(SHORT, socket.recv(&mut answer)).await.is_err());
    }
    link.set(Way::Open);
    socket.send(b"two").await.unwrap();
    let length = timeout(LONG, socket.recv(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer[..length], b"two", "what was lost stays lost");
}
