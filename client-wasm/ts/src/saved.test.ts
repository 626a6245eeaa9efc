import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { WebSocket } from "ws";
import type { OpenOptions, Room, SaveState } from "./index.js";
import { Profile, until } from "./testing/rooms.js";
import { Relay, relayProgram } from "./testing/relay.js";
import { WebSocketTransport, type WebSocketConstructor } from "./transport/websocket.js";

const program = relayProgram();
const ROOM_BYTES = 1_000;

describe("how safe the text is", { skip: program ? false : "no relay is built: `cargo build -p selvedge-relay`, or set SELVEDGE_RELAY_BIN" }, () => {
  let relay: Relay;
  before(async () => { relay = await Relay.start(program ?? "", ["--document-bytes-max", String(ROOM_BYTES)]); });
  after(() => relay.remove());

  const options = (): OpenOptions => ({
    relays: relay.url,
    transports: [new WebSocketTransport({ WebSocket: WebSocket as unknown as WebSocketConstructor })],
  });
  const saved = (room: Room, level: "device" | "region"): Promise<SaveState> => room.relay.whenSaved(level, AbortSignal.timeout(30_000));

  it("whenSaved stays pending offline, however much the device stores, and settles after the return", async () => {
    const [a, b] = [await new Profile().open("pending", options()), await new Profile().open("pending", options())];
    await Promise.all([a.ready, b.ready]);
    a.relay.disconnect();
    await until(() => a.relay.status === "offline", "offline");
    a.text.insert(0, "offline. ");
    const settled: string[] = [];
    const wait = (level: "region" | "replicated"): Promise<SaveState> => {
      const waiting = a.relay.whenSaved(level);
      waiting.then(() => settled.push(level), () => settled.push("rejected"));
      return waiting;
    };
    const [region, highest] = [wait("region"), wait("replicated")];
    for (const more of ["more. ", "and more. "]) {
      await saved(a, "device");
      a.text.insert(a.text.length, more);
    }
    assert.equal((await saved(a, "device")).device.ops, 0);
    await assert.rejects(a.relay.whenSaved("region", AbortSignal.timeout(50)), (error) => (error as Error).name === "TimeoutError");
    assert.deepEqual(settled, [], "no answer before there is one");
    assert.ok(a.relay.saved.oldestPendingMs > 0 || a.relay.saved.region.ops > 0);
    a.relay.connect();
    const state = await region;
    await highest;
    assert.deepEqual(settled.sort(), ["region", "replicated"]);
    assert.ok(state.region.through >= 1);
    await saved(a, "region");
    await until(() => b.text.toString() === "offline. more. and more. ", `it is elsewhere: ${b.text.toString()}`);
  });

  it("whenSaved waits for what an earlier load left on the device, though nothing was written in this one", async () => {
    const profile = new Profile();
    const before = await profile.open("left", { ...options(), connect: false });
    before.text.insert(0, "left here");
    await before.close();
    const a = await profile.open("left", { ...options(), connect: false });
    let settled = false;
    const waiting = a.relay.whenSaved("region").then(() => { settled = true; });
    await saved(a, "device");
    await assert.rejects(a.relay.whenSaved("region", AbortSignal.timeout(50)), (error) => (error as Error).name === "TimeoutError");
    assert.equal(settled, false);
    a.relay.connect();
    await waiting;
    assert.equal(a.relay.saved.region.ops, 0);
    assert.equal(await (await fetch(`${relay.url}/v1/docs/default/left/text`)).text(), "left here");
  });

  it("whenSaved stays pending while the relay is away, and settles when it is back", async () => {
    const a = await new Profile().open("away", options());
    await a.ready;
    await relay.kill();
    a.text.insert(0, "nobody is there");
    let settled = false;
    const waiting = a.relay.whenSaved("region").then(() => { settled = true; });
    await saved(a, "device");
    await until(() => a.relay.status !== "connected", "the loss is noticed");
    assert.equal(settled, false);
    await relay.restart();
    await waiting;
    assert.equal(a.relay.saved.region.ops, 0);
  });

  it("is told in order: status, persisted, saved, refused", async () => {
    const told: string[] = [];
    const states: SaveState[] = [];
    const a = await new Profile().open("told", { ...options(), connect: false });
    let before = "";
    a.relay.on("status", ({ status }) => { if (status !== "syncing") told.push(status); });
    a.relay.on("refused", ({ code }) => told.push(`refused ${code}`));
    a.relay.on("persisted", (granted) => told.push(`persisted ${granted}`));
    a.relay.on("saved", (state) => {
      states.push(state);
      const now = state.device.ops > 0 ? "nowhere" : state.region.ops > 0 ? "device" : "region";
      if (now !== before) told.push(`on ${now}`);
      before = now;
    });
    /** What was told since, after `done`. */
    const since = async (what: () => void, done: () => Promise<unknown> | unknown): Promise<string[]> => {
      told.length = 0;
      what();
      await done();
      return [...told];
    };

    assert.deepEqual(await since(() => a.relay.connect(), () => a.ready), ["connecting", "connected"]);
    const first = await since(() => a.text.insert(0, "x".repeat(900)), () => saved(a, "region"));
    // The relay may answer before the disk: both are told at once then.
    assert.deepEqual(first.filter((one) => one !== "on device" && !one.startsWith("persisted")), ["on nowhere", "on region"]);
    assert.deepEqual(first.filter((one) => one.startsWith("persisted")), ["persisted false"], "asked at the first edit, and answered once");
    assert.deepEqual(await since(() => a.relay.disconnect(), () => until(() => a.relay.status === "offline", "offline")), ["offline"]);
    assert.deepEqual(await since(() => a.text.insert(0, "offline "), () => saved(a, "device")), ["on nowhere", "on device"]);
    const back = await since(() => a.relay.connect(), () => saved(a, "region"));
    assert.deepEqual(back.slice(0, 1), ["connecting"]);
    assert.deepEqual(back.slice(1).sort(), ["connected", "on region"]);
    const refused = await since(() => a.text.insert(0, "y".repeat(200)), () => Promise.all([saved(a, "device"), until(() => a.relay.status === "readonly", "refused")]));
    assert.deepEqual(refused.filter((one) => one.startsWith("on ")), ["on nowhere", "on device"]);
    assert.deepEqual(refused.filter((one) => !one.startsWith("on ")), ["refused 4413", "readonly"]);
    const discarded = await since(() => a.relay.discardRefused(), () => until(() => a.relay.status === "connected" && a.relay.saved.region.ops === 0, "given up"));
    assert.deepEqual(discarded.sort(), ["connected", "on region"]);

    for (const [i, state] of states.entries()) {
      assert.ok(state.device.ops <= state.region.ops && state.region.ops <= state.replicated.ops, "what is safer is elsewhere, too");
      const earlier = states[i - 1];
      if (!earlier) continue;
      assert.ok(state.edited >= earlier.edited);
      for (const level of ["device", "region"] as const) assert.ok(state[level].through >= earlier[level].through, `${level} never goes back`);
    }
  });
});
