//! The network in namespaces, checked by packets: they take their time, are lost in silence, and come again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use selvedge_tests::link::network::{Network, Place};

const DELAY: Duration = Duration::from_millis(40);
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(500);

/// Servers of UDP and TCP at the right end that say back what they hear; their addresses.
fn echo(network: &Arc<Network>) -> (SocketAddr, SocketAddr) {
    let (tell, told) = mpsc::channel();
    let network = Arc::clone(network);
    thread::spawn(move || {
        network.enter(Place::Right).unwrap();
        let udp = UdpSocket::bind((Network::address(Place::Right), 0)).unwrap();
        let tcp = TcpListener::bind((Network::address(Place::Right), 0)).unwrap();
        tell.send((udp.local_addr().unwrap(), tcp.local_addr().unwrap())).unwrap();
        // What it starts is where it is.
        thread::spawn(move || {
            let mut packet = [0; 2_048];
            while let Ok((length, from)) = udp.recv_from(&mut packet) {
                let _ = udp.send_to(&packet[..length], from);
            }
        });
        while let Ok((mut connection, _)) = tcp.accept() {
            let mut bytes = [0; 2_048];
            while let Ok(length @ 1..) = connection.read(&mut bytes) {
                if connection.write_all(&bytes[..length]).is_err() {
                    break;
                }
            }
        }
    });
    told.recv_timeout(LONG).unwrap()
}

#[test]
fn packets_take_their_time_and_are_lost_in_silence() {
    if let Some(lacking) = Network::lacking() {
        eprintln!("skipped: packets_take_their_time_and_are_lost_in_silence ({lacking})");
        return;
    }
    let network = Arc::new(Network::make(DELAY).unwrap());
    let (udp, tcp) = echo(&network);
    network.enter(Place::Left).unwrap();

    let socket = UdpSocket::bind((Network::address(Place::Left), 0)).unwrap();
    socket.connect(udp).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    let mut answer = [0; 64];
    let began = Instant::now();
    socket.send(b"one").unwrap();
    assert_eq!(socket.recv(&mut answer).unwrap(), 3);
    assert!(began.elapsed() >= 2 * DELAY, "{:?}", began.elapsed());

    let began = Instant::now();
    let mut connection = TcpStream::connect_timeout(&tcp, LONG).unwrap();
    connection.write_all(b"two").unwrap();
    connection.set_read_timeout(Some(LONG)).unwrap();
    connection.read_exact(&mut answer[..3]).unwrap();
    assert!(began.elapsed() >= 4 * DELAY, "a handshake and a question: {:?}", began.elapsed());

    network.silence(true).unwrap();
    socket.set_read_timeout(Some(SHORT)).unwrap();
    socket.send(b"lost").unwrap();
    assert!(socket.recv(&mut answer).is_err());
    connection.write_all(b"late").unwrap();
    connection.set_read_timeout(Some(SHORT)).unwrap();
    assert!(connection.read_exact(&mut answer[..4]).is_err());

    network.silence(false).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket.send(b"three").unwrap();
    let length = socket.recv(&mut answer).unwrap();
    assert_eq!(&answer[..length], b"three", "what was lost stays lost");
    connection.set_read_timeout(Some(LONG)).unwrap();
    connection.read_exact(&mut answer[..4]).unwrap();
    assert_eq!(&answer[..4], b"late", "TCP sends again");
}
