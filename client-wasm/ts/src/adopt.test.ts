import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { WebSocket } from "ws";
import type { OpenOptions, Room } from "./index.js";
import { Profile, until } from "./testing/rooms.js";
import { Relay, relayProgram } from "./testing/relay.js";
import { Issuer } from "./testing/tokens.js";
import { WebSocketTransport, type WebSocketConstructor } from "./transport/websocket.js";

const program = relayProgram();

describe("what was written anonymously, at the first sign-in", { skip: program ? false : "no relay is built: `cargo build -p selvedge-relay`, or set SELVEDGE_RELAY_BIN" }, () => {
  let issuer: Issuer;
  let relay: Relay;
  before(async () => {
    issuer = new Issuer(program ?? "");
    relay = await Relay.start(program ?? "", issuer.flags);
  });
  after(async () => {
    await relay.remove();
    issuer.remove();
  });

  const signedIn = (subject: string): OpenOptions => ({
    relays: relay.url, principal: `user:${subject}`, token: issuer.token(subject),
    transports: [new WebSocketTransport({ WebSocket: WebSocket as unknown as WebSocketConstructor })],
  });

  /** A device on which somebody wrote `text` offline. */
  async function draft(name: string, text: string, options: OpenOptions = {}): Promise<Profile> {
    const profile = new Profile();
    const room = await profile.open(name, options);
    room.text.insert(0, text);
    await room.close();
    return profile;
  }

  /** Who wrote what waits on the device, and whether a region has it. */
  async function waiting(profile: Profile, name: string): Promise<string[]> {
    const store = profile.store();
    const entries = await store.outbox(`default/${name}`);
    await store.close();
    return entries.filter(({ acked }) => acked === "device").map(({ principal }) => principal.slice(0, 5));
  }

  async function relayText(name: string): Promise<string> {
    const answer = await fetch(`${relay.url}/v1/docs/default/${name}/text`, { headers: { authorization: `Bearer ${issuer.token("ada")}` } });
    assert.equal(answer.status, 200);
    return answer.text();
  }

  const saved = (room: Room): Promise<unknown> => room.relay.whenSaved("region", AbortSignal.timeout(30_000));

  it("is shown, sent exactly once as the principal's, and not again at later openings", async () => {
    const profile = await draft("adopted", "Draft. ");
    const room = await profile.open("adopted", { ...signedIn("ada"), adopt: true, connect: false });
    assert.equal(room.text.toString(), "Draft. ", "before any relay was asked");
    assert.ok(room.relay.saved.region.ops > 0);
    room.relay.connect();
    await room.ready;
    await saved(room);
    assert.equal(room.text.toString(), "Draft. ");
    assert.equal(await relayText("adopted"), "Draft. ");
    room.text.insert(room.text.length, "More. ");
    await saved(room);
    await room.close();
    assert.deepEqual(await waiting(profile, "adopted"), []);
    for (const adopt of [true, false, true]) {
      const again = await profile.open("adopted", { ...signedIn("ada"), adopt });
      await again.ready;
      await saved(again);
      assert.equal(again.text.toString(), "Draft. More. ");
      await again.close();
    }
    assert.equal(await relayText("adopted"), "Draft. More. ");
  });

  it("joins what the document has meanwhile, also when the page is closed before a relay was reached", async () => {
    const other = await new Profile().open("joined", signedIn("ada"));
    await other.ready;
    other.text.insert(0, "Server. ");
    await saved(other);
    const profile = await draft("joined", "Draft. ");
    const offline = await profile.open("joined", { ...signedIn("ada"), adopt: true, connect: false });
    offline.text.insert(offline.text.length, "Signed in. ");
    await offline.close();
    const room = await profile.open("joined", { ...signedIn("ada"), adopt: true });
    await room.ready;
    await saved(room);
    for (const piece of ["Server. ", "Draft. ", "Signed in. "]) assert.equal(room.text.toString().split(piece).length, 2, `${piece} once: ${room.text.toString()}`);
    await until(() => other.text.toString() === room.text.toString(), `the same elsewhere: ${other.text.toString()}`);
  });

  it("is kept and not sent without the option", async () => {
    const profile = await draft("kept", "Draft. ");
    const room = await profile.open("kept", signedIn("ada"));
    await room.ready;
    room.text.insert(room.text.length, "Signed in. ");
    await saved(room);
    assert.equal(await relayText("kept"), "Signed in. ");
    await room.close();
    assert.deepEqual(await waiting(profile, "kept"), ["anon:"]);
    const later = await profile.open("kept", { ...signedIn("ada"), adopt: true });
    await later.ready;
    await saved(later);
    for (const piece of ["Draft. ", "Signed in. "]) assert.equal(later.text.toString().split(piece).length, 2, later.text.toString());
    assert.equal(await relayText("kept"), later.text.toString());
  });

  it("is kept and not sent, or sent once, also where the device keeps a copy of the whole text besides", async () => {
    for (const adopt of [false, true]) {
      const name = `long-${adopt}`;
      const profile = await draft(name, "Draft. ");
      const anonymous = await profile.open(name);
      for (let i = 0; i < 600; i++) {
        anonymous.text.insert(anonymous.text.length, `${i} `);
        await anonymous.relay.whenSaved("device");
      }
      const text = anonymous.text.toString();
      await anonymous.close();
      const store = profile.store();
      assert.ok((await store.load(`default/${name}`)).state, "a copy of the whole");
      await store.close();
      const room = await profile.open(name, { ...signedIn("ada"), adopt });
      await room.ready;
      room.text.insert(0, "Signed in. ");
      await saved(room);
      assert.equal((await relayText(name)).includes(text), adopt);
      assert.equal((await relayText(name)).length, "Signed in. ".length + (adopt ? text.length : 0));
      await room.close();
      assert.equal((await waiting(profile, name)).includes("anon:"), !adopt);
    }
  });

  it("is nothing that somebody else wrote there, signed in", async () => {
    const profile = await draft("bobs", "Bob's. ", { principal: "user:bob" });
    const room = await profile.open("bobs", { ...signedIn("ada"), adopt: true });
    await room.ready;
    room.text.insert(room.text.length, "Ada's. ");
    await saved(room);
    assert.equal(await relayText("bobs"), "Ada's. ");
    await room.close();
    assert.deepEqual(await waiting(profile, "bobs"), ["user:"]);
  });
});
