import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Room } from "../index.js";
import { startDom } from "../testing/dom.js";
import { memoryRoom } from "../testing/rooms.js";
import { bindTextarea } from "./textarea.js";

startDom();

function field(room: Room): { area: HTMLTextAreaElement; type(value: string, caret?: number): void; stop(): void } {
  const area = document.createElement("textarea");
  document.body.append(area);
  const stop = bindTextarea(area, room.text);
  const type = (value: string, caret = value.length): void => {
    area.value = value;
    area.setSelectionRange(caret, caret);
    area.dispatchEvent(new Event("input"));
  };
  return { area, type, stop };
}

const pull = (into: Room, from: Room): void => into.doc.applyState(from.doc.encodeState(into.doc.encodeStateVector()));

describe("bindTextarea", () => {
  it("carries edits both ways, the caret in place", async () => {
    const [a, b] = [await memoryRoom(), await memoryRoom()];
    a.text.insert(0, "start");
    const { area, type } = field(a);
    assert.equal(area.value, "start");
    type("start!");
    assert.equal(a.text.toString(), "start!");
    area.setSelectionRange(5, 5);
    pull(b, a);
    b.text.insert(0, ">> ");
    pull(a, b);
    assert.equal(area.value, ">> start!");
    assert.equal(area.selectionStart, 8);
  });

  it("uses the caret to know which of several equal letters was typed", async () => {
    const room = await memoryRoom();
    room.text.insert(0, "aaaa");
    const { type } = field(room);
    const position = room.text.positionAt(1);
    type("aaaaa", 1);
    assert.equal(room.text.indexOf(position), 2);
  });

  it("leaves the field alone while text is composed, and merges after", async () => {
    const [a, b] = [await memoryRoom(), await memoryRoom()];
    a.text.insert(0, "one two");
    pull(b, a);
    const { area, type } = field(a);
    area.dispatchEvent(new Event("compositionstart"));
    type("one twoか");
    b.text.insert(0, "zero ");
    pull(a, b);
    assert.equal(area.value, "one twoか");
    area.dispatchEvent(new Event("compositionend"));
    assert.equal(a.text.toString(), "zero one twoか");
    assert.equal(area.value, a.text.toString());
  });

  it("names the field as the origin, which undo tracks until it lets go", async () => {
    const room = await memoryRoom("notes", { trackedOrigins: [] });
    const { area, type, stop } = field(room);
    const origins: unknown[] = [];
    room.text.observe(({ origin }) => origins.push(origin));
    room.text.insert(0, "imported", "import");
    type("imported, typed");
    assert.deepEqual(origins, ["import", area]);
    room.undo.undo();
    assert.equal(area.value, "imported");
    stop();
    assert.equal(room.undo.trackedOrigins?.size, 0);
  });

  it("lets go", async () => {
    const room = await memoryRoom();
    const { area, type, stop } = field(room);
    stop();
    room.text.insert(0, "x");
    assert.equal(area.value, "");
    type("y");
    assert.equal(room.text.toString(), "x");
  });
});
