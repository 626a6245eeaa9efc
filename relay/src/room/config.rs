//! What one document's room may hold, and its rhythms. Every limit is a flag.

use crate::settings::settings;

settings! {
    /// Limits and rhythms of one room.
    pub struct RoomConfig {
        /// Text of one document, in bytes; above it only deletes are accepted.
        document_bytes_max: u64 = 16 * 1024 * 1024, "SELVEDGE_DOCUMENT_BYTES_MAX";
        /// Sites one document may know; above it new sites are refused.
        document_sites_max: u64 = 65_535, "SELVEDGE_DOCUMENT_SITES_MAX";
        /// Connections one document may have.
        document_connections_max: u64 = 20_000, "SELVEDGE_DOCUMENT_CONNECTIONS_MAX";
        /// Operations a document takes in a second before its writers are slowed.
        document_ops_per_second: u64 = 5_000, "SELVEDGE_DOCUMENT_OPS_PER_SECOND";
        /// Bytes of pushes a room keeps until the log confirms them; more are refused for the moment.
        unconfirmed_bytes_max: u64 = 8 * 1024 * 1024, "SELVEDGE_UNCONFIRMED_BYTES_MAX";
        /// Bytes handed to the log in one append.
        append_bytes_max: u64 = 512 * 1024, "SELVEDGE_APPEND_BYTES_MAX";
        /// Bytes of an announced outbox that a session may have under way, granted as credit.
        outbox_credit_bytes: u64 = 512 * 1024, "SELVEDGE_OUTBOX_CREDIT_BYTES";
        /// Records that `persist` may be behind in the log before announced outboxes get no more credit.
        persist_lag_records_max: u64 = 100_000, "SELVEDGE_PERSIST_LAG_RECORDS_MAX";
        /// Bytes of deltas a room keeps that wait beyond a hole.
        held_bytes_max: u64 = 1024 * 1024, "SELVEDGE_HELD_BYTES_MAX";
        /// Bytes of recent deltas a room keeps for sessions that are being brought up to date.
        recent_bytes_max: u64 = 1024 * 1024, "SELVEDGE_RECENT_BYTES_MAX";
        /// Shortest time between two frames of a document to one session, in milliseconds; an idle document's go at once.
        tick_ms: u64 = 5, "SELVEDGE_TICK_MS";
        /// The same for a document with more than 1,000 sessions.
        tick_hot_ms: u64 = 50, "SELVEDGE_TICK_HOT_MS";
        /// How often, in milliseconds, presence is passed on.
        presence_tick_ms: u64 = 100, "SELVEDGE_PRESENCE_TICK_MS";
        /// How often, in milliseconds, the region's other relays are told again who is here; who is not told of three times is gone.
        presence_repeat_ms: u64 = 10_000, "SELVEDGE_PRESENCE_REPEAT_MS";
        /// How long, in milliseconds, one writer may have the rebase token of a document.
        rebase_token_ms: u64 = 10_000, "SELVEDGE_REBASE_TOKEN_MS";
        /// How long, in milliseconds, a slow reader may take to catch up before it is closed.
        resync_ms_max: u64 = 30_000, "SELVEDGE_RESYNC_MS_MAX";
        /// How often, in milliseconds, a room with sessions compares its position with the log's head.
        head_check_ms: u64 = 2_000, "SELVEDGE_HEAD_CHECK_MS";
        /// How long, in milliseconds, a room without sessions stays in memory.
        idle_unload_ms: u64 = 60_000, "SELVEDGE_IDLE_UNLOAD_MS";
        /// First wait before a failed append is repeated, in milliseconds; it doubles up to 5 s.
        append_retry_ms: u64 = 50, "SELVEDGE_APPEND_RETRY_MS";
    }
}
