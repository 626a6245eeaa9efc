import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { open, SelvedgeError, UpdateDecoder, UpdateEncoder, type Room } from "./index.js";
import { MemoryStore } from "./store/index.js";

const room = (name: string): Promise<Room> => open(name, { persist: new MemoryStore(), crossTab: false, awareness: false });
const ofCode = (code: string) => (error: unknown): boolean => error instanceof SelvedgeError && error.code === code;

/** A room whose every edit is an update of its own, and the updates it told. */
async function writer(): Promise<{ room: Room; updates: Uint8Array[]; type: (at: number, text: string, remove?: number) => Promise<void> }> {
  const here = await room("acme/stream");
  const updates: Uint8Array[] = [];
  here.doc.on("update", (update) => updates.push(update));
  const type = async (at: number, text: string, remove = 0): Promise<void> => {
    here.text.replace(at, at + remove, text);
    here.doc.encodeStateVector();
    await here.relay.whenSaved("device");
  };
  return { room: here, updates, type };
}

describe("a stream of updates", () => {
  it("carries them in order to a document that has nothing else, a letter in two bytes", async () => {
    const here = await writer();
    for (const [at, letter] of [..."warp and weft"].entries()) await here.type(at, letter);
    await here.type(5, "or", 3);
    await here.type(0, "the ");
    const there = await room("acme/stream");
    const [encoder, decoder] = [new UpdateEncoder(), new UpdateDecoder()];
    const beside = await room("acme/stream");
    const besideIt = new UpdateDecoder();
    const lengths = here.updates.map((update) => {
      const message = encoder.encode(update);
      const decoded = decoder.decode(message);
      assert.deepEqual(decoded, [update], "the same bytes");
      assert.ok(there.doc.applyUpdate(decoded[0] ?? update));
      assert.ok(besideIt.apply(beside.doc, message));
      return message.length;
    });
    assert.equal(there.text.toString(), "the warp or weft");
    assert.equal(beside.text.toString(), "the warp or weft");
    assert.deepEqual(lengths.slice(1, 13), Array(12).fill(2));
    assert.ok(Math.max(...here.updates.map(({ length }) => length)) > 20, "standing alone they are longer");
    await Promise.all([here.room.close(), there.close(), beside.close()]);
  });

  it("is taken up from its state, by readers and by the writer", async () => {
    const here = await writer();
    await here.type(0, "one");
    await here.type(3, " two");
    await here.type(1, "!");
    const encoder = new UpdateEncoder();
    for (const update of here.updates.slice(0, 2)) encoder.encode(update);
    const [late, again] = [new UpdateDecoder(encoder.state()), new UpdateEncoder(encoder.state())];
    const [, , next = new Uint8Array()] = here.updates;
    const message = encoder.encode(next);
    assert.deepEqual(again.encode(next), message);
    assert.deepEqual(again.state(), encoder.state());
    assert.deepEqual(late.decode(message), [next]);
    const there = await room("acme/late");
    assert.equal(new UpdateDecoder(encoder.state()).apply(there.doc, encoder.encode(next)), false, "what came before is missing");
    assert.equal(there.text.toString(), "");
    await there.close();
    await here.room.close();
  });

  it("refuses what it cannot carry, with an error that has a code", async () => {
    const here = await writer();
    await here.type(0, "x");
    const encoder = new UpdateEncoder();
    assert.throws(() => encoder.encode(Uint8Array.of(1, 2, 3)), ofCode("update"));
    const [update = new Uint8Array()] = here.updates;
    assert.deepEqual(new UpdateDecoder().decode(encoder.encode(update)), [update], "and goes on");
    assert.throws(() => new UpdateDecoder().decode(Uint8Array.of(8, 120)), ofCode("update"), "an extension of nothing");
    assert.throws(() => new UpdateDecoder(Uint8Array.of(9)), ofCode("update"));
    assert.throws(() => new UpdateEncoder(Uint8Array.of(9)), ofCode("update"));
    assert.throws(() => new UpdateDecoder().apply(here.room.doc, Uint8Array.of(8, 120)), ofCode("update"));
    encoder.close();
    encoder.close();
    assert.throws(() => encoder.encode(update), ofCode("closed"));
    await here.room.close();
  });
});
