//! One connection to a deployment, and the documents opened over it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use selvedge_protocol::client::{ClientConfig, Error as ClientError, LinkInfo, ReplicaConfig};
use selvedge_protocol::{CertificateHash, DEFAULT_TENANT, DocumentId, ListStamp, Transport};

use crate::core::{Owner, Shared, Told};
use crate::store::Store;
use crate::trust::Trust;
use crate::url::endpoint;
use crate::{Doc, Error, driver, tls};

/// How to connect.
#[derive(Debug, Clone, Default)]
pub struct ClientOptions {
    /// Token of the person or program; without one, an anonymous principal.
    pub token: Option<String>,
    /// Who writes, where `token` does not say it; default: `anon:` and 128 random bits, new for each handle. With a
    /// [`crate::FileStore`], pass its principal.
    pub principal: Option<String>,
    /// Name of this program, for the server's logs; default: this crate and its version.
    pub name: Option<String>,
    /// Certificates (PEM) of authorities to trust beside those of this system, for `https` and `wss` addresses.
    pub ca: Option<PathBuf>,
    /// SHA-256 of the only certificates to accept by `quic` addresses given here; none: those that authorities vouch for. A relay
    /// without a certificate of its own tells them at `/v1/endpoints`.
    pub certificate_hashes: Vec<CertificateHash>,
    /// Public keys (P-256, PEM) of whoever signs this deployment's list of endpoints. With any, relays are learnt from lists that one
    /// of them signed and from nothing else; none: servers are believed. Two are given while one is replaced by another.
    pub trust: Vec<String>,
    /// File that keeps the newest list between starts, so that no older one is ever believed again; none: only this handle
    /// remembers. Unused without `trust`.
    pub endpoints_file: Option<PathBuf>,
    /// Ways to reach a relay, best first; none: QUIC, and half a second later a WebSocket beside it, the first to answer being used.
    /// WebTransport is for browsers, and left out.
    pub transports: Vec<Transport>,
    /// Do not connect before [`Handle::go_online`].
    pub offline: bool,
}

/// How to open a document.
#[derive(Clone, Default)]
pub struct OpenOptions {
    /// Where the document and what is not yet saved are kept; none: only in memory, until this process ends.
    pub store: Option<Arc<dyn Store>>,
    /// Token for this document; default: the connection's.
    pub token: Option<String>,
    /// What the document begins with if nobody has written it yet, at most 16 KiB. Devices that begin it with the same
    /// text, even offline, have it once.
    pub initial_text: Option<String>,
}

/// A connection that keeps itself up, and its documents. Clones are the same connection. When the last clone and the last
/// document are dropped, it is cut; [`Doc::close`] is the polite way.
#[derive(Clone)]
pub struct Handle {
    pub(crate) owner: Arc<Owner>,
    principal: String,
}

impl Handle {
    /// Prepares a connection to the relay at that address, such as `http://127.0.0.1:4400` or `quic://127.0.0.1:4400`, or at one of
    /// several, separated by commas, best first. It connects in the background and again after every loss, to whichever relay
    /// answers, and learns from it of others. Needs a Tokio runtime.
    ///
    /// # Errors
    /// `Url` when the address cannot be used, `Authorities` when the certificates cannot, `TrustKey` when a key cannot.
    pub fn connect(url: &str, options: ClientOptions) -> Result<Self, Error> {
        let endpoints =
            url.split(',').map(|url| endpoint(url.trim(), &options.certificate_hashes)).collect::<Result<_, _>>()?;
        let tls = tls::config(options.ca.as_deref())?;
        let trust = match options.trust.is_empty() {
            true => None,
            false => Some(Arc::new(Trust::new(&options.trust, options.endpoints_file)?)),
        };
        let principal = options.principal.unwrap_or_else(anonymous);
        let mut transports = options.transports;
        transports.retain(|transport| *transport != Transport::WebTransport);
        if transports.is_empty() {
            transports = vec![Transport::Quic, Transport::WebSocket];
        }
        let name = concat!("selvedge-client/", env!("CARGO_PKG_VERSION"));
        let config = ClientConfig {
            endpoints,
            signed: trust.is_some(),
            transports,
            // A deployment without sign-in takes the principal for a token.
            token: Some(options.token.unwrap_or_else(|| principal.clone())),
            seed: rand::random(),
            client: options.name.unwrap_or_else(|| name.to_owned()),
            online: !options.offline,
        };
        let kept = trust.as_ref().and_then(|trust| trust.kept());
        let shared = Arc::new(Shared::new(config, tls, trust));
        if let Some((signed, list)) = kept {
            shared.act(|state, now| state.client.restore_endpoints(signed, &list, now));
        }
        let driver = Mutex::new(Some(tokio::spawn(driver::run(Arc::clone(&shared)))));
        Ok(Self { owner: Arc::new(Owner { shared, driver }), principal })
    }

    /// Opens a document, `tenant/name` or a bare name of the tenant `default`: what the store holds is there at once.
    ///
    /// # Errors
    /// `DocumentId`, `Client` (open already, too many), or what the store says.
    pub fn open<'a>(&'a self, document: &'a str, options: OpenOptions) -> BoxFuture<'a, Result<Doc, Error>> {
        Box::pin(async move {
            let id = DocumentId::parse(document, DEFAULT_TENANT)
                .map_err(|source| Error::DocumentId { value: document.to_owned(), source })?;
            let OpenOptions { store, token, initial_text } = options;
            let restored = match store.clone() {
                None => None,
                Some(store) => {
                    let id = id.clone();
                    let loaded = tokio::task::spawn_blocking(move || store.load(&id)).await;
                    loaded.unwrap_or(Err(Error::NotOpen))?
                }
            };
            let config = ReplicaConfig {
                token,
                store: store.is_some(),
                restored,
                initial_text,
                ..ReplicaConfig::new(id.clone(), self.principal.clone(), rand::random())
            };
            let opened = self.shared().act(|state, now| {
                let channel = state.client.open(config, now)?;
                // Before the effects of opening are told.
                state.documents.insert(channel, Told::new(store));
                Ok::<_, ClientError>(channel)
            });
            Ok(Doc::new(Arc::clone(&self.owner), opened?, id))
        })
    }

    /// Who writes through this handle.
    #[must_use]
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// The connection in use; `None` while there is none.
    #[must_use]
    pub fn link(&self) -> Option<LinkInfo> {
        self.shared().look(|state, _| state.link.clone())
    }

    /// The newest signed list of endpoints known; `None` while none is.
    #[must_use]
    pub fn endpoints(&self) -> Option<ListStamp> {
        self.shared().look(|state, _| state.client.endpoints())
    }

    /// Connects, and again after every loss.
    pub fn go_online(&self) {
        self.shared().act(|state, now| state.client.go_online(now));
    }

    /// Disconnects and stays so. Editing goes on.
    pub fn go_offline(&self) {
        self.shared().act(|state, now| state.client.go_offline(now));
    }

    /// Sends what is on its way out, closes the connection, and waits for that, at most two seconds. Documents that are
    /// still open stay readable and are not sent any more: close them first.
    pub fn close(self) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.shared().stopped.send_replace(true);
            let driver = self.owner.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(driver) = driver
                && let Err(error) = driver.await
            {
                tracing::error!(%error, "the driver ended by a fault");
            }
        })
    }

    fn shared(&self) -> &Shared {
        &self.owner.shared
    }
}

/// A principal for somebody who did not sign in.
pub(crate) fn anonymous() -> String {
    format!("anon:{:032x}", rand::random::<u128>())
}
