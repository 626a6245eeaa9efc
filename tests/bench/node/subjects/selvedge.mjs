/** This project's package, as an app in Node uses it: on a store in memory, without a relay. */

import { open } from "../../../../client-wasm/pkg/dist/index.js";
import { MemoryStore } from "../../../../client-wasm/pkg/dist/store/index.js";

export default class Selvedge {
  #room;
  #updates = [];

  static async create() {
    const subject = new Selvedge();
    subject.#room = await open("bench/text", { persist: new MemoryStore(), crossTab: false, awareness: false });
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
    return this.#updates;
  }

  integrate(message) {
    this.#room.doc.applyUpdate(message);
  }

  text() {
    return this.#room.text.toString();
  }

  save() {
    return this.#room.doc.encodeState();
  }
}
