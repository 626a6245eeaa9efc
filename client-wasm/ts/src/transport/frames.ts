/** Where frames begin and end, for transports that carry each channel on a stream of its own. */

import { FRAME_BYTES_MAX } from "../protocol/frame.js";
import { MalformedError } from "../protocol/reader.js";

/** Kinds of frames that mean something to a transport with streams. */
export const KIND = { presence: 0x19, bye: 0x1d, closed: 0x1e } as const;

/** One whole frame, header included. */
export interface WholeFrame {
  readonly channel: number;
  readonly kind: number;
  /** Where its payload begins in `bytes`. */
  readonly payloadAt: number;
  /** A view on what was given. */
  readonly bytes: Uint8Array;
}

/** The frame that begins at `at`, or null while bytes of it are missing. Throws for what can become none. */
export function frameAt(bytes: Uint8Array, at: number): WholeFrame | null {
  const channel = varint(bytes, at);
  if (channel === null) return null;
  const kind = bytes[channel.end];
  if (kind === undefined) return null;
  const length = varint(bytes, channel.end + 1);
  if (length === null) return null;
  const end = length.end + length.value;
  if (end - at > FRAME_BYTES_MAX) throw new MalformedError(`a frame of ${end - at} bytes`);
  if (end > bytes.length) return null;
  return { channel: channel.value, kind, payloadAt: length.end - at, bytes: bytes.subarray(at, end) };
}

/** The frames of a message of whole ones. */
export function* framesOf(message: Uint8Array): Generator<WholeFrame> {
  for (let at = 0; at < message.length; ) {
    const frame = frameAt(message, at);
    if (frame === null) throw new MalformedError("a frame that ends outside its message");
    yield frame;
    at += frame.bytes.length;
  }
}

/** Gathers what a stream brings until it is whole frames. Holds at most one frame and one chunk. */
export class FrameGatherer {
  #rest = new Uint8Array(0);

  /** Takes a chunk; returns every frame that is whole now, in one piece, or null. */
  take(chunk: Uint8Array): { readonly bytes: Uint8Array; readonly frames: readonly WholeFrame[] } | null {
    const bytes = this.#rest.length === 0 ? chunk : joined(this.#rest, chunk);
    const frames: WholeFrame[] = [];
    let at = 0;
    for (let frame = frameAt(bytes, at); frame !== null; frame = frameAt(bytes, at)) {
      frames.push(frame);
      at += frame.bytes.length;
    }
    this.#rest = bytes.slice(at);
    return at === 0 ? null : { bytes: bytes.subarray(0, at), frames };
  }

  /** Whether a frame has begun and not ended. */
  get partial(): boolean {
    return this.#rest.length > 0;
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** A number of at most 32 bits, which every number of a frame's header is. */
function varint(bytes: Uint8Array, at: number): { readonly value: number; readonly end: number } | null {
  let value = 0;
  for (let place = 0; place < 5; place++) {
    const byte = bytes[at + place];
    if (byte === undefined) return null;
    value += (byte & 0x7f) * 2 ** (7 * place);
    if (byte < 0x80) return { value, end: at + place + 1 };
  }
  throw new MalformedError("a number of more than 32 bits in a frame's header");
}
