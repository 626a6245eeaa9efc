import * as Automerge from "@automerge/automerge";

export default class AutomergeText {
  #doc;
  #changes = [];

  static async create() {
    return new AutomergeText(Automerge.from({ text: "" }));
  }

  static async load(bytes) {
    return new AutomergeText(Automerge.load(bytes));
  }

  constructor(doc) {
    this.#doc = doc;
  }

  edit(edits) {
    this.#doc = Automerge.change(this.#doc, (doc) => {
      for (const [at, remove, insert] of edits) Automerge.splice(doc, ["text"], at, remove, insert);
    });
    this.#changes.push(Automerge.getLastLocalChange(this.#doc));
  }

  async messages() {
    return this.#changes;
  }

  integrate(message) {
    [this.#doc] = Automerge.applyChanges(this.#doc, [message]);
  }

  text() {
    return this.#doc.text;
  }

  save() {
    return Automerge.save(this.#doc);
  }
}
