/** Frames: varint channel, one byte of kind, varint length, payload. A message holds one or more whole frames. */

import { MalformedError, Reader } from "./reader.js";

/** Longest payload a frame carries. */
export const FRAME_BYTES_MAX = 64 * 1024;

/** One frame. Channel 0 is the connection's; every other one is a document. */
export interface Frame {
  readonly channel: number;
  readonly kind: number;
  readonly payload: Uint8Array;
}

/** Splits a message into its frames; throws for anything but whole ones. */
export function decodeFrames(message: Uint8Array): Frame[] {
  const reader = new Reader(message);
  const frames: Frame[] = [];
  while (reader.left > 0) {
    const channel = reader.count();
    const kind = reader.u8();
    const length = reader.count();
    if (length > FRAME_BYTES_MAX) throw new MalformedError(`a frame of ${length} bytes`);
    frames.push({ channel, kind, payload: reader.bytes(length) });
  }
  return frames;
}
