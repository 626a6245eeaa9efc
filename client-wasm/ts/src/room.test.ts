import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { positionFromJSON, SelvedgeError, UPDATE_BYTES_MAX, type TextEvent } from "./index.js";
import { decodeVector, encodeVector } from "./protocol/index.js";
import { memoryRoom, Profile, until } from "./testing/rooms.js";

describe("text", () => {
  it("takes edits, answers in UTF-16 units, and tells what changed", async () => {
    const { text } = await memoryRoom();
    const events: TextEvent[] = [];
    text.observe((event) => events.push(event));
    text.insert(0, "Hello 😀!", "me");
    text.replace(0, 5, "Bye");
    assert.equal(text.toString(), "Bye 😀!");
    assert.equal(text.length, 7);
    assert.equal(text.slice(4, 6), "😀");
    assert.deepEqual(events.map(({ by, origin, delta }) => ({ by, origin, delta })), [
      { by: "local", origin: "me", delta: [{ insert: "Hello 😀!" }] },
      { by: "local", origin: undefined, delta: [{ insert: "Bye" }, { delete: 5 }] },
    ]);
  });

  it("tells a transaction as one change", async () => {
    const { doc, text } = await memoryRoom();
    const events: TextEvent[] = [];
    text.observe((event) => events.push(event));
    doc.transact(() => {
      text.insert(0, "one three");
      text.insert(4, "two ");
    }, "origin");
    assert.equal(events.length, 1);
    assert.deepEqual(events[0]?.delta, [{ insert: "one two three" }]);
    assert.equal(events[0]?.origin, "origin");
  });

  it("refuses a range outside the text, and changes nothing", async () => {
    const { text } = await memoryRoom();
    text.insert(0, "abc");
    for (const [from, to] of [[-1, 0], [0, 4], [2, 1], [0.5, 1]] as const) {
      assert.throws(() => text.replace(from, to, "x"), (error) => error instanceof SelvedgeError && error.code === "bad-argument");
    }
    assert.equal(text.toString(), "abc");
  });

  it("echoes what Unicode does not allow, after the edit", async () => {
    const { text } = await memoryRoom();
    let shown = "";
    text.observe(({ changes }) => {
      for (const { at, delete: remove, insert } of changes) shown = shown.slice(0, at) + insert + shown.slice(at + remove);
    });
    text.insert(0, "a\ud83db");
    assert.equal(text.toString(), "a\ufffdb");
    assert.equal(shown, "a\ufffdb");
    text.insert(3, "😀");
    text.delete(3, 1); // half of it
    assert.equal(shown, text.toString());
    assert.equal(Buffer.from(text.toString()).toString(), text.toString());
  });

  it("follows a whole new value by the smallest edits", async () => {
    const { text } = await memoryRoom();
    text.insert(0, "the quick fox");
    const events: TextEvent[] = [];
    text.observe((event) => events.push(event));
    text.update("a quick dog");
    assert.equal(text.toString(), "a quick dog");
    assert.equal(events.length, 1);
    assert.ok(events[0]?.changes.every(({ insert }) => insert.length <= 1));
  });

  it("takes Quill's deltas", async () => {
    const { text } = await memoryRoom();
    text.applyDelta([{ insert: "abcdef" }]);
    text.applyDelta([{ retain: 2 }, { delete: 2 }, { insert: "X" }]);
    assert.equal(text.toString(), "abXef");
    assert.deepEqual(text.toDelta(), [{ insert: "abXef" }]);
  });

  it("keeps positions through edits, and when their neighbours are gone", async () => {
    const { text } = await memoryRoom();
    text.insert(0, "hello world");
    const position = text.positionAt(6);
    const copy = positionFromJSON(JSON.parse(JSON.stringify(position)) as string);
    text.insert(0, ">> ");
    assert.equal(text.indexOf(copy), 9);
    text.delete(7, 4);
    assert.equal(text.indexOf(copy), 7);
    text.delete(0, text.length);
    assert.equal(text.indexOf(copy), 0);
    assert.throws(() => positionFromJSON("no position!"), SelvedgeError);
  });

  it("knows who wrote a character", async () => {
    const { doc, text } = await memoryRoom();
    assert.equal(doc.site, null);
    text.insert(0, "abc");
    assert.equal(text.authorAt(1)?.site, doc.site);
    assert.equal(text.authorAt(3), null);
  });

  it("lets listeners edit: everybody hears everything in order", async () => {
    const { text } = await memoryRoom();
    const shown = ["", ""];
    const follow = (i: number) => ({ changes }: TextEvent): void => {
      for (const { at, delete: remove, insert } of changes) shown[i] = (shown[i] ?? "").slice(0, at) + insert + (shown[i] ?? "").slice(at + remove);
    };
    text.observe(follow(0));
    text.observe(() => { if (text.length < 3) text.insert(0, "x"); });
    text.observe(follow(1));
    text.insert(0, "a");
    assert.deepEqual(shown, [text.toString(), text.toString()]);
  });
});

