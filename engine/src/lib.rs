//! A text CRDT: LSEQ with runs, tombstone-free.
