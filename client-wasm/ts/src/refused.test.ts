import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { WebSocket } from "ws";
import { SelvedgeError, type Room } from "./index.js";
import { HeldTransport } from "./testing/held-transport.js";
import { startDom } from "./testing/dom.js";
import { Profile, until } from "./testing/rooms.js";
import { Relay, relayProgram } from "./testing/relay.js";
import { Issuer } from "./testing/tokens.js";
import { WebSocketTransport, type WebSocketConstructor } from "./transport/websocket.js";

startDom();
const { bindTextarea } = await import("./bindings/textarea.js");
const { EditorView } = await import("@codemirror/view");
const { collab } = await import("./bindings/codemirror/index.js");

const program = relayProgram();
const SKIP = program ? false : "no relay is built: `cargo build -p selvedge-relay`, or set SELVEDGE_RELAY_BIN";
const transport = (): HeldTransport => new HeldTransport(new WebSocketTransport({ WebSocket: WebSocket as unknown as WebSocketConstructor }));

describe("edits refused for want of rights", { skip: SKIP }, () => {
  let issuer: Issuer;
  let relay: Relay;
  let ada: Room;
  let ben: Room;
  let profile: Profile;
  let network: HeldTransport;
  let refused: { readonly code: number; readonly message: string }[];
  let permissions: boolean[];
  let name = "";
  let count = 0;

  before(async () => {
    issuer = new Issuer(program ?? "");
    relay = await Relay.start(program ?? "", issuer.flags);
  });
  after(async () => {
    await relay.remove();
    issuer.remove();
  });

  const enter = (subject: string, device: Profile, way: HeldTransport): Promise<Room> =>
    device.open(name, { relays: relay.url, transports: [way], principal: `user:${subject}`, token: issuer.token(subject) });

  async function setRights(rights: "read" | "write"): Promise<void> {
    const answer = await fetch(`${relay.url}/v1/docs/default/${name}/rights/user:ben`, {
      method: "PUT", headers: { authorization: `Bearer ${issuer.token("ada")}` }, body: JSON.stringify({ rights }),
    });
    assert.equal(answer.status, 204, await answer.text());
  }

  /** Ben, who may write, types while word that he may no longer is on its way to him. */
  async function refuse(): Promise<void> {
    name = `refused-${++count}`;
    ada = await enter("ada", new Profile(), transport());
    await ada.ready;
    ada.text.insert(0, "Ada. ");
    await ada.relay.whenSaved("region", AbortSignal.timeout(30_000));
    await setRights("write");
    [profile, network, refused, permissions] = [new Profile(), transport(), [], []];
    ben = await enter("ben", profile, network);
    await ben.ready;
    ben.relay.on("refused", (event) => refused.push(event));
    ben.relay.on("permission", ({ write }) => permissions.push(write));
    ben.text.insert(5, "Ben. ");
    await ben.relay.whenSaved("region", AbortSignal.timeout(30_000));
    network.hold();
    await setRights("read");
    await until(() => network.holds("rights"), "the relay has heard of it");
    ben.text.insert(10, "Too late. ");
    await until(() => network.holds("refused"), "the relay refused it");
    network.release();
    await until(() => refused.length > 0, "ben heard of it");
  }

  it("are told, make the document read-only, stay on the device, and do not stop what others write", async () => {
    await refuse();
    assert.deepEqual(refused, [{ code: 4403, message: "This document may only be read." }]);
    assert.equal(ben.relay.status, "readonly");
    assert.deepEqual(permissions, [false]);
    assert.throws(() => ben.text.insert(0, "x"), (error) => error instanceof SelvedgeError && error.code === "read-only");
    ada.text.insert(0, "More. ");
    await until(() => ben.text.toString() === "More. Ada. Ben. Too late. ", `what ada wrote in ben: ${ben.text.toString()}`);
    assert.ok(ben.relay.saved.region.ops > 0);
    assert.equal(ben.relay.saved.device.ops, 0);
    assert.equal(ada.text.toString(), "More. Ada. Ben. ");
    await ben.close();
    const again = await profile.open(name, { connect: false, principal: "user:ben" });
    assert.equal(again.text.toString(), "More. Ada. Ben. Too late. ", "they are there at the next opening");
  });

  it("are offered again by retryRefused when rights came back, once, and editing goes on", async () => {
    await refuse();
    const area = document.createElement("textarea");
    const stop = bindTextarea(area, ben.text);
    const view = new EditorView({ doc: "", parent: document.body, extensions: [collab(ben.text, ben.awareness)] });
    assert.deepEqual([area.readOnly, view.state.readOnly], [true, true], "editors show it");
    await setRights("write");
    await until(() => ben.relay.permission === "write", "ben may write again");
    assert.equal(ben.relay.status, "readonly", "what was refused waits for a decision");
    assert.throws(() => ben.text.insert(0, "x"), SelvedgeError);
    ben.relay.retryRefused();
    await ben.relay.whenSaved("region", AbortSignal.timeout(30_000));
    await until(() => ada.text.toString() === "Ada. Ben. Too late. ", `it arrives: ${ada.text.toString()}`);
    await until(() => ben.relay.status === "connected" && !view.state.readOnly, "the editor takes edits");
    assert.equal(area.readOnly, false);
    assert.deepEqual(permissions, [false, false, true], "rights went, came, and were made use of");
    ben.text.insert(ben.text.length, "On time.");
    await until(() => ada.text.toString() === "Ada. Ben. Too late. On time.", `more arrives: ${ada.text.toString()}`);
    assert.equal(refused.length, 1);
    stop();
    view.destroy();
  });

  it("wait where retryRefused finds no rights yet", async () => {
    await refuse();
    ben.relay.retryRefused();
    ada.text.insert(0, "More. ");
    await until(() => ben.text.toString().startsWith("More. "), "ben goes on receiving");
    assert.ok(ben.relay.saved.region.ops > 0);
    assert.equal(ben.relay.status, "readonly");
    await setRights("write");
    await until(() => ada.text.toString() === "More. Ada. Ben. Too late. ", `it arrives with the rights: ${ada.text.toString()}`);
    assert.equal(ben.relay.saved.region.ops, 0);
  });

  it("are given up by discardRefused: the text is the relay's, here and at the next opening", async () => {
    await refuse();
    ben.relay.discardRefused();
    await until(() => ben.text.toString() === "Ada. Ben. ", `the relay's text: ${ben.text.toString()}`);
    await until(() => ben.relay.saved.region.ops === 0, "nothing waits");
    await setRights("write");
    await until(() => ben.relay.status === "connected", `ben may write again: ${ben.relay.status}`);
    ben.text.insert(ben.text.length, "After.");
    await ben.relay.whenSaved("region", AbortSignal.timeout(30_000));
    await until(() => ada.text.toString() === "Ada. Ben. After.", `and writes on: ${ada.text.toString()}`);
    await ben.close();
    const again = await enter("ben", profile, transport());
    assert.equal(again.text.toString(), "Ada. Ben. After.");
    await again.ready;
    assert.equal(again.text.toString(), "Ada. Ben. After.");
    assert.equal(ada.text.toString(), "Ada. Ben. After.");
  });
});