describe("undo", () => {
  it("takes back own steps alone", async () => {
    const { text, undo } = await memoryRoom();
    text.insert(0, "one");
    undo.stopCapturing();
    text.insert(3, " two");
    assert.ok(undo.canUndo());
    assert.ok(undo.undo());
    assert.equal(text.toString(), "one");
    assert.ok(undo.canRedo());
    assert.ok(undo.redo());
    assert.equal(text.toString(), "one two");
    undo.undo();
    undo.undo();
    assert.equal(text.toString(), "");
    assert.equal(undo.undo(), false);
    undo.clear();
    assert.equal(undo.canRedo(), false);
  });

  it("joins edits within the capture time", async () => {
    const { text, undo } = await memoryRoom("notes", { captureTimeout: 10_000 });
    for (const letter of "typed") text.insert(text.length, letter);
    undo.undo();
    assert.equal(text.toString(), "");
  });

  it("leaves edits alone whose origin is not tracked, before, between and after the steps", async () => {
    const { text, undo } = await memoryRoom("notes", { trackedOrigins: ["me", null], captureTimeout: 10_000 });
    const steps: string[] = [];
    undo.on("stack-item-added", () => steps.push("added"));
    text.insert(0, "import. ", "import");
    assert.equal(undo.canUndo(), false, "an untracked edit is no step");
    text.insert(text.length, "mine ", "me");
    text.insert(0, "> ", "import");
    text.insert(text.length, "too", null);
    text.delete(0, 2, "import");
    assert.equal(text.toString(), "import. mine too");
    undo.undo();
    assert.equal(text.toString(), "import. ", "one step: untracked edits end none");
    assert.equal(undo.canUndo(), false);
    text.insert(text.length, "more", "import");
    assert.ok(undo.canRedo(), "an untracked edit does not forget what was undone");
    undo.redo();
    assert.equal(text.toString(), "import. mine toomore");
    await Promise.resolve(); // told at the end of the task
    assert.deepEqual(steps, ["added"]);
  });

  it("does not bring back tracked text that an untracked edit deleted", async () => {
    const { text, undo } = await memoryRoom("notes", { trackedOrigins: [null] });
    text.insert(0, "abcdef");
    text.delete(1, 3, "import");
    assert.equal(text.toString(), "aef");
    undo.undo();
    assert.equal(text.toString(), "");
    undo.redo();
    assert.equal(text.toString(), "aef");
  });

  it("tracks by the origin of the whole transaction, by class, and by what is added later", async () => {
    class Importer {}
    const { doc, text, undo } = await memoryRoom("notes", { trackedOrigins: new Set([Importer]) });
    doc.transact(() => text.insert(0, "one ", "me"), new Importer());
    assert.ok(undo.canUndo());
    undo.undo();
    doc.transact(() => text.insert(0, "two ", new Importer()), "me");
    assert.equal(undo.canUndo(), false);
    undo.trackedOrigins?.add("me");
    text.insert(4, "three", "me");
    undo.undo();
    assert.equal(text.toString(), "two ");
  });

  it("echoes what Unicode does not allow in untracked edits too", async () => {
    const { text, undo } = await memoryRoom("notes", { trackedOrigins: [] });
    text.insert(0, "a\ud83db", "import");
    assert.equal(text.toString(), "a\ufffdb");
    assert.equal(undo.canUndo(), false);
  });

  it("tells observers in the same call", async () => {
    const { text, undo } = await memoryRoom();
    text.insert(0, "abc");
    const told: string[] = [];
    text.observe(({ by }) => told.push(by));
    undo.undo();
    assert.deepEqual(told, ["undo"]);
  });
});

