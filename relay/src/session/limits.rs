//! What one connection may do, and how long it may take. Every limit is a flag.

use crate::settings::settings;

settings! {
    /// Limits of one session. The identifier's limits (64 levels, 512 bytes) belong to the format and are no setting.
    pub struct Limits {
        /// How long a connection may take to send its first whole message, in milliseconds.
        hello_ms: u64 = 5_000, "SELVEDGE_HELLO_MS";
        /// Longest frame a client may send, in bytes.
        frame_bytes_max: u64 = 64 * 1024, "SELVEDGE_FRAME_BYTES_MAX";
        /// Longest message (one or more frames) a client may send, in bytes.
        message_bytes_max: u64 = 256 * 1024, "SELVEDGE_MESSAGE_BYTES_MAX";
        /// Documents one connection may have open.
        documents_max: u64 = 64, "SELVEDGE_DOCUMENTS_MAX";
        /// Connections one principal may have at once.
        connections_per_principal: u64 = 10, "SELVEDGE_CONNECTIONS_PER_PRINCIPAL";
        /// Push frames a connection may send in a second.
        frames_per_second: u64 = 50, "SELVEDGE_FRAMES_PER_SECOND";
        /// Push frames a connection may send at once after a silence.
        frames_burst: u64 = 200, "SELVEDGE_FRAMES_BURST";
        /// Operations (a run or a delete, not a character) a connection may push in a second.
        ops_per_second: u64 = 200, "SELVEDGE_OPS_PER_SECOND";
        /// Operations a connection may push at once after a silence.
        ops_burst: u64 = 2_000, "SELVEDGE_OPS_BURST";
        /// Bytes a connection may push in a second.
        bytes_per_second: u64 = 64_000, "SELVEDGE_BYTES_PER_SECOND";
        /// Bytes a connection may push at once after a silence.
        bytes_burst: u64 = 1024 * 1024, "SELVEDGE_BYTES_BURST";
        /// How far, in milliseconds, a connection may run ahead of its rates and only be delayed; beyond it is closed.
        rate_delay_ms_max: u64 = 10_000, "SELVEDGE_RATE_DELAY_MS_MAX";
        /// Presence updates a connection may send in a second; more are dropped.
        presence_per_second: u64 = 10, "SELVEDGE_PRESENCE_PER_SECOND";
        /// Longest presence of one session, in bytes; longer ones are dropped.
        presence_bytes_max: u64 = 1024, "SELVEDGE_PRESENCE_BYTES_MAX";
        /// Bytes waiting for one connection; above it the session is resynced later instead of queued for.
        outbound_bytes_max: u64 = 256 * 1024, "SELVEDGE_OUTBOUND_BYTES_MAX";
        /// How long, in milliseconds, the oldest byte may wait for a connection before the session is resynced later.
        outbound_ms_max: u64 = 5_000, "SELVEDGE_OUTBOUND_MS_MAX";
        /// How often, in milliseconds, an active client pings.
        ping_active_ms: u64 = 1_000, "SELVEDGE_PING_ACTIVE_MS";
        /// How often, in milliseconds, an idle client pings; a connection silent for three times as long is closed.
        ping_idle_ms: u64 = 25_000, "SELVEDGE_PING_IDLE_MS";
    }
}
