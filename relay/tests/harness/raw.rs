//! A WebSocket that says exactly what a test wants it to.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use selvedge_engine::{Delta, Document, SiteId};
use selvedge_protocol::message::{Hello, Open, OpenOk, Push};
use selvedge_protocol::stream::StreamEncoder;
use selvedge_protocol::{Channel, ClientMessage, CloseCode, Frames, ServerMessage};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// See the module.
pub struct Raw {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    received: Vec<(Channel, ServerMessage)>,
    encoder: StreamEncoder,
    pushes: u64,
}

impl Raw {
    pub async fn connect(url: &str) -> Self {
        Self::connect_with(url, &[]).await
    }

    pub async fn connect_with(url: &str, fields: &[(&'static str, &str)]) -> Self {
        let mut request = url.into_client_request().unwrap();
        for (name, value) in fields {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        Raw { socket, received: Vec::new(), encoder: StreamEncoder::new(), pushes: 0 }
    }

    /// Connects, says hello under a name, and waits for its answer.
    pub async fn hello(url: &str, name: &str) -> Self {
        let mut raw = Self::connect(url).await;
        raw.send(Channel::CONNECTION, hello(&[1], Some(name))).await;
        raw.expect(|message| matches!(message, ServerMessage::HelloOk(_))).await;
        raw
    }

    pub async fn send(&mut self, channel: Channel, message: impl Into<ClientMessage>) {
        let bytes = message.into().to_frame(channel).unwrap();
        self.bytes(bytes).await;
    }

    /// Sends what the relay may refuse before all of it is sent: its close is there to be read all the same.
    pub async fn bytes(&mut self, bytes: Vec<u8>) {
        if let Err(error) = self.socket.send(Message::Binary(bytes.into())).await {
            eprintln!("the relay did not take all of a message: {error}");
        }
    }

    pub async fn open(&mut self, channel: u32, document: &str) -> OpenOk {
        self.send(Channel(channel), open(document)).await;
        match self.expect(|message| matches!(message, ServerMessage::OpenOk(_))).await {
            (_, ServerMessage::OpenOk(ok)) => ok,
            _ => unreachable!(),
        }
    }

    pub async fn push(&mut self, channel: u32, deltas: &[Delta]) {
        let mut bytes = Vec::new();
        for delta in deltas {
            self.encoder.push(delta, &mut bytes);
        }
        let seq = self.pushes;
        self.pushes += 1;
        self.send(Channel(channel), Push { seq, tag: None, deltas: bytes.into() }).await;
    }

    /// The first message like this; others before it are let go.
    pub async fn expect(&mut self, like: impl Fn(&ServerMessage) -> bool) -> (Channel, ServerMessage) {
        loop {
            if let Some(at) = self.received.iter().position(|(_, message)| like(message)) {
                return self.received.drain(..=at).next_back().unwrap();
            }
            let bytes = match self.next().await {
                Some(Message::Binary(bytes)) => bytes,
                Some(Message::Close(frame)) => panic!("closed: {frame:?}, before that {:?}", self.received),
                Some(_) => continue,
                None => panic!("the connection is gone; before that {:?}", self.received),
            };
            for frame in Frames::new(&bytes) {
                let frame = frame.unwrap();
                if let Some(message) = ServerMessage::decode(&frame).unwrap() {
                    self.received.push((frame.channel, message));
                }
            }
        }
    }

    /// The code the connection is closed with, whatever comes before; 1006 if it just ends.
    pub async fn closed(&mut self) -> CloseCode {
        loop {
            match self.next().await {
                Some(Message::Close(Some(frame))) => return CloseCode(frame.code.into()),
                Some(Message::Close(None)) | None => return CloseCode::ABNORMAL,
                Some(_) => {}
            }
        }
    }

    async fn next(&mut self) -> Option<Message> {
        let message = tokio::time::timeout(Duration::from_secs(20), self.socket.next()).await;
        message.expect("nothing came").and_then(Result::ok)
    }
}

pub fn hello(versions: &[u8], name: Option<&str>) -> Hello {
    Hello {
        format: 1,
        versions: versions.to_vec(),
        features: 0,
        client: "hostile".into(),
        token: name.map(|name| format!("anon:{name}")),
    }
}

pub fn open(document: &str) -> Open {
    Open {
        document: document.into(),
        generation: 0,
        position: None,
        vector_hash: 0,
        outbox: Vec::new(),
        outbox_bytes: 0,
        token: None,
        wants_site: false,
    }
}

/// One delta a word, written one after the other.
pub fn words(site: SiteId, words: &[&str]) -> Vec<Delta> {
    let mut document = Document::new();
    document.begin_writing(site, 1).unwrap();
    let mut deltas = Vec::new();
    for word in words {
        document.replace(document.len_utf16(), 0, word).unwrap();
        deltas.extend(document.seal());
    }
    deltas
}
