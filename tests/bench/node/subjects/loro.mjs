import { LoroDoc } from "loro-crdt";

export default class Loro {
  #doc = new LoroDoc();
  #text = this.#doc.getText("text");
  #updates = [];

  static async create() {
    return new Loro();
  }

  static async load(bytes) {
    const subject = new Loro();
    subject.#doc.import(bytes);
    return subject;
  }

  constructor() {
    this.#doc.subscribeLocalUpdates((update) => this.#updates.push(update));
  }

  edit(edits) {
    for (const [at, remove, insert] of edits) {
      if (remove > 0) this.#text.delete(at, remove);
      if (insert !== "") this.#text.insert(at, insert);
    }
    this.#doc.commit();
  }

  async messages() {
    return this.#updates;
  }

  integrate(message) {
    this.#doc.import(message);
  }

  text() {
    return this.#text.toString();
  }

  save() {
    return this.#doc.export({ mode: "snapshot" });
  }
}
