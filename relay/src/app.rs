//! The relay assembled: opened in order, drained and closed in reverse.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::middleware::from_fn;
use axum::routing::get;
use axum::{Router, middleware};
use futures_util::future::BoxFuture;
use selvedge_protocol::message::Drain;
use selvedge_protocol::{CertificateHash, Channel, CloseCode, Endpoint, Instant};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::auth::Auth;
use crate::certificates::{Keeper, server_config};
use crate::clock::Clock;
use crate::config::Config;
use crate::decisions::Decisions;
use crate::hosting::Hosting;
use crate::listen::accept::serve;
use crate::listen::address::{Place, Waiting};
use crate::listen::advertise::Advertised;
use crate::listen::{web, websocket};
use crate::listing::Listing;
use crate::metrics::Metrics;
use crate::quic;
use crate::rest;
use crate::room::actor::Ground;
use crate::room::registry::Registry;
use crate::session::Fault;
use crate::sessions::Sessions;

/// Of the time for a drain, what clients get to leave by themselves.
const LEAVE_SHARE: u64 = 2;
/// How long answers to requests under way may take once nothing else is going on.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// Why the relay did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data folder cannot be used.
    #[error("--data {folder}")]
    Data {
        /// The folder.
        folder: String,
        /// Why.
        source: selvedge_region::Error,
    },
    /// A service of the region cannot be used.
    #[cfg(feature = "regional")]
    #[error(transparent)]
    Service(#[from] selvedge_region::regional::OpenError),
    /// An address cannot be listened on.
    #[error(
        "--{flag} {address} cannot be listened on\n  fix: stop what listens there, or give another address\n  cause"
    )]
    Listen {
        /// The flag.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// There is no certificate to show.
    #[error(transparent)]
    Certificate(#[from] crate::certificates::CertificateError),
    /// The settings cannot be served.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
}

/// Everything that requests and connections share.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) auth: Auth,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) sessions: Arc<Sessions>,
    /// Where TCP listens: the port of this relay's own pages.
    pub(crate) port: u16,
    /// The signed list of endpoints.
    pub(crate) listing: Arc<Listing>,
    /// What the control plane decided lately.
    pub(crate) decisions: Arc<Decisions>,
    advertised: Advertised,
    waiting: Arc<Waiting>,
    draining: AtomicBool,
}

impl App {
    /// Whether a new connection may say hello: its place among those that have not, or why not.
    pub(crate) fn admit(&self, address: IpAddr, origin_allowed: bool) -> Result<Place, Fault> {
        if !origin_allowed {
            return Err(Fault::new(CloseCode::FORBIDDEN, "Pages of this origin may not connect."));
        }
        if self.is_draining() || self.sessions.len() as u64 >= self.config.listen.connections_max {
            return Err(Fault::new(CloseCode::DRAINING, CloseCode::DRAINING.sentence()));
        }
        let place = self.waiting.enter(address);
        place.ok_or_else(|| Fault {
            retry_after_ms: self.config.limits.hello_ms,
            ..Fault::new(CloseCode::RATE_LIMITED, "Too many connections from this address have not said hello.")
        })
    }

    /// A place for somebody who shakes hands, if there is one.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Place> {
        self.waiting.enter(address)
    }

    /// Whether so many shake hands that a newcomer must first prove its address.
    pub(crate) fn is_crowded(&self, address: IpAddr) -> bool {
        self.waiting.is_crowded(address)
    }

    /// The relays of this service as they are advertised now, this one first. `host`: see [`Advertised::endpoints`].
    pub(crate) fn endpoints(&self, host: Option<&str>) -> Vec<Endpoint> {
        self.advertised.endpoints(host)
    }

    /// A session number nobody else has: random, below 2^53, never 0.
    pub(crate) fn next_session(&self) -> u64 {
        (rand::random::<u64>() >> 11).max(1)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Why new sessions should not come here; `None`: they should.
    pub(crate) fn not_ready(&self) -> Option<String> {
        if self.is_draining() {
            return Some("draining".to_owned());
        }
        let problem = self.registry.ground().log_health.problem(self.clock.now())?;
        Some(format!("the log takes no appends: {problem}"))
    }
}

/// A relay that runs.
pub struct Running {
    /// Where documents are served.
    pub address: SocketAddr,
    /// Where metrics and health are served.
    pub admin: SocketAddr,
    /// Where WebTransport and native QUIC are served.
    pub quic: Option<SocketAddr>,
    tls: bool,
    app: Arc<App>,
    hosting: Hosting,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
}