describe("meta", () => {
  it("keeps values, and tells", async () => {
    const { doc: { meta } } = await memoryRoom();
    let told = 0;
    meta.observe(() => told++);
    meta.set("title", "Notes");
    meta.set("pages", { count: 3, open: [true, null] });
    assert.equal(meta.get("title"), "Notes");
    assert.deepEqual(meta.toJSON(), { title: "Notes", pages: { count: 3, open: [true, null] } });
    meta.delete("title");
    assert.equal(meta.get("title"), undefined);
    assert.deepEqual(meta.keys(), ["pages"]);
    assert.ok(told >= 3);
  });
});

describe("replicas", () => {
  it("makes an update of each flush, told at once where nothing is stored", async () => {
    const [a, b] = [await memoryRoom("a"), await memoryRoom("a")];
    const updates: Uint8Array[] = [];
    a.doc.on("update", (update) => updates.push(update));
    for (const [index, word] of ["one ", "two ", "drei ", "😀"].entries()) {
      a.text.insert(a.text.length, word);
      a.doc.flush();
      assert.equal(updates.length, index + 1);
    }
    a.doc.flush();
    assert.equal(updates.length, 4);
    for (const update of updates) assert.ok(b.doc.applyUpdate(update));
    assert.equal(b.text.toString(), "one two drei 😀");
  });

  it("writes updates where the caller wants them", async () => {
    const [a, b] = [await memoryRoom("a"), await memoryRoom("a")];
    const target = new Uint8Array(UPDATE_BYTES_MAX + 4);
    const heard: Uint8Array[] = [];
    const written: Uint8Array[] = [];
    const flushAll = (): void => {
      for (let length = a.doc.flushInto(target, 4); length > 0; length = a.doc.flushInto(target, 4)) written.push(target.slice(4, 4 + length));
    };
    assert.equal(a.doc.flushInto(target), 0);
    for (const word of ["one ", "zwei ", "😀 ".repeat(40), "much ".repeat(20_000)]) {
      a.text.insert(a.text.length, word);
      flushAll();
    }
    const stop = a.doc.on("update", (update) => heard.push(update));
    a.text.delete(0, 4);
    flushAll();
    stop();
    assert.deepEqual(heard, written.slice(-1));
    for (const update of written) assert.ok(b.doc.applyUpdate(update));
    assert.equal(b.text.toString(), a.text.toString());
    assert.deepEqual(target.slice(0, 4), new Uint8Array(4));
    for (const at of [5, -1, 0.5]) assert.throws(() => a.doc.flushInto(target, at), { code: "bad-argument" });
  });

  it("does not write updates where they are told when it is safe, nor inside a listener", async () => {
    const target = new Uint8Array(UPDATE_BYTES_MAX);
    const kept = await new Profile().open("kept");
    kept.text.insert(0, "x");
    assert.throws(() => kept.doc.flushInto(target), { code: "update" });
    const { doc, text, relay } = await memoryRoom();
    let refused: unknown;
    relay.on("saved", () => {
      try { doc.flushInto(target); } catch (error) { refused = error; }
    });
    text.insert(0, "x");
    await until(() => refused !== undefined, "a refusal");
    assert.equal((refused as SelvedgeError).code, "update");
  });

  it("tells every listener of updates in order, also of those a listener makes", async () => {
    const { doc, text } = await memoryRoom();
    const heard: number[][] = [[], []];
    doc.on("update", (update) => {
      heard[0]?.push(update.length);
      if (text.length < 3) {
        text.insert(text.length, "more".repeat(text.length));
        doc.flush();
      }
    });
    doc.on("update", (update) => heard[1]?.push(update.length));
    text.insert(0, "x");
    doc.flush();
    await Promise.resolve();
    assert.equal(heard[0]?.length, 2);
    assert.deepEqual(heard[0], heard[1]);
  });

  it("tells changes from elsewhere to whoever observes at the time, inside the call that brings them", async () => {
    const [a, b] = [await memoryRoom("a"), await memoryRoom("a")];
    const updates: Uint8Array[] = [];
    a.doc.on("update", (update) => updates.push(update));
    for (const word of ["one ", "two ", "three "]) {
      a.text.insert(a.text.length, word);
      a.doc.flush();
    }
    const [first, second, third] = updates as [Uint8Array, Uint8Array, Uint8Array];
    b.doc.applyUpdate(first);
    const heard: string[] = [];
    const stop = b.text.observe((event) => heard.push(...event.changes.map(({ insert }) => insert)));
    assert.equal(b.doc.applyUpdate(third), false);
    b.doc.applyUpdate(second);
    assert.deepEqual(heard, ["two "]);
    stop();
    b.doc.applyUpdate(third);
    assert.deepEqual(heard, ["two "]);
    assert.equal(b.text.toString(), "one two three ");
  });

  it("merge each other's states and updates, in any order and twice", async () => {
    const [a, b] = [await memoryRoom(), await memoryRoom()];
    const updates: Uint8Array[] = [];
    a.doc.on("update", (update) => updates.push(update));
    a.text.insert(0, "from a");
    await until(() => updates.length > 0, "an update");
    b.text.insert(0, "from b. ");
    for (const update of [...updates, ...updates]) b.doc.applyUpdate(update);
    a.doc.applyState(b.doc.encodeState(a.doc.encodeStateVector()));
    a.doc.applyState(b.doc.encodeState());
    assert.equal(a.text.toString(), b.text.toString());
    assert.equal(a.text.length, "from a".length + "from b. ".length);
    assert.deepEqual(a.doc.encodeStateVector(), b.doc.encodeStateVector());
  });

  it("have vectors that TypeScript reads as well", async () => {
    const { doc, text } = await memoryRoom();
    assert.equal(decodeVector(doc.encodeStateVector()).size, 0);
    text.insert(0, "abc");
    const vector = decodeVector(doc.encodeStateVector());
    assert.deepEqual([...vector], [[BigInt(`0x${doc.site ?? ""}`), 3n]]);
    assert.deepEqual(encodeVector(vector), doc.encodeStateVector());
    assert.ok(doc.covers(encodeVector(new Map())) && doc.covers(doc.encodeStateVector()));
  });

  it("refuse garbage and change nothing", async () => {
    const { doc, text } = await memoryRoom();
    text.insert(0, "abc");
    assert.throws(() => doc.applyUpdate(Uint8Array.of(1, 2, 3)), SelvedgeError);
    assert.throws(() => doc.applyState(Uint8Array.of(255, 255)), SelvedgeError);
    assert.equal(text.toString(), "abc");
  });

  it("say how large they are", async () => {
    const { doc, text } = await memoryRoom();
    text.insert(0, "héllo");
    const stats = doc.stats();
    assert.equal(stats.liveUtf16, 5);
    assert.equal(stats.liveBytes, 6);
    assert.equal(stats.sites, 1);
    assert.ok(stats.encodedBytes > 0 && stats.runs >= 1);
  });
});

