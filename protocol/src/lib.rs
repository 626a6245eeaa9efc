//! Frames, messages and state machines of the Selvedge protocol, without I/O.
