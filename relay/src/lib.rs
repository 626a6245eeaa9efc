//! The edge server: sessions, rooms, fan-out.
