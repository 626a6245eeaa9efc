/**
 * This project's package, as an app in Node uses it that brings its own transport: on a store in memory, without a relay, a stream
 * of updates from each replica to each other.
 */

import { open, UpdateDecoder, UpdateEncoder } from "../../../../client-wasm/pkg/dist/index.js";
import { MemoryStore } from "../../../../client-wasm/pkg/dist/store/index.js";

export default class Selvedge {
  #room;
  #updates = [];
  /** The channel that goes out, and what went by it. */
  #encoder;
  #sent = [];
  /** The other ends of the channels that come in. */
  #decoders = new Map();

  static async create() {
    const subject = new Selvedge();
    subject.#room = await open("bench/text", { persist: new MemoryStore(), crossTab: false, awareness: false });
    subject.#encoder = new UpdateEncoder();
    subject.#room.doc.on("update", (update) => subject.#updates.push(update));
    return subject;
  }

  static async load(bytes) {
    const subject = await Selvedge.create();
    subject.#room.doc.applyState(bytes);
    return subject;
  }

  edit(edits) {
    const { doc, text } = this.#room;
    for (const [at, remove, insert] of edits) text.replace(at, at + remove, insert);
    // What is typed from here on is an update of its own.
    doc.encodeStateVector();
  }

  /** Updates are told when the store has them. */
  async messages() {
    await this.#room.relay.whenSaved("device");
    for (const update of this.#updates.splice(0)) {
      const bytes = this.#encoder.encode(update);
      this.#sent.push({ from: this, bytes, length: bytes.length });
    }
    return this.#sent;
  }

  integrate({ from, bytes }) {
    const decoder = this.#decoders.get(from) ?? new UpdateDecoder();
    this.#decoders.set(from, decoder);
    decoder.apply(this.#room.doc, bytes);
  }

  text() {
    return this.#room.text.toString();
  }

  save() {
    return this.#room.doc.encodeState();
  }
}