describe("an initial text", () => {
  it("is there once when devices that began with it offline meet, with what each wrote into it", async () => {
    const initialText = "# Minutes\n";
    const [a, b] = [await memoryRoom("minutes", { initialText }), await memoryRoom("minutes", { initialText })];
    a.text.insert(a.text.length, "from a");
    b.text.insert(b.text.length, "from b");
    b.doc.applyState(a.doc.encodeState(b.doc.encodeStateVector()));
    a.doc.applyState(b.doc.encodeState(a.doc.encodeStateVector()));
    assert.equal(a.text.toString(), b.text.toString());
    assert.equal(a.text.toString().split("# Minutes").length, 2);
    assert.ok(a.text.toString().includes("from a") && a.text.toString().includes("from b"));
  });

  it("is not written again into what the device has, and has its limit", async () => {
    const profile = new Profile();
    const first = await profile.open("begun", { initialText: "begun " });
    first.text.insert(6, "and gone on");
    await first.close();
    assert.equal((await profile.open("begun", { initialText: "begun otherwise" })).text.toString(), "begun and gone on");
    await assert.rejects(memoryRoom("long", { initialText: "x".repeat(16 * 1024 + 1) }), (error) => error instanceof SelvedgeError && error.code === "initial-text-too-long");
  });
});

