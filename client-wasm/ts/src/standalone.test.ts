import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { init, positionFromJSON, SelvedgeError, StandaloneDoc, standaloneCast, UndoManager, UPDATE_BYTES_MAX, UpdateDecoder, UpdateEncoder } from "./standalone.js";
import { bindTextarea } from "./bindings/textarea.js";
import { open, type TextEvent } from "./index.js";
import { rehearsal } from "./rehearsal.js";
import { facade } from "./wasm/load.js";
import type { Standalone } from "./wasm/selvedge.js";

const task = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));
const refused = (code: string) => (error: unknown): boolean => error instanceof SelvedgeError && error.code === code;

/** Two documents that hear of each other. */
function pair(): [StandaloneDoc, StandaloneDoc] {
  const docs: [StandaloneDoc, StandaloneDoc] = [new StandaloneDoc(), new StandaloneDoc()];
  const [one, other] = docs;
  one.on("update", (update) => assert.ok(other.applyUpdate(update)));
  other.on("update", (update) => assert.ok(one.applyUpdate(update)));
  return docs;
}

describe("a document that stands alone", () => {
  before(() => init());

  it("tells what is edited in one task as one update, at its end", async () => {
    const [one, other] = pair();
    const updates: Uint8Array[] = [];
    one.on("update", (update) => updates.push(update));
    one.text.insert(0, "weft");
    one.text.insert(0, "warp ");
    assert.equal(updates.length, 0);
    await task();
    assert.equal(updates.length, 1);
    assert.equal(other.text.toString(), "warp weft");
    other.text.delete(0, 5);
    other.flush();
    assert.equal(one.text.toString(), "weft", "told inside the call");
    await task();
    assert.equal(updates.length, 1, "who only hears tells nothing");
    assert.equal(one.text.length, 4);
    assert.equal(one.text.slice(1, 3), "ef");
  });

  it("writes updates into memory of the caller's, each once", async () => {
    const [one, other] = [new StandaloneDoc(), new StandaloneDoc()];
    const bytes = new Uint8Array(UPDATE_BYTES_MAX + 1);
    const told: Uint8Array[] = [];
    one.on("update", (update) => told.push(update));
    one.text.insert(0, "a".repeat(3 * UPDATE_BYTES_MAX));
    let updates = 0;
    for (let length = one.flushInto(bytes, 1); length > 0; length = one.flushInto(bytes, 1)) {
      assert.ok(other.applyUpdate(bytes.subarray(1, 1 + length)));
      updates++;
    }
    assert.ok(updates > 1, `${updates} updates`);
    await task();
    assert.equal(told.length, updates, "listeners hear of them, and of nothing twice");
    assert.equal(other.text.toString(), one.text.toString());
    assert.throws(() => one.flushInto(bytes, 2), refused("bad-argument"));
  });

  it("hears of every update in order, also of those that a listener makes", () => {
    const [one, other] = [new StandaloneDoc(), new StandaloneDoc()];
    one.on("update", () => {
      if (one.text.length < 3) {
        one.text.insert(one.text.length, "w");
        one.flush();
        assert.throws(() => one.flushInto(new Uint8Array(UPDATE_BYTES_MAX)), refused("update"));
      }
    });
    one.on("update", (update) => assert.ok(other.applyUpdate(update)));
    one.text.insert(0, "w");
    one.flush();
    assert.equal(other.text.toString(), "www");
  });

  it("flushes what an observer has just been told of", () => {
    const [one, other] = [new StandaloneDoc(), new StandaloneDoc()];
    one.on("update", (update) => assert.ok(other.applyUpdate(update)));
    const heard: string[] = [];
    one.text.observe(() => {
      one.flush();
      heard.push(other.text.toString());
      assert.ok(other.covers(one.encodeStateVector()));
    });
    one.text.insert(0, "weft");
    one.text.delete(0, 2);
    assert.deepEqual(heard, ["weft", "ft"]);
  });

  it("says when an update before one is missing, and takes it again later", () => {
    const [one, other] = [new StandaloneDoc(), new StandaloneDoc()];
    const updates: Uint8Array[] = [];
    one.on("update", (update) => updates.push(update));
    for (const letter of "ab") {
      one.text.insert(one.text.length, letter);
      one.flush();
    }
    const [first, second] = updates as [Uint8Array, Uint8Array];
    assert.equal(other.applyUpdate(second), false);
    assert.equal(other.text.toString(), "");
    for (const update of [first, second, first]) assert.ok(other.applyUpdate(update));
    assert.equal(other.text.toString(), "ab");
    assert.throws(() => other.applyUpdate(new Uint8Array([1, 2, 3])), refused("update"));
    assert.throws(() => other.applyState(new Uint8Array([1, 2, 3])), refused("update"));
    assert.equal(other.text.toString(), "ab");
  });

  it("begins with a state, and gives what another lacks of it", () => {
    const [one, other] = [new StandaloneDoc(), new StandaloneDoc()];
    one.text.insert(0, "selvedge");
    other.applyState(one.encodeState());
    assert.equal(other.text.toString(), "selvedge");
    const known = other.encodeStateVector();
    one.text.insert(8, "s");
    assert.ok(!other.covers(one.encodeStateVector()));
    other.applyState(one.encodeState(known));
    assert.equal(other.text.toString(), "selvedges");
    assert.ok(other.covers(one.encodeStateVector()));
    assert.notEqual(one.site, other.site ?? "");
    assert.equal(one.text.authorAt(0)?.site, one.site);
    assert.equal(other.stats().liveUtf16, 9);
    assert.deepEqual([one.name, one.generation], ["", 0]);
    assert.throws(() => one.holdRemote(null), refused("bad-argument"));
  });

  it("tells observers of every change: their own, others', a state's", () => {
    const [one, other] = [new StandaloneDoc(), new StandaloneDoc()];
    const told: [string, string, unknown][] = [];
    const hear = (event: TextEvent): void => { told.push([event.by, JSON.stringify(event.delta), event.origin]); };
    const stop = other.text.observe(hear);
    other.text.insert(0, "b", "me");
    one.on("update", (update) => other.applyUpdate(update));
    one.text.insert(0, "a");
    one.flush();
    const late = new StandaloneDoc();
    late.text.observe(hear);
    late.applyState(other.encodeState());
    assert.deepEqual(told.map(([by]) => by), ["local", "remote", "restore"]);
    assert.equal(told[0]?.[2], "me");
    assert.match(told[2]?.[1] ?? "", /"(ab|ba)"/);
    stop();
    one.text.insert(0, "c");
    one.flush();
    assert.equal(told.length, 3);
    // What nobody watched is told to nobody later.
    const again: string[] = [];
    other.text.observe((event) => again.push(event.changes.map(({ insert }) => insert).join("")));
    one.text.insert(0, "d");
    one.flush();
    assert.deepEqual(again, ["d"]);
  });

  it("corrects text that Unicode does not allow", () => {
    const doc = new StandaloneDoc();
    const told: string[] = [];
    doc.text.observe(({ by, changes }) => told.push(`${by} ${changes.map(({ insert }) => insert).join()}`));
    doc.text.insert(0, "\ud800");
    assert.equal(doc.text.toString(), "\ufffd");
    assert.deepEqual(told.map((each) => each.split(" ")[0]), ["local", "echo"]);
    assert.throws(() => doc.text.insert(2, "x"), refused("bad-argument"));
    assert.throws(() => doc.text.delete(0, 2), refused("bad-argument"));
  });

  it("undoes its own edits, of the origins that are tracked", async () => {
    const [one, other] = pair();
    const undo = new UndoManager(one, { captureTimeout: 0, trackedOrigins: ["typing"] });
    one.text.insert(0, "own", "typing");
    one.text.insert(3, " import", "import");
    await task();
    other.text.insert(0, "theirs ");
    await task();
    assert.ok(undo.canUndo());
    assert.ok(undo.undo());
    assert.equal(one.text.toString(), "theirs  import");
    await task();
    assert.equal(other.text.toString(), "theirs  import");
    assert.ok(undo.redo());
    assert.equal(one.text.toString(), "theirs own import");
    undo.clear();
    assert.ok(!undo.canUndo());
    assert.ok(!undo.undo());
  });

  it("keeps the small map, and says when somebody changed it", async () => {
    const [one, other] = pair();
    let changes = 0;
    other.meta.observe(() => changes++);
    one.meta.set("title", "Twill");
    await task();
    assert.equal(other.meta.get("title"), "Twill");
    assert.equal(changes, 1);
    one.text.insert(0, "x");
    await task();
    assert.equal(changes, 1, "not by a change of the text");
    const late = new StandaloneDoc();
    late.meta.observe(() => changes++);
    late.applyState(one.encodeState());
    assert.deepEqual(late.meta.toJSON(), { title: "Twill" });
    assert.equal(changes, 2);
    one.meta.delete("title");
    assert.deepEqual(one.meta.keys(), []);
    assert.throws(() => one.meta.set("k".repeat(10_000), 1), refused("edit"));
  });

  it("has positions that survive edits, and updates in stream form", () => {
    const [one, other] = [new StandaloneDoc(), new StandaloneDoc()];
    const [encoder, decoder] = [new UpdateEncoder(), new UpdateDecoder()];
    one.on("update", (update) => assert.ok(decoder.apply(other, encoder.encode(update))));
    one.text.insert(0, "warp weft");
    one.flush();
    const position = positionFromJSON(other.text.positionAt(5).toJSON());
    one.text.delete(0, 5);
    one.flush();
    assert.equal(other.text.indexOf(position), 0);
    assert.equal(other.text.toString(), "weft");
  });

  it("merges with documents of rooms", async () => {
    const room = await open("standalone/room", { persist: false, crossTab: false });
    const doc = new StandaloneDoc();
    room.doc.on("update", (update) => doc.applyUpdate(update));
    doc.on("update", (update) => room.doc.applyUpdate(update));
    room.text.insert(0, "room ");
    await task();
    doc.text.insert(5, "doc");
    await task();
    assert.equal(room.text.toString(), "room doc");
    assert.equal(doc.text.toString(), "room doc");
    await room.close();
  });

  it("is opened from a snapshot, whose text is there before the rest is read", async () => {
    const { read } = facade().Standalone.prototype;
    let reads = 0;
    facade().Standalone.prototype.read = function (this: Standalone): void {
      reads++;
      read.call(this);
    };
    try {
      // Of a small one the rest is read at once.
      for (const [start, early] of [["", 1], [Array.from({ length: 1000 }, (_, at) => (at * at * 7919 % 4093).toString(36)).join(" "), 0]] as const) {
        const one = new StandaloneDoc();
        one.text.insert(0, `wft${start}`);
        one.meta.set("title", "Loom");
        one.flush();
        one.text.insert(1, "e");
        const snapshot = one.encodeSnapshot();
        assert.equal(snapshot.length > 1024, start !== "");
        reads = 0;
        const other = new StandaloneDoc(snapshot);
        assert.equal(other.text.toString(), `weft${start}`);
        assert.equal(reads, early);
        other.text.insert(4, "s");
        other.text.insert(0, "warp and ");
        assert.equal(reads, 1);
        assert.equal(other.text.toString(), `warp and wefts${start}`);
        assert.equal(other.meta.get("title"), "Loom");
        assert.notEqual(other.site, one.site);
        other.on("update", (update) => assert.ok(one.applyUpdate(update)));
        await task();
        assert.equal(one.text.toString(), `warp and wefts${start}`);
        const late = new StandaloneDoc(snapshot);
        assert.ok(late.covers(new StandaloneDoc(snapshot).encodeStateVector()));
        late.applyState(one.encodeState());
        assert.deepEqual(late.encodeSnapshot(), one.encodeSnapshot());
        for (const doc of [one, other, late]) doc.destroy();
        new StandaloneDoc(snapshot).destroy();
      }
    } finally {
      facade().Standalone.prototype.read = read;
    }
  });

  it("opens what a room's document had", async () => {
    const room = await open("standalone/kept", { persist: false, crossTab: false });
    room.text.insert(0, "kept");
    assert.equal(new StandaloneDoc(room.doc.encodeSnapshot()).text.toString(), "kept");
    await room.close();
  });

  it("refuses bytes that are no snapshot, and damaged ones, when it is made", () => {
    const doc = new StandaloneDoc();
    doc.text.insert(0, "weft");
    const snapshot = doc.encodeSnapshot();
    const damaged = (at: number): Uint8Array => snapshot.with(at, snapshot[at]! ^ 1);
    for (const bytes of [new Uint8Array(0), doc.encodeState(), snapshot.subarray(1), ...Array.from(snapshot.keys(), damaged)]) {
      assert.throws(() => new StandaloneDoc(bytes), refused("stored-copy"));
    }
  });

  it("refuses a forged snapshot when it is read, each time, and shows its text", () => {
    // Four characters in runs, three of text, and a checksum that fits.
    const forged = Uint8Array.from(Buffer.from("1320020105000104021300010108e90200000400010002020000030000007363685f55f76f", "hex"));
    const doc = new StandaloneDoc(forged);
    for (const call of [() => doc.text.insert(0, "x"), () => doc.encodeState(), () => doc.applyUpdate(new Uint8Array(1)), () => doc.text.length, () => doc.encodeSnapshot()]) {
      assert.throws(call, refused("stored-copy"));
      assert.equal(doc.text.toString(), "sch");
    }
    doc.destroy();
  });

  it("can be bound to a field", async () => {
    const { Window } = await import("happy-dom");
    const window = new Window();
    const field = window.document.createElement("textarea") as unknown as HTMLTextAreaElement;
    const doc = new StandaloneDoc();
    doc.text.insert(0, "draft");
    const stop = bindTextarea(field, doc.text);
    assert.equal(field.value, "draft");
    assert.equal(field.readOnly, false);
    doc.text.insert(5, "ed");
    assert.equal(field.value, "drafted");
    stop();
    await window.happyDOM.close();
  });

  it("is over when it is destroyed, after it told what was edited last", () => {
    const doc = new StandaloneDoc();
    const told: string[] = [];
    doc.on("update", () => told.push("update"));
    doc.on("destroy", () => told.push("destroy"));
    doc.text.insert(0, "x");
    doc.destroy();
    doc.destroy();
    assert.deepEqual(told, ["update", "destroy"]);
    for (const call of [() => doc.text.toString(), () => doc.text.insert(0, "y"), () => doc.flush(), () => doc.encodeState(), () => doc.applyUpdate(new Uint8Array(1))]) {
      assert.throws(call, refused("closed"));
    }
  });

  it("can be destroyed by a listener of its updates, and loses none", () => {
    const [doc, other] = [new StandaloneDoc(), new StandaloneDoc()];
    doc.on("update", (update) => {
      assert.ok(other.applyUpdate(update));
      if (other.text.length < 3) doc.text.insert(doc.text.length, "w");
      doc.destroy();
    });
    doc.text.insert(0, "w");
    doc.flush();
    assert.equal(other.text.toString(), "www");
    assert.throws(() => doc.flushInto(new Uint8Array(UPDATE_BYTES_MAX)), refused("closed"));
  });

  it("is rehearsed, too", () => {
    assert.ok([...rehearsal(standaloneCast)].length > 10);
  });
});
