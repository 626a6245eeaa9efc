/**
 * This project's package, as an app in Node uses it that keeps and sends updates itself, like its peers here: documents that stand
 * alone, whose edits are no undo steps, opened from snapshots. Times are of updates that stand alone; what they take on a channel is counted in
 * stream form.
 *
 * Updates are written one behind the other and kept as views of that, which is what json-joy's encoder does, too.
 */

import { init, StandaloneDoc, UPDATE_BYTES_MAX, UpdateDecoder, UpdateEncoder } from "../../../../client-wasm/pkg/dist/standalone.js";

export default class Selvedge {
  #doc;
  #updates = [];
  /** Where updates of everybody are written, and up to where that is full. */
  static #bytes = new Uint8Array(2 * UPDATE_BYTES_MAX);
  static #end = 0;

  constructor(snapshot) {
    this.#doc = new StandaloneDoc(snapshot);
  }

  static async create() {
    await init();
    return new Selvedge();
  }

  static async load(bytes) {
    await init();
    return new Selvedge(bytes);
  }

  /** Messages to a channel in stream form and from it: what goes over it, and whether all arrived as it was. */
  static channel(messages) {
    const [encoder, decoder] = [new UpdateEncoder(), new UpdateDecoder()];
    const sent = messages.map((message) => encoder.encode(message));
    const arrived = sent.flatMap((bytes) => decoder.decode(bytes));
    const same = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);
    return {
      bytes: sent.reduce((sum, { length }) => sum + length, 0),
      whole: arrived.length === messages.length && messages.every((message, at) => same(message, arrived[at])),
    };
  }

  edit(edits) {
    const { text } = this.#doc;
    for (const [at, remove, insert] of edits) text.replace(at, at + remove, insert);
    while (this.#take()) {}
  }

  /** Keeps the next update; whether there was one. */
  #take() {
    if (Selvedge.#end > Selvedge.#bytes.length - UPDATE_BYTES_MAX) [Selvedge.#bytes, Selvedge.#end] = [new Uint8Array(2 * UPDATE_BYTES_MAX), 0];
    const length = this.#doc.flushInto(Selvedge.#bytes, Selvedge.#end);
    if (length === 0) return false;
    this.#updates.push(Selvedge.#bytes.subarray(Selvedge.#end, Selvedge.#end += length));
    return true;
  }

  async messages() {
    return this.#updates;
  }

  integrate(message) {
    this.#doc.applyUpdate(message);
  }

  text() {
    return this.#doc.text.toString();
  }

  save() {
    return this.#doc.encodeSnapshot();
  }
}
