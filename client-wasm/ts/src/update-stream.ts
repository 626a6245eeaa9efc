/**
 * Updates in stream form, for applications that bring their own transport. Who goes on typing sends a byte beside the text,
 * where an update that stands alone names author and place anew.
 *
 *     const encoder = new UpdateEncoder();
 *     doc.on("update", (update) => channel.send(encoder.encode(update)));
 *
 *     const decoder = new UpdateDecoder();
 *     channel.onmessage = ({ data }) => decoder.apply(doc, data);
 */

import type { Doc } from "./doc.js";
import { facadeError, SelvedgeError } from "./errors.js";
import { facade } from "./wasm/load.js";
import type * as Facade from "./wasm/selvedge.js";

/** Bytes of the length before each update that comes out of the module. */
const LENGTH_BYTES = 4;

/**
 * The writing side of a channel that keeps order and loses nothing. Updates may be of several authors. It remembers a bounded
 * amount: some 4,000 runs of text and 1,000 authors.
 */
export class UpdateEncoder {
  #inner: Facade.UpdateEncoder | null;

  /**
   * A stream that begins, or goes on from what {@link state} gave. Needs the module: after `open()` or `init()`. Throws a
   * `SelvedgeError` of code `update` for bytes that are no state.
   */
  constructor(state?: Uint8Array) {
    const { UpdateEncoder: Inner } = facade();
    this.#inner = translated(() => new Inner(state));
  }

  /** The message for one update, to be decoded once, after those before it. Throws for bytes that are no update; the stream goes on. */
  encode(update: Uint8Array): Uint8Array {
    const inner = open(this.#inner);
    return translated(() => inner.encode(update));
  }

  /** What a decoder needs that joins here: it reads the messages that come from now on. */
  state(): Uint8Array {
    return open(this.#inner).state();
  }

  /** Gives its memory back. Idempotent. */
  close(): void {
    this.#inner?.free();
    this.#inner = null;
  }
}

/** The reading side of an {@link UpdateEncoder}'s channel. */
export class UpdateDecoder {
  #inner: Facade.UpdateDecoder | null;

  /** The channel from its beginning, or from where {@link UpdateEncoder.state} was asked. Throws like the encoder. */
  constructor(state?: Uint8Array) {
    const { UpdateDecoder: Inner } = facade();
    this.#inner = translated(() => new Inner(state));
  }

  /**
   * Merges the updates of a message into a document. Returns false when an earlier one of their site is missing there. Throws
   * like {@link decode}.
   */
  apply(doc: Doc, message: Uint8Array): boolean {
    let taken = true;
    for (const update of this.decode(message)) taken = doc.applyUpdate(update) && taken;
    return taken;
  }

  /**
   * The updates of a message, mostly one, for `applyUpdate`, a log, or another encoder. Throws a `SelvedgeError` of code `update` for what is no message,
   * or not the next one where that can be told: then begin anew on both sides.
   */
  decode(message: Uint8Array): Uint8Array[] {
    const inner = open(this.#inner);
    const bytes = translated(() => inner.decode(message));
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const updates: Uint8Array[] = [];
    for (let at = 0; at < bytes.length;) {
      const end = at + LENGTH_BYTES + view.getUint32(at, true);
      updates.push(bytes.subarray(at + LENGTH_BYTES, end));
      at = end;
    }
    return updates;
  }

  /** Gives its memory back. Idempotent. */
  close(): void {
    this.#inner?.free();
    this.#inner = null;
  }
}

function open<T>(inner: T | null): T {
  if (inner === null) throw new SelvedgeError("closed", "This stream of updates is closed.");
  return inner;
}

function translated<T>(call: () => T): T {
  try {
    return call();
  } catch (cause) {
    throw facadeError(cause);
  }
}
