import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { history, historyKeymap } from "@codemirror/commands";
import { ChangeSet, EditorSelection, Text, type Extension } from "@codemirror/state";
import { keymap, runScopeHandlers } from "@codemirror/view";
import type { Room } from "../../index.js";
import { startDom } from "../../testing/dom.js";
import { memoryRoom, until } from "../../testing/rooms.js";

startDom();
const { EditorView } = await import("@codemirror/view");
const { collab, saveIndicator } = await import("./index.js");
const { changesOf } = await import("./sync.js");

function editor(room: Room, extensions: Extension[] = []): InstanceType<typeof EditorView> {
  return new EditorView({ doc: room.text.toString(), parent: document.body, extensions: [extensions, collab(room.text, room.awareness)] });
}

/** Carries edits between rooms as a relay would, on demand. */
function exchange(a: Room, b: Room): void {
  b.doc.applyState(a.doc.encodeState(b.doc.encodeStateVector()));
  a.doc.applyState(b.doc.encodeState(a.doc.encodeStateVector()));
}

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

describe("changesOf", () => {
  it("composes patches in order", () => {
    const set = changesOf([{ at: 0, delete: 1, insert: "xyz" }, { at: 2, delete: 2, insert: "" }, { at: 3, delete: 0, insert: "\n" }], 4);
    assert.equal(set.apply(Text.of(["abcd"])).toString(), "xyc\nd");
    assert.equal(changesOf([], 4).length, 4);
  });
});

describe("collab", () => {
  it("takes the editor's edits into the text, several in one transaction", async () => {
    const room = await memoryRoom();
    room.text.insert(0, "one two three");
    const view = editor(room);
    view.dispatch({ changes: [{ from: 0, to: 3, insert: "1" }, { from: 8, to: 13, insert: "3\n4" }, { from: 4, insert: "<" }] });
    assert.equal(room.text.toString(), "1 <two 3\n4");
    assert.equal(view.state.doc.toString(), room.text.toString());
  });

  it("shows the text's changes, the caret where it was in the words", async () => {
    const [a, b] = [await memoryRoom(), await memoryRoom()];
    a.text.insert(0, "hello world");
    exchange(a, b);
    const view = editor(a);
    view.dispatch({ selection: EditorSelection.cursor(6) });
    b.text.insert(0, ">> ");
    b.text.insert(b.text.length, "!");
    exchange(a, b);
    assert.equal(view.state.doc.toString(), ">> hello world!");
    assert.equal(view.state.selection.main.head, 9);
  });

  it("lets the text win at the start", async () => {
    const room = await memoryRoom();
    room.text.insert(0, "shared");
    const view = new EditorView({ doc: "stale", extensions: collab(room.text) });
    await turn();
    assert.equal(view.state.doc.toString(), "shared");
    assert.equal(room.text.toString(), "shared");
  });

  it("shows what other code of the page writes, also from inside an update", async () => {
    const room = await memoryRoom();
    let answered = false;
    const view = editor(room, [EditorView.updateListener.of(({ docChanged }) => {
      if (!docChanged || answered) return;
      answered = true;
      room.text.insert(0, "[");
      room.text.insert(room.text.length, "]");
    })]);
    view.dispatch({ changes: { from: 0, insert: "abc" } });
    view.dispatch({ changes: { from: 3, insert: "d" } });
    await turn();
    assert.equal(view.state.doc.toString(), room.text.toString());
    assert.ok(room.text.toString().startsWith("[abc"));
    room.text.insert(0, "# ", "a script");
    await turn();
    assert.equal(view.state.doc.toString(), room.text.toString());
  });

  it("mends what Unicode does not allow in both", async () => {
    const room = await memoryRoom();
    const view = editor(room);
    view.dispatch({ changes: { from: 0, insert: "a\udc00b" } });
    view.dispatch({ changes: { from: 3, insert: "😀" } });
    view.dispatch({ changes: { from: 3, to: 4 } });
    await turn();
    assert.equal(view.state.doc.toString(), room.text.toString());
    assert.ok(room.text.toString().startsWith("a\ufffdb"));
  });

  it("counts every line end as the text does", async () => {
    const room = await memoryRoom();
    room.text.insert(0, "a\r\nb\rc");
    const view = editor(room);
    await turn();
    view.dispatch({ changes: { from: view.state.doc.length, insert: "d\r\ne" } });
    assert.equal(room.text.toString(), "a\r\nb\rcd\r\ne");
    assert.equal(view.state.doc.length, room.text.length);
  });

  it("undoes own edits alone, whatever history the editor has", async () => {
    const [a, b] = [await memoryRoom(), await memoryRoom()];
    const view = editor(a, [history(), keymap.of(historyKeymap)]);
    view.dispatch({ changes: { from: 0, insert: "mine" } });
    exchange(a, b);
    b.text.insert(0, "theirs ");
    exchange(a, b);
    runScopeHandlers(view, new KeyboardEvent("keydown", { key: "z", ctrlKey: true, keyCode: 90 } as KeyboardEventInit), "editor");
    assert.equal(view.state.doc.toString(), "theirs ");
    runScopeHandlers(view, new KeyboardEvent("keydown", { key: "y", ctrlKey: true, keyCode: 89 } as KeyboardEventInit), "editor");
    assert.equal(view.state.doc.toString(), "theirs mine");
  });

  it("is tracked by its undo manager, whatever origins that was given, while it lives", async () => {
    const room = await memoryRoom("notes", { trackedOrigins: [] });
    const view = new EditorView({ parent: document.body, extensions: collab(room.text, null, { undoManager: room.undo }) });
    room.text.insert(0, "imported ", "import");
    await turn();
    view.dispatch({ changes: { from: view.state.doc.length, insert: "typed" } });
    room.undo.undo();
    assert.equal(view.state.doc.toString(), "imported ");
    assert.equal(room.undo.canUndo(), false);
    assert.equal(room.undo.trackedOrigins?.size, 1);
    view.destroy();
    assert.equal(room.undo.trackedOrigins?.size, 0);
  });

  it("converges under random edits on both sides", async () => {
    const [a, b] = [await memoryRoom(), await memoryRoom()];
    const views = [editor(a), editor(b)];
    let seed = 5;
    const next = (below: number): number => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) % below;
    for (let i = 0; i < 300; i++) {
      const view = views[next(2)];
      if (!view) continue;
      const { length } = view.state.doc;
      const from = next(length + 1);
      const to = Math.min(length, from + next(4));
      view.dispatch({ changes: ChangeSet.of({ from, to, insert: ["x", "\n", "yz", "é", ""][next(5)] ?? "" }, length) });
      if (next(5) === 0) exchange(a, b);
    }
    exchange(a, b);
    await turn();
    for (const view of views) assert.equal(view.state.doc.toString(), a.text.toString());
    assert.equal(b.text.toString(), a.text.toString());
  });

  it("stops when the editor goes, and survives the room's end", async () => {
    const room = await memoryRoom();
    const view = editor(room);
    view.destroy();
    room.text.insert(0, "after");
    const other = editor(room);
    await room.close();
    other.dispatch({ changes: { from: 0, insert: "lost" } });
    await turn();
    assert.equal(other.state.doc.toString(), "lostafter"); // nothing to follow any more
  });
});

