import { Model, Patch } from "json-joy/lib/json-crdt/index.js";

export default class JsonJoy {
  #model;
  #text;
  #patches = [];

  static async create() {
    const model = Model.create();
    model.api.root("");
    model.api.flush();
    return new JsonJoy(model);
  }

  static async load(bytes) {
    // As somebody else, who may write.
    return new JsonJoy(Model.load(bytes, Model.sid()));
  }

  constructor(model) {
    this.#model = model;
    this.#text = model.api.str([]);
  }

  edit(edits) {
    for (const [at, remove, insert] of edits) {
      if (remove > 0) this.#text.del(at, remove);
      if (insert !== "") this.#text.ins(at, insert);
    }
    this.#patches.push(this.#model.api.flush().toBinary());
  }

  async messages() {
    return this.#patches;
  }

  integrate(message) {
    this.#model.applyPatch(Patch.fromBinary(message));
  }

  text() {
    return this.#text.view();
  }

  save() {
    return this.#model.toBinary();
  }
}
