import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { SelvedgeError, type OpenOptions } from "./index.js";
import { decodeFrames } from "./protocol/index.js";
import type { Store, StoredEndpoints } from "./store/store.js";
import { encodedList, Signer } from "./testing/lists.js";
import { MemoryTransport } from "./testing/memory-transport.js";
import { Profile, until } from "./testing/rooms.js";
import type { PeerConnection } from "./transport/contract.js";

interface Vector { readonly name: string; readonly hex: string }
const file = fileURLToPath(new URL("../../../protocol/vectors/messages.json", import.meta.url));
const vectors = JSON.parse(readFileSync(file, "utf8")) as readonly Vector[];
const helloOk = Buffer.from(vectors.find(({ name }) => name === "hello-ok")?.hex ?? "", "hex");

const varint = (value: number): number[] => value < 128 ? [value] : [(value & 127) | 128, ...varint(value >> 7)];

/** The message that tells a signed list: channel 0, kind 9, text. */
function message(signed: string): Uint8Array<ArrayBuffer> {
  const payload = [251, signed.length & 255, signed.length >> 8, ...new TextEncoder().encode(signed)];
  return Uint8Array.from([0, 9, ...varint(payload.length), ...payload]);
}

/** A relay that says hello, answers pings, and tells these lists. */
async function serve(transport: MemoryTransport, ...lists: string[]): Promise<PeerConnection> {
  const connection = await transport.listen().accept();
  connection.send(Uint8Array.from(helloOk));
  for (const signed of lists) connection.send(message(signed));
  void answer(connection);
  return connection;
}

async function answer(connection: PeerConnection): Promise<void> {
  for (;;) {
    const bytes = await connection.receive();
    for (const { kind, payload } of decodeFrames(bytes)) {
      if (kind === 6) connection.send(Uint8Array.from([0, 7, payload.length, ...payload]));
    }
  }
}

/** Waits until a store keeps a list of this key. */
async function keptOf(store: Store, key: string): Promise<StoredEndpoints> {
  const end = performance.now() + 20_000;
  for (;;) {
    const kept = await store.endpoints(key);
    if (kept) return kept;
    if (performance.now() > end) throw new Error("no list is kept");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe("signed lists of endpoints", () => {
  let signer: Signer;
  let foreign: Signer;
  before(async () => { [signer, foreign] = await Promise.all([Signer.make(), Signer.make()]); });
  const listed = (epoch: number): Promise<string> => signer.sign(encodedList(epoch, 1, "b", ["memory://relay"]));
  const options = (relay: string, transport: MemoryTransport): OpenOptions => ({ relays: relay, transports: [transport], trust: signer.pem, awareness: false });

  it("are verified, kept on the device, and gone by in the next load when the service's address is dead", async () => {
    const profile = new Profile();
    const transport = new MemoryTransport();
    const first = await profile.open("notes", options("memory://relay", transport));
    await serve(transport, await listed(4));
    const store = profile.store();
    const { epoch, issue } = await keptOf(store, signer.name);
    assert.deepEqual([epoch, issue], [4, 1]);
    await first.close();

    const next = new MemoryTransport();
    const second = await profile.open("notes", options("memory://nobody", next));
    await serve(next); // only the list that was kept leads here
    await until(() => second.relay.link !== null, "the second load connects");
    await store.close();
    await second.close();
  });

  it("are refused when forged or of an older epoch: warned of, and the connection goes on", async (context) => {
    const warned = context.mock.method(console, "warn", () => undefined).mock;
    const profile = new Profile();
    const transport = new MemoryTransport();
    const room = await profile.open("notes", options("memory://relay", transport));
    const connection = await serve(transport, await listed(4));
    const store = profile.store();
    await keptOf(store, signer.name);
    connection.send(message(await foreign.sign(encodedList(9, 1, "x", ["memory://evil"]))));
    await until(() => warned.callCount() === 1, "the forged list is refused");
    connection.send(message(await listed(3)));
    await until(() => warned.callCount() === 2, "the older list is refused");
    assert.ok(warned.calls.every(({ arguments: [error] }) => (error as unknown) instanceof SelvedgeError && (error as SelvedgeError).code === "endpoints"));
    assert.ok(room.relay.link);
    assert.equal((await store.endpoints(signer.name))?.epoch, 4);
    await store.close();
    await room.close();
  });

  it("need keys that are keys", async () => {
    await assert.rejects(new Profile().open("notes", { trust: "no key" }), (error) => error instanceof SelvedgeError && error.code === "bad-argument");
  });
});