describe("cursors", () => {
  it("show others' carets by name and colour, and nothing of a colour that is none", async () => {
    const { Profile } = await import("../../testing/rooms.js");
    const profile = new Profile();
    const a = await profile.open("cursors", { crossTab: true });
    const b = await profile.open("cursors", { crossTab: true });
    a.text.insert(0, "some text");
    await until(() => b.text.length === 9, "the text in b");
    const view = editor(b);
    const place = (at: number): string => JSON.parse(JSON.stringify(a.text.positionAt(at))) as string;
    a.awareness.setLocalState({ user: { name: "Ada", color: "#ff0000" }, cursor: { anchor: place(2), head: place(5) } });
    await until(() => view.dom.querySelector(".cm-collab-name")?.textContent === "Ada", "Ada's caret");
    assert.equal(view.dom.querySelector(".cm-collab-selection")?.textContent, "me ");
    a.awareness.setLocalState({ user: { name: "Eve", color: "red;background:url(//evil)" }, cursor: { anchor: place(1), head: place(3) } });
    await until(() => view.dom.querySelector(".cm-collab-name")?.textContent === "Eve", "Eve's caret");
    assert.doesNotMatch(view.dom.innerHTML, /evil/);
    a.awareness.setLocalState({ cursor: { anchor: "garbage!", head: "" } });
    await until(() => view.dom.querySelector(".cm-collab-caret") === null, "no caret");
    a.awareness.setLocalState(null);
  });
});

describe("saveIndicator", () => {
  it("says how safe the text is", async () => {
    const { Profile } = await import("../../testing/rooms.js");
    const room = await new Profile().open("indicator");
    const view = new EditorView({ extensions: [collab(room.text), saveIndicator(room.relay)] });
    view.dispatch({ changes: { from: 0, insert: "abc" } });
    const shown = (): string => view.dom.querySelector(".cm-collab-saved")?.textContent ?? "";
    await room.relay.whenSaved("device");
    await until(() => /Saved on this device/.test(shown()), `device, not ${shown()}`);
  });
});