describe("the device", () => {
  it("has the text at the next opening, and says when it is safe", async () => {
    const profile = new Profile();
    const first = await profile.open("notes");
    first.text.insert(0, "kept");
    await first.relay.whenSaved("device");
    assert.equal(first.relay.saved.device.ops, 0);
    const { site } = first.doc;
    assert.ok(site);
    await first.close();
    const second = await profile.open("notes");
    assert.equal(second.text.toString(), "kept");
    second.text.insert(4, " and more");
    assert.ok(second.doc.site);
    assert.notEqual(second.doc.site, site, "a new load writes under a new site");
    assert.equal(second.text.authorAt(0)?.site, site, "what is there keeps its author");
    await second.close();
    assert.equal((await profile.open("notes")).text.toString(), "kept and more");
  });

  it("keeps what was typed last although the room is closed at once", async () => {
    const profile = new Profile();
    const room = await profile.open("notes");
    for (let i = 0; i < 200; i++) room.text.insert(room.text.length, `${i} `);
    const text = room.text.toString();
    await room.close();
    assert.equal((await profile.open("notes")).text.toString(), text);
  });

  it("is not written by opening", async () => {
    const profile = new Profile();
    const room = await profile.open("notes");
    room.text.insert(0, "text");
    await room.close();
    const before = await profile.contents();
    for (let i = 0; i < 100; i++) await (await profile.open("notes")).close();
    assert.equal(await profile.contents(), before);
    const fresh = new Profile();
    await (await fresh.open("notes")).close();
    assert.doesNotMatch(await fresh.contents(), /anon:/);
  });

  it("keeps one anonymous principal", async () => {
    const profile = new Profile();
    const room = await profile.open("notes");
    room.text.insert(0, "x");
    await room.close();
    const store = profile.store();
    assert.match((await store.principal()) ?? "", /^anon:[0-9a-f]{32}$/);
    await store.close();
  });

  it("that refuses storage is said, and the text still edited", async () => {
    const broken = { open: () => { throw new DOMException("denied", "SecurityError"); } } as unknown as IDBFactory;
    const { IndexedDbStore } = await import("./store/indexeddb.js");
    const room = await memoryRoom("notes", { persist: new IndexedDbStore({ indexedDB: broken }) });
    room.text.insert(0, "abc");
    assert.equal(room.text.toString(), "abc");
    assert.match(room.relay.saved.deviceError ?? "", /refuses storage/);
  });
});

describe("tabs", () => {
  it("share edits and presence without a relay, and one that opens later gets everything", async () => {
    const profile = new Profile();
    const a = await profile.open("shared", { crossTab: true });
    const b = await profile.open("shared", { crossTab: true });
    a.text.insert(0, "from a ");
    await until(() => b.text.toString() === "from a ", "a's text in b");
    b.text.insert(7, "from b");
    await until(() => a.text.toString() === "from a from b", "b's text in a");
    a.awareness.setLocalStateField("user", { name: "Ada" });
    await until(() => [...b.awareness.getStates().values()].some(({ user }) => user?.name === "Ada"), "a's name in b");
    const c = await profile.open("shared", { crossTab: true });
    await until(() => c.text.toString() === "from a from b", "everything in c");
    await until(() => c.awareness.getStates().size === 1, "a's name in c");
    await a.close();
    await until(() => b.awareness.getStates().size === 0, "a gone in b");
    await Promise.all([b.close(), c.close()]);
    assert.equal((await profile.open("shared")).text.toString(), "from a from b");
  });
});

describe("open", () => {
  it("refuses names outside the limits", async () => {
    for (const name of ["", "a/b/c", "no spaces", "/x", "x".repeat(129)]) {
      await assert.rejects(memoryRoom(name), (error) => error instanceof SelvedgeError && error.code === "bad-document", name);
    }
  });

  it("adds the tenant to a bare name", async () => {
    assert.equal((await memoryRoom("notes")).doc.name, "default/notes");
    assert.equal((await memoryRoom("notes", { tenant: "acme" })).doc.name, "acme/notes");
    assert.equal((await memoryRoom("acme/notes")).doc.name, "acme/notes");
  });

  it("can be aborted", async () => {
    const reason = new Error("changed my mind");
    await assert.rejects(memoryRoom("notes", { signal: AbortSignal.abort(reason) }), reason);
  });

  it("closes twice, and closed rooms say so", async () => {
    const room = await memoryRoom();
    const waiting = room.relay.whenSaved("region");
    waiting.catch(() => undefined);
    room.text.insert(0, "x");
    const pending = room.relay.whenSaved("region");
    await Promise.all([room.close(), room.close()]);
    await assert.rejects(pending, (error) => error instanceof SelvedgeError && error.code === "closed");
    assert.throws(() => room.text.insert(0, "y"), (error) => error instanceof SelvedgeError && error.code === "closed");
  });
});
