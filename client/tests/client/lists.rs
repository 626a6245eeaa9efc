//! Signed lists of endpoints, told by a server that says exactly what a test wants it to.

use std::path::Path;

use futures_util::{SinkExt, StreamExt};
use rcgen::{KeyPair, PublicKeyData as _};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use selvedge_client::{ClientOptions, Handle, OpenOptions};
use selvedge_protocol::message::{HelloOk, Limits, PingPolicy, Pong, SignedEndpoints};
use selvedge_protocol::{
    Channel, ClientMessage, EndpointList, Features, Frames, ListKey, ServerMessage, SignedList, relays_at,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::PATIENCE;

/// Whoever signs.
struct Signer {
    pair: KeyPair,
    key: ListKey,
}

impl Signer {
    fn new() -> Self {
        let pair = KeyPair::generate().unwrap();
        let key = ListKey::from_point(pair.der_bytes()).unwrap();
        Self { pair, key }
    }

    fn sign(&self, epoch: u64, url: &str) -> String {
        let endpoints = relays_at([("b", url)]);
        let list = EndpointList { format: 1, epoch, issue: 1, home: "b".to_owned(), endpoints };
        let input = list.signing_input(&self.key);
        let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pair = EcdsaKeyPair::from_pkcs8(kind, &self.pair.serialize_der(), &random).unwrap();
        SignedList::join(&input, pair.sign(&random, input.as_bytes()).unwrap().as_ref()).unwrap()
    }
}

/// Says hello to everybody, answers pings, and tells all lists it has in their order, and others as it gets them.
struct Server {
    url: String,
    lists: watch::Sender<Vec<String>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/v1/connect", listener.local_addr().unwrap());
        let lists = watch::Sender::new(Vec::new());
        let told = lists.subscribe();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, told.clone()));
            }
        });
        Self { url, lists, task }
    }

    fn tell(&self, signed: String) {
        self.lists.send_modify(|lists| lists.push(signed));
    }
}

async fn serve(stream: TcpStream, mut lists: watch::Receiver<Vec<String>>) {
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    let (mut greeted, mut told) = (false, 0);
    loop {
        let answer: ServerMessage = tokio::select! {
            message = socket.next() => {
                let Some(Ok(Message::Binary(bytes))) = message else { return };
                let Some(answer) = Frames::new(&bytes).find_map(|frame| answer(&frame.unwrap())) else { continue };
                answer
            }
            Ok(next) = next(&mut lists, told), if greeted => {
                told += 1;
                SignedEndpoints { signed: next }.into()
            }
        };
        greeted |= matches!(answer, ServerMessage::HelloOk(_));
        let bytes = answer.to_frame(Channel::CONNECTION).unwrap();
        if socket.send(Message::Binary(bytes.into())).await.is_err() {
            return;
        }
    }
}

/// The list behind so many, once it is there.
async fn next(lists: &mut watch::Receiver<Vec<String>>, told: usize) -> Result<String, watch::error::RecvError> {
    lists.wait_for(|lists| lists.len() > told).await.map(|lists| lists[told].clone())
}

fn answer(frame: &selvedge_protocol::Frame<'_>) -> Option<ServerMessage> {
    match ClientMessage::decode(frame).unwrap()? {
        ClientMessage::Hello(hello) => {
            assert!(Features(hello.features).contains(Features::SIGNED_ENDPOINTS), "a client with a key says so");
            let ok = HelloOk {
                format: 1,
                version: 1,
                features: Features::SIGNED_ENDPOINTS.0,
                session: 1,
                region: "b".to_owned(),
                endpoints: relays_at([("x", "ws://unsigned.invalid")]),
                limits: Limits::default(),
                ping: PingPolicy::default(),
            };
            Some(ok.into())
        }
        ClientMessage::Ping(ping) => Some(Pong { nonce: ping.nonce }.into()),
        _ => None,
    }
}

fn connect(url: &str, signer: &Signer, file: Option<&Path>) -> Handle {
    let trust = vec![signer.key.to_pem()];
    Handle::connect(url, ClientOptions { trust, endpoints_file: file.map(Path::to_owned), ..ClientOptions::default() })
        .unwrap()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

fn epoch(handle: &Handle) -> Option<u64> {
    handle.endpoints().map(|stamp| stamp.epoch)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_verified_kept_and_found_again_when_the_address_given_is_dead() {
    let (folder, signer, foreign) = (tempfile::tempdir().unwrap(), Signer::new(), Signer::new());
    let file = folder.path().join("endpoints");
    let server = Server::start().await;
    let handle = connect(&server.url, &signer, Some(&file));
    let doc = handle.open("notes", OpenOptions::default()).await.unwrap();
    server.tell(signer.sign(3, &server.url));
    until("the list holds", || epoch(&handle) == Some(3)).await;
    // If one of epoch 9 had been believed, nothing newer would hold.
    for (refused, newer) in [(foreign.sign(9, "ws://evil.invalid"), 4), (signer.sign(2, "ws://old.invalid"), 5)] {
        server.tell(refused);
        server.tell(signer.sign(newer, &server.url));
        until("a newer list holds", || epoch(&handle) == Some(newer)).await;
        assert!(handle.link().is_some(), "the connection goes on");
    }
    until("the newest list is kept", || {
        std::fs::read_to_string(&file).is_ok_and(|kept| server.lists.borrow().last() == Some(&kept))
    })
    .await;
    drop((doc, handle));

    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let again = connect(&format!("ws://{dead}"), &signer, Some(&file));
    assert_eq!(epoch(&again), Some(5), "it holds before anything is connected to");
    let _doc = again.open("notes", OpenOptions::default()).await.unwrap();
    until("the list leads to the server", || again.link().is_some_and(|link| link.url == server.url)).await;
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let options = ClientOptions { trust: vec!["no key".to_owned()], ..ClientOptions::default() };
    let refused = Handle::connect("http://127.0.0.1:1", options).err().unwrap().to_string();
    assert!(refused.contains("openssl pkey"), "it names the fix: {refused}");
}
