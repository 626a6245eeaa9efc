//! One provider of cryptography for every client.

use std::sync::Once;

static CHOSEN: Once = Once::new();

/// Makes ring the provider of this process, unless it has chosen one already.
pub(crate) fn use_ring() {
    CHOSEN.call_once(|| {
        // Somebody was first: then theirs it is.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
