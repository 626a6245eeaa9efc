import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { WebSocket } from "ws";
import type { OpenOptions, Room } from "./index.js";
import type { Reconciled } from "./provider/reconcile.js";
import { Profile, until } from "./testing/rooms.js";
import { Relay, relayProgram } from "./testing/relay.js";
import { WebSocketTransport, type WebSocketConstructor } from "./transport/websocket.js";

const program = relayProgram();

describe("through a relay", { skip: program ? false : "no relay is built: `cargo build -p selvedge-relay`, or set SELVEDGE_RELAY_BIN" }, () => {
  let relay: Relay;
  before(async () => { relay = await Relay.start(program ?? ""); });
  after(() => relay.remove());

  const options = (): OpenOptions => ({
    relays: relay.url,
    transports: [new WebSocketTransport({ WebSocket: WebSocket as unknown as WebSocketConstructor })],
  });
  const enter = (name: string, profile = new Profile()): Promise<Room> => profile.open(name, options());

  it("two devices write one text, and know when it is safe", async () => {
    const [a, b] = [await enter("two"), await enter("two")];
    await Promise.all([a.ready, b.ready]);
    a.text.insert(0, "Hello");
    const saved = await a.relay.whenSaved("region", AbortSignal.timeout(30_000));
    assert.equal(saved.region.ops, 0);
    await until(() => b.text.toString() === "Hello", "a's text in b");
    b.text.insert(5, " world");
    await until(() => a.text.toString() === "Hello world", "b's text in a");
    assert.equal(a.relay.status, "connected");
    assert.equal(a.relay.link?.relay.includes("127.0.0.1"), true);
    await Promise.all([a.close(), b.close()]);
    const c = await enter("two");
    await c.ready;
    assert.equal(c.text.toString(), "Hello world");
  });

  it("two devices begin one text with the same words, one of them offline, and have them once", async () => {
    const initialText = "# Minutes\n";
    const [a, b] = [new Profile(), new Profile()];
    const first = await a.open("begun", { ...options(), initialText });
    await first.ready;
    first.text.insert(first.text.length, "from a\n");
    await first.relay.whenSaved("region", AbortSignal.timeout(30_000));
    const second = await b.open("begun", { ...options(), initialText, connect: false });
    assert.equal(second.text.toString(), initialText);
    second.relay.connect();
    await until(() => second.text.toString() === "# Minutes\nfrom a\n", `the words once: ${second.text.toString()}`);
    const other = await enter("begun", new Profile());
    await other.ready;
    assert.equal(other.text.toString(), "# Minutes\nfrom a\n");
  });

  it("whenSaved asks for more than there is: the highest level counts", async () => {
    const a = await enter("levels");
    a.text.insert(0, "x");
    const saved = await a.relay.whenSaved("replicated", AbortSignal.timeout(30_000));
    assert.equal(saved.highest, "region");
  });

  it("whenSaved resolves while somebody goes on typing", async () => {
    const a = await enter("typing");
    await a.ready;
    const timer = setInterval(() => a.text.insert(a.text.length, "."), 1);
    await a.relay.whenSaved("region", AbortSignal.timeout(30_000));
    clearInterval(timer);
  });

  it("everybody sees everybody's presence, until they leave", async () => {
    const [a, b] = [await enter("presence"), await enter("presence")];
    await Promise.all([a.ready, b.ready]);
    a.awareness.setLocalStateField("user", { name: "Ada" });
    await until(() => [...b.awareness.getStates().values()].some(({ user }) => user?.name === "Ada"), "Ada in b");
    assert.ok([...b.awareness.getStates().keys()].includes(a.awareness.clientId));
    await a.close();
    await until(() => b.awareness.getStates().size === 0, "Ada gone");
  });

  it("edits made offline arrive after the return, and both sides hear what happened", async () => {
    const profile = new Profile();
    const [a, b] = [await enter("offline", profile), await enter("offline")];
    await Promise.all([a.ready, b.ready]);
    a.text.insert(0, "base. ");
    await until(() => b.text.length === 6, "the base in b");
    a.relay.disconnect();
    await until(() => a.relay.status === "offline", "offline");
    a.text.insert(6, "from a, offline. ");
    b.text.insert(0, "from b. ");
    await a.relay.whenSaved("device", AbortSignal.timeout(30_000));
    assert.ok(a.relay.saved.region.ops > 0);
    await b.relay.whenSaved("region", AbortSignal.timeout(30_000));
    const reconciled = new Promise<Reconciled>((resolve) => a.relay.once("reconciled", resolve));
    a.relay.connect();
    await until(() => a.text.toString() === "from b. base. from a, offline. ", `both in a: ${a.text.toString()}`);
    await until(() => b.text.toString() === a.text.toString(), "both in b");
    const event = await reconciled;
    assert.equal(event.received, "from b. ".length);
    assert.equal(event.ranges.length, 1);
    assert.ok(event.sent > 0);
  });

  it("a page closed offline gives its edits at the next opening, still its own", async () => {
    const profile = new Profile();
    const a = await enter("reopened", profile);
    await a.ready;
    a.text.insert(0, "one ");
    await a.relay.whenSaved("region", AbortSignal.timeout(30_000));
    a.relay.disconnect();
    a.text.insert(4, "two ");
    await a.close();
    const again = await profile.open("reopened", { ...options(), connect: false });
    assert.equal(again.text.toString(), "one two ");
    again.text.insert(8, "three");
    again.relay.connect();
    await again.relay.whenSaved("region", AbortSignal.timeout(30_000));
    const b = await enter("reopened");
    await b.ready;
    assert.equal(b.text.toString(), "one two three");
  });

  it("a tab that stays pushes what a closed one left on the device", async () => {
    const profile = new Profile();
    const a = await profile.open("left", { ...options(), crossTab: true });
    await a.ready;
    const b = await profile.open("left", { ...options(), crossTab: true, connect: false });
    b.text.insert(0, "written in b");
    await b.close();
    const c = await enter("left");
    await until(() => c.text.toString() === "written in b", `b's words in another browser: ${c.text.toString()}`);
    await until(() => a.relay.saved.region.ops === 0, "and a knows that they are safe");
  });

  it("a killed relay costs nothing: typing goes on, the state is told, and everything arrives once", async () => {
    const [a, b] = [await enter("killed"), await enter("killed")];
    await Promise.all([a.ready, b.ready]);
    a.text.insert(0, "before ");
    await a.relay.whenSaved("region", AbortSignal.timeout(30_000));
    await relay.kill();
    await until(() => a.relay.status !== "connected", "the loss is noticed");
    a.text.insert(7, "during ");
    await a.relay.whenSaved("device", AbortSignal.timeout(30_000));
    assert.ok(a.relay.saved.region.ops > 0);
    await relay.restart();
    await a.relay.whenSaved("region", AbortSignal.timeout(60_000));
    await until(() => b.text.toString() === "before during ", `everything in b: ${b.text.toString()}`, 60_000);
    assert.equal(a.text.toString(), "before during ");
  });

  it("a paste of 300 KB goes through", async () => {
    const [a, b] = [await enter("paste"), await enter("paste")];
    await Promise.all([a.ready, b.ready]);
    const text = "0123456789".repeat(30_000);
    a.text.insert(0, text);
    await a.relay.whenSaved("region", AbortSignal.timeout(60_000));
    await until(() => b.text.length === text.length, "the paste in b", 60_000);
    assert.equal(b.text.toString(), text);
  });
});
