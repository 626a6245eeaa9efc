//! Hostile lengths claim no memory: what decoders allocate is bounded by the frame, not by what it promises.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use selvedge_protocol::stream::StreamDecoder;
use selvedge_protocol::{Channel, ClientMessage, Frame, Random, ServerMessage};

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|allocated| allocated.set(allocated.get() + layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocated(decode: impl FnOnce()) -> usize {
    ALLOCATED.with(|allocated| allocated.set(0));
    decode();
    ALLOCATED.with(Cell::get)
}

/// Small payloads full of large numbers: lengths of four gigabytes, of a mebibyte, of nearly a frame.
fn hostile(random: &mut Random) -> Vec<u8> {
    let mut payload = Vec::new();
    for _ in 0..1 + random.below(12) {
        match random.below(6) {
            0 => payload.extend([253, 255, 255, 255, 255, 0, 0, 0, 0]),
            1 => payload.extend([252, 0, 0, 16, 0]),
            2 => payload.extend([251, 255, 255]),
            3 => payload.extend([0xff, 0xff, 0xff, 0xff, 0x0f]),
            4 => payload.extend([0x80, 0x80, 0x04]),
            _ => payload.push(random.draw() as u8),
        }
    }
    payload
}

#[test]
fn small_frames_claim_little() {
    let mut random = Random::new(7);
    for _ in 0..20_000 {
        let payload = hostile(&mut random);
        let kind = random.below(0x20) as u8;
        let frame = Frame { channel: Channel(1), kind, payload: &payload };
        let messages = allocated(|| {
            let _ = ClientMessage::decode(&frame);
            let _ = ServerMessage::decode(&frame);
        });
        assert!(messages <= 300 * 1024, "kind {kind} allocated {messages} for {payload:?}");
        let stream = allocated(|| {
            let _ = StreamDecoder::new().decode(&payload);
            let _ = StreamDecoder::from_state(&payload);
        });
        assert!(stream <= 16 * 1024, "the stream allocated {stream} for {payload:?}");
    }
}
