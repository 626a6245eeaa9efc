import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join, normalize } from "node:path";
import { test } from "node:test";
import { converged, freshName, scene, together } from "../lib/scene.mjs";
import { silentUdp } from "../lib/silent-udp.mjs";

const stage = scene();
const ROOT = join(import.meta.dirname, "../../..");
/** On a busy machine WebSocket may well answer first: where streams are the subject, they are asked for. */
const STREAMS = { transport: "webtransport" };
const transportOf = (tab) => tab.page.evaluate(() => window.selvedge.room.relay.link?.transport ?? null);

/** Resolves once the tab is connected; returns by what. */
async function connected(tab) {
  await tab.page.waitForFunction(() => window.selvedge.room.relay.link !== null);
  return transportOf(tab);
}

test("WebTransport carries two people's text and cursors", async () => {
  const name = freshName("streams");
  const [a, b] = await together(stage.browser(), stage.browser());
  const [ada, bela] = await together(a.tab(stage.relay.origin, name, STREAMS), b.tab(stage.relay.origin, name, STREAMS));
  await together(ada.synced(), bela.synced());
  assert.deepEqual([await transportOf(ada), await transportOf(bela)], ["webtransport", "webtransport"]);
  await ada.caret();
  await ada.type("Streams of words. ");
  await bela.hasPieces("Streams of words. ");
  await bela.page.locator(".cm-collab-caret").first().waitFor();
  await bela.caret(0);
  await together(ada.type("Ada goes on."), bela.type("Bela begins. "));
  await converged(ada, bela);
  await together(ada.saved(), bela.saved());
  assert.equal(await stage.relay.text(name), await ada.text());
});

test("a text of 300 KB arrives by streams, and typing beside it goes on", async () => {
  const [large, small] = [freshName("large"), freshName("small")];
  const browser = await stage.browser();
  const tab = await browser.tab(stage.relay.origin, large, STREAMS);
  await tab.synced();
  const text = "0123456789abcdef ".repeat(18_000);
  await tab.page.evaluate((insert) => window.selvedge.room.text.insert(0, insert), text);
  const beside = await browser.tab(stage.relay.origin, small, STREAMS);
  await beside.synced();
  await beside.caret();
  await beside.type("beside");
  await together(beside.saved(), tab.saved());
  assert.equal((await stage.relay.text(large)).length, text.length);
  assert.equal(await transportOf(tab), "webtransport");
});

test("where UDP leads nowhere WebSocket connects within a second, and meets those who have it", async () => {
  const silent = await silentUdp();
  try {
    const name = freshName("blocked");
    const [a, b] = await together(stage.browser(), stage.browser());
    const other = await b.tab(stage.relay.origin, name, STREAMS);
    await other.synced();
    await silent.lead(a.context);
    const { tab, ms } = await silent.quickest(a, stage.relay.origin, name);
    assert.equal(await connected(tab), "websocket");
    assert.ok(ms < 1_000, `WebSocket took ${Math.round(ms)} ms`);
    await tab.synced();
    await tab.caret();
    await tab.type("By socket. ");
    await other.hasPieces("By socket. ");
    assert.equal(await transportOf(other), "webtransport");
  } finally {
    silent.close();
  }
});

test("a relay without WebTransport is reached at once, and a browser without it too", async () => {
  const browser = await stage.browser();
  await browser.context.route("**/v1/endpoints", (route) => route.fulfill({ status: 404, body: "" }));
  const tab = await browser.tab(stage.relay.origin, freshName("no-endpoints"));
  assert.equal(await connected(tab), "websocket");
  const old = await stage.browser();
  await old.context.addInitScript(() => { delete window.WebTransport; });
  const other = await old.tab(stage.relay.origin, freshName("no-class"));
  assert.equal(await connected(other), "websocket");
});

for (const transport of ["webtransport", "websocket"]) {
  test(`${transport} keeps the transports' contract with a real relay`, async () => {
    const browser = await stage.browser();
    await browser.context.route("**/test-package/**", servePackage);
    const tab = await browser.tab(stage.relay.origin, freshName("contract"));
    const told = await tab.page.evaluate(contract, { transport, origin: stage.relay.origin, hello: helloBytes() });
    assert.deepEqual(told.greeted, { opened: 1, ended: 1, kind: 2, code: 1000 }, "hello-ok comes back, and the close is one's own");
    assert.deepEqual(told.malformed, { opened: 1, ended: 1, code: 4400, reasoned: true });
    assert.deepEqual(told.outdated, { opened: 1, ended: 1, code: 4426, reasoned: true });
    assert.deepEqual(told.nowhere, { opened: 0, ended: 1, code: 1006 });
    assert.deepEqual(told.early, { opened: 0, ended: 1, code: 1000 });
  });
}

/** Runs in the page: what a transport tells in each case. */
async function contract({ transport: name, origin, hello }) {
  const { WebTransportTransport, WebSocketTransport } = await import("/test-package/provider/index.js");
  const transport = name === "webtransport" ? new WebTransportTransport() : new WebSocketTransport();
  const run = (url, act, onReceived = () => undefined) => new Promise((resolve) => {
    const told = { opened: 0, ended: 0 };
    const connection = transport.connect(url, {
      opened: () => { told.opened += 1; act(connection); },
      received: (bytes) => onReceived(connection, bytes, told),
      ended: (code, reason) => {
        told.ended += 1;
        setTimeout(() => resolve({ ...told, code, ...(code >= 4000 ? { reasoned: reason !== "" } : {}) }), 50);
      },
    });
    if (act === "early") connection.close();
  });
  const outdated = Uint8Array.from(hello);
  outdated[5] = 99; // the only version offered
  return {
    greeted: await run(origin, (connection) => connection.send(Uint8Array.from(hello)), (connection, bytes, told) => {
      told.kind ??= bytes[1];
      connection.close(1000, "");
    }),
    malformed: await run(origin, (connection) => connection.send(Uint8Array.of(0, 2, 1, 0))),
    outdated: await run(origin, (connection) => connection.send(outdated)),
    nowhere: await run("http://127.0.0.1:9", () => undefined),
    early: await run(origin, "early"),
  };
}

/** The golden hello. */
function helloBytes() {
  const messages = JSON.parse(readFileSync(join(ROOT, "protocol/vectors/messages.json"), "utf8"));
  return [...Buffer.from(messages.find(({ name }) => name === "hello").hex, "hex")];
}

/** The built npm package, as a server would have it. */
async function servePackage(route) {
  const path = normalize(new URL(route.request().url()).pathname.replace("/test-package/", ""));
  const file = join(ROOT, "client-wasm/pkg/dist", path);
  if (path.startsWith("..") || !existsSync(file)) return route.fulfill({ status: 404, body: "" });
  return route.fulfill({ path: file, contentType: file.endsWith(".js") ? "text/javascript" : "application/octet-stream" });
}
