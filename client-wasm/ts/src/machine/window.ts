/** The machine's window: memory of the module that calls for each edit and each update go through. */

import { facade, memory } from "../wasm/load.js";

/** Texts up to this many units are written by a loop: asking the encoder costs more. */
const SHORT_UNITS = 32;
/** As many bytes are copied by a loop: a view of them costs more. */
const SHORT_BYTES = 64;
/** UTF-8 has at most so many bytes for a unit of UTF-16. */
const UNIT_BYTES_MAX = 3;
/** What a window has at least. */
const WINDOW_BYTES_MIN = 64 * 1024;

const LONE_SURROGATE = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?:[^\uD800-\uDBFF]|^)[\uDC00-\uDFFF]/;
const encoder = new TextEncoder();

/** A view of it, made anew when the memory has grown: a view of memory that grew has no length. */
export class Window {
  readonly #place: (bytes: number) => number;
  #view = new Uint8Array(0);
  /** Its length, also while the view has none. */
  #size = WINDOW_BYTES_MIN;

  /** `place` says where it is, and makes it hold so many bytes. */
  constructor(place: (bytes: number) => number) {
    this.#place = place;
  }

  // What short texts and short updates seldom need stands in functions of its own here and in `readInto`: an engine compiles
  // these two for speed with all they have called.

  /** Writes `text`; its bytes, or -1: it has half a surrogate pair, which UTF-8 cannot say. */
  writeText(text: string): number {
    const { length } = text;
    const view = this.#view;
    if (length > SHORT_UNITS || view.length !== WINDOW_BYTES_MIN) return this.#encode(text);
    for (let at = 0; at < length; at++) {
      const unit = text.charCodeAt(at);
      if (unit > 0x7f) return this.#encode(text);
      view[at] = unit;
    }
    return length;
  }

  #encode(text: string): number {
    const { length } = text;
    const view = this.#holding(length * UNIT_BYTES_MAX);
    const { written } = encoder.encodeInto(text, view);
    return written !== length && LONE_SURROGATE.test(text) ? -1 : written;
  }

  /** Writes `bytes`. */
  write(bytes: Uint8Array): number {
    this.#holding(bytes.length).set(bytes);
    return bytes.length;
  }

  /** A copy of the first `length` bytes, which the last call left there. */
  read(length: number): Uint8Array {
    return this.#present().slice(0, length);
  }

  /** Copies the first `length` bytes, which the last call left there, to `target` from `at` on. */
  readInto(target: Uint8Array, at: number, length: number): void {
    const view = this.#view;
    if (length > SHORT_BYTES || view.length === 0) return this.#copy(target, at, length);
    for (let index = 0; index < length; index++) target[at + index] = view[index] as number;
  }

  #copy(target: Uint8Array, at: number, length: number): void {
    target.set(this.#present().subarray(0, length), at);
  }

  /** The view, for at least so many bytes to be written. */
  #holding(bytes: number): Uint8Array {
    // One that was made large for one call is let go at the next.
    const fits = bytes <= this.#size && (this.#size === WINDOW_BYTES_MIN || bytes > WINDOW_BYTES_MIN);
    if (fits && this.#view.length > 0) return this.#view;
    if (!fits) this.#size = Math.max(bytes, WINDOW_BYTES_MIN);
    return this.#look();
  }

  #present(): Uint8Array {
    return this.#view.length === 0 ? this.#look() : this.#view;
  }

  #look(): Uint8Array {
    const at = this.#place(this.#size);
    this.#view = new Uint8Array(memory().buffer, at, this.#size);
    return this.#view;
  }
}

/** The window of all clients: what a call left in it is read before the next one. */
export const callWindow = new Window((bytes) => facade().callWindow(bytes));

/** The text's own units, for what cannot be said in UTF-8. */
export function utf16Of(text: string): Uint16Array {
  const units = new Uint16Array(text.length);
  for (let i = 0; i < text.length; i++) units[i] = text.charCodeAt(i);
  return units;
}