describe("edits refused for want of room", { skip: SKIP }, () => {
  let relay: Relay;
  before(async () => { relay = await Relay.start(program ?? "", ["--document-bytes-max", "1000"]); });
  after(() => relay.remove());

  const enter = (name: string): Promise<Room> => new Profile().open(name, { relays: relay.url, transports: [transport()] });
  const full = "x".repeat(990);

  /** A full text, and a room whose addition was refused. */
  async function refuse(name: string): Promise<Room> {
    const room = await enter(name);
    await room.ready;
    room.text.insert(0, full);
    await room.relay.whenSaved("region", AbortSignal.timeout(30_000));
    const told = new Promise<number>((resolve) => room.relay.once("refused", ({ code }) => resolve(code)));
    room.text.insert(0, "y".repeat(30));
    assert.equal(await told, 4413);
    return room;
  }

  it("take text away still, and pass by retryRefused once there is room", async () => {
    const room = await refuse("room");
    assert.throws(() => room.text.insert(0, "z"), (error) => error instanceof SelvedgeError && error.code === "read-only");
    const other = await enter("room");
    await until(() => other.text.length === full.length, "the full text elsewhere");
    room.text.delete(30, 500);
    await until(() => other.text.length === full.length - 500, "and what was taken away");
    room.relay.retryRefused();
    await until(() => other.text.toString() === "y".repeat(30) + "x".repeat(490), `all of it elsewhere: ${other.text.length}`);
    await until(() => room.relay.status === "connected", `the text takes edits again: ${room.relay.status}`);
    room.text.insert(0, "z");
    await until(() => other.text.toString().startsWith("zy"), "and sends them");
  });

  it("are given up by discardRefused", async () => {
    const room = await refuse("given-up");
    room.relay.discardRefused();
    await until(() => room.text.toString() === full, `the relay's text: ${room.text.length}`);
    await until(() => room.relay.status === "connected" && room.relay.saved.region.ops === 0, "nothing waits");
    room.text.insert(0, "z");
    await room.relay.whenSaved("region", AbortSignal.timeout(30_000));
  });
});
