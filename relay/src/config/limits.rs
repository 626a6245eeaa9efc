//! What a number may be: nothing is mended in silence, and nothing is taken that the relay would stand still with.

use super::{Config, ConfigError, impossible};

/// A flag, its value, the least and the most it may be.
type Range = (&'static str, u64, u64, u64);

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const HOUR_MS: u64 = 3_600_000;
/// A rate or a count that is as good as none.
const MANY: u64 = 1_000_000_000_000;

/// Refuses the first number that is out of its range.
///
/// # Errors
/// [`ConfigError::Impossible`] names the flag, the value and the fix.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    for ranges in [sessions(config), rates(config), listening(config), rooms(config)] {
        for (flag, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                let fix = format!("give a number from {least} to {most}");
                return Err(impossible(flag, value, "is out of range", &fix));
            }
        }
    }
    let (frame, message) = (config.limits.frame_bytes_max, config.limits.message_bytes_max);
    if message < frame {
        let fix = format!("give at least {frame}, or a smaller --frame-bytes-max");
        return Err(impossible("message-bytes-max", message, "is less than one frame, --frame-bytes-max", &fix));
    }
    Ok(())
}

fn sessions(config: &Config) -> Vec<Range> {
    let limits = &config.limits;
    vec![
        ("drain-ms", config.drain_ms, 100, HOUR_MS),
        ("hello-ms", limits.hello_ms, 1, 600_000),
        ("frame-bytes-max", limits.frame_bytes_max, KIB, 64 * KIB),
        ("message-bytes-max", limits.message_bytes_max, KIB, 16 * MIB),
        ("documents-max", limits.documents_max, 1, 65_535),
        ("connections-per-principal", limits.connections_per_principal, 1, MANY),
        ("presence-per-second", limits.presence_per_second, 0, MANY),
        ("presence-bytes-max", limits.presence_bytes_max, 0, 64 * KIB),
        ("outbound-bytes-max", limits.outbound_bytes_max, 64 * KIB, 64 * MIB),
        ("outbound-ms-max", limits.outbound_ms_max, 10, HOUR_MS),
        ("ping-active-ms", limits.ping_active_ms, 10, HOUR_MS),
        ("ping-idle-ms", limits.ping_idle_ms, 10, HOUR_MS),
    ]
}

/// What nothing comes through is no rate.
fn rates(config: &Config) -> Vec<Range> {
    let limits = &config.limits;
    vec![
        ("frames-per-second", limits.frames_per_second, 1, MANY),
        ("frames-burst", limits.frames_burst, 1, MANY),
        ("ops-per-second", limits.ops_per_second, 1, MANY),
        ("ops-burst", limits.ops_burst, 1, MANY),
        ("bytes-per-second", limits.bytes_per_second, 1, MANY),
        ("bytes-burst", limits.bytes_burst, 1, MANY),
        ("rate-delay-ms-max", limits.rate_delay_ms_max, 0, HOUR_MS),
    ]
}

fn listening(config: &Config) -> Vec<Range> {
    let (listen, tls, quic) = (&config.listen, &config.tls, &config.quic);
    vec![
        ("connections-max", listen.connections_max, 1, 10_000_000),
        ("unauthenticated-per-ipv4", listen.unauthenticated_per_ipv4, 1, MANY),
        ("unauthenticated-per-ipv6", listen.unauthenticated_per_ipv6, 1, MANY),
        ("unauthenticated-percent", listen.unauthenticated_percent, 1, 100),
        ("handshake-ms", listen.handshake_ms, 1, 600_000),
        ("http-head-ms", listen.http_head_ms, 1, 600_000),
        // What reads heads needs so much.
        ("http-head-bytes-max", listen.http_head_bytes_max, 8 * KIB, MIB),
        ("http-body-bytes-max", listen.http_body_bytes_max, KIB, GIB),
        ("websocket-read-bytes", listen.websocket_read_bytes, 256, MIB),
        ("websocket-write-bytes-max", listen.websocket_write_bytes_max, 64 * KIB, GIB),
        ("tls-check-ms", tls.tls_check_ms, 10, 86_400_000),
        ("quic-streams-max", quic.quic_streams_max, 2, 65_535),
        ("quic-stream-window-bytes", quic.quic_stream_window_bytes, 16 * KIB, 64 * MIB),
        ("quic-window-bytes", quic.quic_window_bytes, 64 * KIB, GIB),
        ("quic-idle-ms", quic.quic_idle_ms, 1_000, 600_000),
        ("quic-handshakes-max", quic.quic_handshakes_max, 1, 1_000_000),
    ]
}

fn rooms(config: &Config) -> Vec<Range> {
    let room = &config.room;
    vec![
        ("document-bytes-max", room.document_bytes_max, 1, GIB),
        ("document-sites-max", room.document_sites_max, 1, 65_535),
        ("document-connections-max", room.document_connections_max, 1, MANY),
        ("document-ops-per-second", room.document_ops_per_second, 1, MANY),
        ("unconfirmed-bytes-max", room.unconfirmed_bytes_max, 64 * KIB, GIB),
        // A sealed delta is as long: less would never let one through.
        ("append-bytes-max", room.append_bytes_max, 32 * KIB, 64 * MIB),
        ("outbox-credit-bytes", room.outbox_credit_bytes, 32 * KIB, GIB),
        ("held-bytes-max", room.held_bytes_max, 32 * KIB, GIB),
        ("recent-bytes-max", room.recent_bytes_max, 0, GIB),
        ("tick-ms", room.tick_ms, 0, 10_000),
        ("tick-hot-ms", room.tick_hot_ms, 0, 10_000),
        ("presence-tick-ms", room.presence_tick_ms, 1, 60_000),
        ("presence-repeat-ms", room.presence_repeat_ms, 100, HOUR_MS),
        ("resync-ms-max", room.resync_ms_max, 100, HOUR_MS),
        ("head-check-ms", room.head_check_ms, 10, 600_000),
        ("idle-unload-ms", room.idle_unload_ms, 0, 86_400_000),
        ("append-retry-ms", room.append_retry_ms, 1, 5_000),
    ]
}
