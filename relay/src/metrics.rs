//! What the relay counts. One struct; each entry says when it moves.

use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use selvedge_protocol::CloseCode;

use crate::auth::TokenFault;
use crate::room::RoomCounts;

/// A refusal's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CodeLabel {
    /// The close code, or the HTTP status.
    pub(crate) code: u32,
}

/// Why a token was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReasonLabel {
    /// The check it failed.
    pub(crate) reason: &'static str,
}

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Carrier {
    /// WebSocket over TCP.
    WebSocket,
    /// WebTransport over HTTP/3.
    WebTransport,
    /// Our own protocol over QUIC.
    Quic,
}

impl Carrier {
    /// The word in logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Carrier::WebSocket => "websocket",
            Carrier::WebTransport => "webtransport",
            Carrier::Quic => "quic",
        }
    }
}

/// The carrier as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CarrierLabel {
    /// What carries the connection.
    pub(crate) transport: Carrier,
}

/// Connections of one carrier.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionCounts {
    /// Open now.
    pub(crate) open: Gauge,
    /// Accepted so far.
    pub(crate) opened: Counter,
}

/// Everything the relay counts, under `selvedge_relay_*`.
pub(crate) struct Metrics {
    registry: Registry,
    /// Connections that are open now, by transport.
    connections: Family<CarrierLabel, Gauge>,
    /// Connections accepted so far, by transport.
    connections_total: Family<CarrierLabel, Counter>,
    /// Rooms in memory now.
    pub(crate) rooms: Gauge,
    /// Refusals, by code: each moves exactly one of these by one.
    pub(crate) refusals: Family<CodeLabel, Counter>,
    /// Tokens that were not believed, by the check they failed.
    tokens_refused: Family<ReasonLabel, Counter>,
    /// Tickets made or renewed.
    pub(crate) tickets: Counter,
    /// REST requests answered with an error, by status.
    pub(crate) rest_errors: Family<CodeLabel, Counter>,
    /// REST requests answered.
    pub(crate) rest_requests: Counter,
    /// Bytes received on connections.
    pub(crate) received_bytes: Counter,
    /// Bytes written to connections.
    pub(crate) sent_bytes: Counter,
    /// Records the log has confirmed.
    pub(crate) records: Counter,
    /// Appends that failed and are repeated.
    pub(crate) append_failures: Counter,
    /// Operations that came in.
    pub(crate) ops: Counter,
    /// Frames encoded once for all sessions of a document.
    pub(crate) frames: Counter,
    /// Those frames times the sessions they went to.
    pub(crate) deliveries: Counter,
    /// Pushes that began beyond what the room has.
    pub(crate) gaps: Counter,
    /// Pushes refused for good, the document staying open.
    pub(crate) pushes_refused: Counter,
    /// Pushes dropped for want of room and asked for again.
    pub(crate) pushes_deferred: Counter,
    /// Pushes of what was known already.
    pub(crate) pushes_repeated: Counter,
    /// Deltas taken from others than their author, by the proof that a relay had shown them.
    pub(crate) pushes_proven: Counter,
    /// Deltas shown to readers while the log was silent.
    pub(crate) tentative: Counter,
    /// Sessions whose queue ran over and that are brought up to date later.
    pub(crate) resyncs: Counter,
    /// State diffs sent.
    pub(crate) transfers: Counter,
    /// Presence dropped for its rate or size.
    pub(crate) presence_dropped: Counter,
    /// First packets of QUIC answered by a demand to prove the sender's address.
    pub(crate) quic_retries: Counter,
    /// Certificates taken up while running.
    pub(crate) certificate_changes: Counter,
    /// Certificates that could not be taken up.
    pub(crate) certificate_failures: Counter,
    /// The epoch of the signed list of endpoints that is told to clients; 0: of the first epoch, or there is none.
    pub(crate) endpoints_epoch: Gauge,
    /// How long an append takes to be durable.
    pub(crate) append_seconds: Histogram,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// All at zero.
    pub(crate) fn new() -> Self {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("selvedge_relay"),
            connections: Family::default(),
            connections_total: Family::default(),
            rooms: Gauge::default(),
            refusals: Family::default(),
            tokens_refused: Family::default(),
            tickets: Counter::default(),
            rest_errors: Family::default(),
            rest_requests: Counter::default(),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            records: Counter::default(),
            append_failures: Counter::default(),
            ops: Counter::default(),
            frames: Counter::default(),
            deliveries: Counter::default(),
            gaps: Counter::default(),
            pushes_refused: Counter::default(),
            pushes_deferred: Counter::default(),
            pushes_repeated: Counter::default(),
            pushes_proven: Counter::default(),
            tentative: Counter::default(),
            resyncs: Counter::default(),
            transfers: Counter::default(),
            presence_dropped: Counter::default(),
            quic_retries: Counter::default(),
            certificate_changes: Counter::default(),
            certificate_failures: Counter::default(),
            endpoints_epoch: Gauge::default(),
            append_seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 16)),
        };
        metrics.register();
        metrics
    }

    /// One refusal with this code.
    pub(crate) fn refuse(&self, code: CloseCode) {
        self.refusals.get_or_create(&CodeLabel { code: u32::from(code.0) }).inc();
    }

    /// One token that was not believed.
    pub(crate) fn refuse_token(&self, fault: TokenFault) {
        self.tokens_refused.get_or_create(&ReasonLabel { reason: fault.word() }).inc();
    }

    /// The counts of connections that `transport` carries.
    pub(crate) fn connections_of(&self, transport: Carrier) -> ConnectionCounts {
        let label = CarrierLabel { transport };
        ConnectionCounts {
            open: self.connections.get_or_create(&label).clone(),
            opened: self.connections_total.get_or_create(&label).clone(),
        }
    }

    /// Takes a room's counts.
    pub(crate) fn count_room(&self, counts: &RoomCounts) {
        if *counts == RoomCounts::default() {
            return;
        }
        self.records.inc_by(counts.confirmed);
        self.append_failures.inc_by(counts.append_failures);
        self.ops.inc_by(counts.ops);
        self.frames.inc_by(counts.frames);
        self.deliveries.inc_by(counts.deliveries);
        self.gaps.inc_by(counts.gaps);
        self.pushes_refused.inc_by(counts.refused);
        self.pushes_deferred.inc_by(counts.deferred);
        self.pushes_repeated.inc_by(counts.repeated);
        self.pushes_proven.inc_by(counts.proven);
        self.tentative.inc_by(counts.tentative);
        self.resyncs.inc_by(counts.resyncs);
        self.transfers.inc_by(counts.transfers);
    }

    /// The text that Prometheus reads.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("connections", "Connections open now, by transport", self.connections.clone());
        registry.register("connections_opened", "Connections accepted, by transport", self.connections_total.clone());
        registry.register("rooms", "Documents in memory now", self.rooms.clone());
        registry.register("refusals", "Connections and documents refused, by close code", self.refusals.clone());
        registry.register("tokens_refused", "Tokens not believed, by reason", self.tokens_refused.clone());
        registry.register("tickets", "Document tickets made or renewed", self.tickets.clone());
        registry.register("rest_errors", "REST requests answered with an error, by status", self.rest_errors.clone());
        registry.register("rest_requests", "REST requests answered", self.rest_requests.clone());
        registry.register("received_bytes", "Bytes received on connections", self.received_bytes.clone());
        registry.register("sent_bytes", "Bytes written to connections", self.sent_bytes.clone());
        registry.register("records", "Records confirmed by the log", self.records.clone());
        registry.register("append_failures", "Appends that failed and are repeated", self.append_failures.clone());
        registry.register("ops", "Operations taken in", self.ops.clone());
        registry.register("fanout_frames", "Frames encoded once for all sessions", self.frames.clone());
        registry.register("fanout_deliveries", "Frames handed to sessions", self.deliveries.clone());
        registry.register("push_gaps", "Pushes that began beyond what was there", self.gaps.clone());
        registry.register("pushes_refused", "Pushes refused for good", self.pushes_refused.clone());
        registry.register("pushes_deferred", "Pushes dropped and asked for again", self.pushes_deferred.clone());
        registry.register("pushes_repeated", "Pushes of what was known", self.pushes_repeated.clone());
        registry.register(
            "pushes_proven",
            "Deltas taken by their proof, not from their author",
            self.pushes_proven.clone(),
        );
        registry.register("tentative", "Deltas shown while the log was silent", self.tentative.clone());
        registry.register("resyncs", "Sessions whose queue ran over", self.resyncs.clone());
        registry.register("transfers", "State diffs sent", self.transfers.clone());
        registry.register("presence_dropped", "Presence dropped", self.presence_dropped.clone());
        registry.register("quic_retries", "QUIC clients told to prove their address", self.quic_retries.clone());
        registry.register(
            "certificate_changes",
            "Certificates taken up while running",
            self.certificate_changes.clone(),
        );
        registry.register("certificate_failures", "Certificates that could not be", self.certificate_failures.clone());
        registry.register("endpoints_epoch", "Epoch of the signed list of endpoints", self.endpoints_epoch.clone());
        registry.register("append_seconds", "Time until an append is durable", self.append_seconds.clone());
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