/// What listens, before anything is served.
struct Listening {
    documents: TcpListener,
    admin: TcpListener,
    quic: Option<quinn::Endpoint>,
    tls: Option<TlsAcceptor>,
    certificates: Option<Keeper>,
}

impl Listening {
    async fn open(config: &Config) -> Result<Self, StartError> {
        let documents = bind("listen", config.listen.listen).await?;
        let admin = bind("admin", config.listen.admin).await?;
        let has_certificate = config.tls.files().is_some();
        let quic = config.quic.address(local(&documents, config.listen.listen), has_certificate);
        let certificates = match quic.is_some() || has_certificate {
            true => Some(Keeper::open(&config.tls, config.data.join("certificates"))?),
            false => None,
        };
        let tls = certificates
            .as_ref()
            .filter(|_| has_certificate)
            .map(|keeper| TlsAcceptor::from(Arc::new(server_config(keeper.certificates(), &[b"http/1.1"], false))));
        let quic = match (quic, &certificates) {
            (Some(address), Some(keeper)) => {
                let any_port = config.quic.quic.is_none();
                let bound = quic::bind(&config.quic, address, any_port, keeper.certificates());
                Some(bound.map_err(|source| StartError::Listen { flag: "quic", address, source })?)
            }
            _ => None,
        };
        Ok(Listening { documents, admin, quic, tls, certificates })
    }
}

/// Opens the region, listens, and serves until [`Running::drain`].
///
/// # Errors
/// [`StartError`] names the flag, the value and the fix.
pub fn run(config: Config) -> BoxFuture<'static, Result<Running, StartError>> {
    Box::pin(async move {
        config.check()?;
        let auth = Auth::new(&config.auth).await?;
        let listening = Listening::open(&config).await?;
        let address = local(&listening.documents, config.listen.listen);
        let admin_address = local(&listening.admin, config.listen.admin);
        let quic_address = listening.quic.as_ref().and_then(|endpoint| endpoint.local_addr().ok());
        let hosting = Hosting::open(&config).await?;
        let region = hosting.region().clone();
        let clock = Clock::start();
        let metrics = Arc::new(Metrics::new());
        let ground = Arc::new(Ground {
            region,
            config: config.room.clone(),
            restored: config.restored,
            highest: hosting.highest(&config),
            number: hosting.number(),
            tags: config.tag_keys()?.map(Arc::new),
            // Where people prove who they are, opening makes only what they may make, and says so before.
            open_creates: auth.is_open(),
            clock,
            metrics: Arc::clone(&metrics),
            log_health: Arc::default(),
        });
        let advertised = Advertised {
            region: config.region.clone(),
            named: config.listen.advertise.clone(),
            tcp: address,
            tls: listening.tls.is_some(),
            quic: quic_address.zip(listening.certificates.as_ref().map(Keeper::certificates)),
        };
        let app = Arc::new(App {
            auth,
            clock,
            metrics,
            registry: Registry::new(ground, rand::random()),
            sessions: Arc::default(),
            port: address.port(),
            listing: Arc::new(Listing::new()),
            decisions: Arc::new(Decisions::new()),
            advertised,
            waiting: Waiting::new(&config.listen),
            draining: AtomicBool::new(false),
            config,
        });
        let (stop, stopped) = watch::channel(false);
        let tls = listening.tls.is_some();
        let servers = start(&app, listening, &stopped);
        tracing::info!(%address, admin = %admin_address, quic = ?quic_address, "ready");
        Ok(Running { address, admin: admin_address, quic: quic_address, tls, app, hosting, stop, servers })
    })
}

/// Serves at everything that listens.
fn start(app: &Arc<App>, listening: Listening, stopped: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let Listening { documents: listen, admin, quic, tls, certificates } = listening;
    let (config, waiting) = (&app.config.listen, &app.waiting);
    let mut servers = vec![
        tokio::spawn(serve(listen, documents(app), config.clone(), tls, Arc::clone(waiting), stopped.clone())),
        tokio::spawn(serve(admin, administration(app), config.clone(), None, Arc::clone(waiting), stopped.clone())),
    ];
    let control = Arc::clone(&app.registry.ground().region.control);
    let (listing, metrics) = (Arc::clone(&app.listing), Arc::clone(&app.metrics));
    servers.push(tokio::spawn(listing.keep_up(control, metrics, stopped.clone())));
    let (decisions, registry) = (Arc::clone(&app.decisions), Arc::clone(&app.registry));
    servers.push(tokio::spawn(decisions.keep_up(registry, stopped.clone())));
    if let Some(endpoint) = quic {
        servers.push(tokio::spawn(quic::serve(endpoint, Arc::clone(app), stopped.clone())));
    }
    if let Some(keeper) = certificates {
        servers.push(tokio::spawn(keeper.run(Arc::clone(&app.metrics), stopped.clone())));
    }
    servers
}

