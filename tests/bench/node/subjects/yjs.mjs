import * as Y from "yjs";

export default class Yjs {
  #doc = new Y.Doc();
  #text = this.#doc.getText("text");
  #updates = [];

  static async create() {
    return new Yjs();
  }

  static async load(bytes) {
    const subject = new Yjs();
    Y.applyUpdateV2(subject.#doc, bytes);
    return subject;
  }

  constructor() {
    // Single messages are shorter in the first form, documents in the second.
    this.#doc.on("update", (update, _origin, _doc, { local }) => {
      if (local) this.#updates.push(update);
    });
  }

  edit(edits) {
    this.#doc.transact(() => {
      for (const [at, remove, insert] of edits) {
        if (remove > 0) this.#text.delete(at, remove);
        if (insert !== "") this.#text.insert(at, insert);
      }
    });
  }

  async messages() {
    return this.#updates;
  }

  integrate(message) {
    Y.applyUpdate(this.#doc, message);
  }

  text() {
    return this.#text.toString();
  }

  save() {
    return Y.encodeStateAsUpdateV2(this.#doc);
  }
}
