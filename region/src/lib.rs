//! What one region keeps: log, op store, snapshots, bus, blobs, control.
