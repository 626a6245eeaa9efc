import * as Y from "ywasm";

export default class Ywasm {
  #doc = new Y.YDoc({});
  #text = this.#doc.getText("text");
  #updates = [];
  #applying = false;
  /** Held, since what nobody holds is freed, and the document is told of nothing more. */
  #heard;

  static async create() {
    return new Ywasm();
  }

  static async load(bytes) {
    const subject = new Ywasm();
    subject.#apply(() => Y.applyUpdateV2(subject.#doc, bytes, "remote"));
    return subject;
  }

  constructor() {
    // Single messages are shorter in the first form, documents in the second.
    this.#heard = this.#doc.onUpdate((update) => {
      if (!this.#applying) this.#updates.push(update);
    });
  }

  edit(edits) {
    const transaction = this.#doc.beginTransaction("edit");
    for (const [at, remove, insert] of edits) {
      if (remove > 0) this.#text.delete(at, remove, transaction);
      if (insert !== "") this.#text.insert(at, insert, undefined, transaction);
    }
    transaction.commit();
    transaction.free();
  }

  async messages() {
    return this.#updates;
  }

  integrate(message) {
    this.#apply(() => Y.applyUpdate(this.#doc, message, "remote"));
  }

  #apply(update) {
    this.#applying = true;
    update();
    this.#applying = false;
  }

  text() {
    return this.#text.toString();
  }

  save() {
    return Y.encodeStateAsUpdateV2(this.#doc);
  }
}
