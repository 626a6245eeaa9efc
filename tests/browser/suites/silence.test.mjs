import assert from "node:assert/strict";
import { test } from "node:test";
import { freshName, scene } from "../lib/scene.mjs";

const stage = scene();

test("by WebTransport too the indicator tells the truth when the relay is killed, and everything arrives when it is back", async () => {
  const name = freshName("killed");
  const { relay } = stage;
  const browser = await stage.browser();
  const tab = await browser.tab(relay.origin, name, { transport: "webtransport" });
  await tab.synced();
  await tab.caret();
  await tab.type("Safe.");
  await tab.saved();
  assert.equal(await relay.text(name), "Safe.");
  await relay.kill();
  await tab.type(" At risk.");
  await tab.says(/^No connection · 9 edits on this device$/);
  await relay.up();
  await tab.saved();
  await tab.says(/^Saved/);
  assert.equal(await relay.text(name), "Safe. At risk.");
  assert.equal(await tab.page.evaluate(() => window.selvedge.room.relay.link.transport), "webtransport");
});