impl Running {
    /// The URL for people.
    pub fn url(&self) -> String {
        format!("{}://{}/", if self.tls { "https" } else { "http" }, self.address)
    }

    /// Connections open now.
    pub fn connections(&self) -> usize {
        self.app.sessions.len()
    }

    /// SHA-256 of the certificates that QUIC shows now and next, where no authority vouches for them.
    pub fn certificates(&self) -> Vec<CertificateHash> {
        self.app.advertised.quic.as_ref().map_or_else(Vec::new, |(_, certificates)| certificates.hashes())
    }

    /// Rooms in memory now.
    pub fn rooms(&self) -> usize {
        self.app.registry.len()
    }

    /// Tasks of rooms that have not ended.
    pub fn room_tasks(&self) -> usize {
        self.app.registry.tasks()
    }

    /// Sends clients away, finishes what is under way, and closes everything. Answers whether all of it was done in time.
    pub fn drain(self) -> BoxFuture<'static, bool> {
        Box::pin(async move {
            let Running { app, hosting, stop, servers, .. } = self;
            let patience = Duration::from_millis(app.config.drain_ms);
            let deadline = tokio::time::Instant::now() + patience;
            app.draining.store(true, Ordering::Release);
            tracing::info!(sessions = app.sessions.len(), "draining");
            let leave_ms = app.config.drain_ms / LEAVE_SHARE;
            send_away(&app, leave_ms);
            let _ = tokio::time::timeout(Duration::from_millis(leave_ms), app.sessions.none_left()).await;
            for outbound in app.sessions.all() {
                outbound.close(Fault::new(CloseCode::DRAINING, CloseCode::DRAINING.sentence()));
            }
            let left = tokio::time::timeout_at(deadline, app.sessions.none_left()).await;
            stop.send_replace(true);
            let rest = deadline.saturating_duration_since(tokio::time::Instant::now()).max(Duration::from_millis(100));
            let stopped = app.registry.stop(rest).await;
            for mut server in servers {
                if tokio::time::timeout(LAST_ANSWERS, &mut server).await.is_err() {
                    server.abort();
                }
            }
            hosting.close().await;
            tracing::info!("closed");
            left.is_ok() && stopped
        })
    }
}

/// Tells every client where to go, at a moment of its own within the time given.
fn send_away(app: &App, leave_ms: u64) {
    let after_ms = u32::try_from(leave_ms / 2).unwrap_or(u32::MAX);
    let elsewhere: Vec<Endpoint> = app.endpoints(None).into_iter().skip(1).collect();
    let now: Instant = app.clock.now();
    for outbound in app.sessions.all() {
        outbound.push(Channel::CONNECTION, Drain { endpoints: elsewhere.clone(), after_ms }.into(), now);
    }
}

fn documents(app: &Arc<App>) -> Router {
    let router = Router::new()
        .route("/v1/connect", get(websocket::connect))
        .merge(rest::operations())
        .merge(rest::documents(app))
        .layer(middleware::from_fn_with_state(Arc::clone(app), rest::count))
        .with_state(Arc::clone(app));
    let router = match &app.config.listen.web {
        Some(folder) => router.merge(web::pages(folder)),
        None => router.fallback(web::nothing_here),
    };
    router.layer(from_fn(web::secure))
}

fn administration(app: &Arc<App>) -> Router {
    rest::operations().with_state(Arc::clone(app)).layer(from_fn(web::secure))
}

async fn bind(flag: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { flag, address, source })
}

fn local(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

/// Copies the data of a relay, running or not, into a new file.
///
/// # Errors
/// As the region's backup.
pub fn backup<'a>(data: &'a Path, file: &'a Path) -> BoxFuture<'a, Result<(), selvedge_region::Error>> {
    Box::pin(async move { selvedge_region::embedded::backup(data, file).await })
}
