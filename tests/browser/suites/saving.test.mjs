import assert from "node:assert/strict";
import { test } from "node:test";
import { freshName, scene } from "../lib/scene.mjs";

const stage = scene();

test("the save indicator tells the truth when the relay is killed, and when it returns", async () => {
  const name = freshName("truth");
  const { relay } = stage;
  const browser = await stage.browser();
  const tab = await browser.tab(relay.origin, name);
  await tab.synced();
  await tab.caret();
  await tab.type("Safe.");
  await tab.saved();
  await tab.says(/^Saved/);
  assert.equal(await relay.text(name), "Safe.");

  await relay.kill();
  await tab.type(" At risk.");
  await tab.says(/^No connection · 9 edits on this device$/);
  await tab.page.locator("button.save").click();
  const levels = await tab.page.locator(".level").allInnerTexts();
  assert.match(levels[0], /This device[\s\S]*Everything you typed is here/);
  assert.match(levels[1], /Server[\s\S]*9 edits waiting/);
  await tab.page.keyboard.press("Escape");

  await relay.up();
  await tab.says(/^Saved/);
  assert.equal(await relay.text(name), "Safe. At risk.");
});

test("nothing is called saved that the relay's disk does not have", async () => {
  const name = freshName("promise");
  const { relay } = stage;
  const browser = await stage.browser();
  const tab = await browser.tab(relay.origin, name);
  await tab.synced();
  for (let round = 1; round <= 3; round += 1) {
    await tab.caret();
    await tab.type(`round ${round}. `);
    await tab.saved();
    const promised = await tab.text();
    await relay.kill();
    await relay.up();
    assert.equal(await relay.text(name), promised);
    await tab.synced();
  }
});

test("a text nobody wrote in is shown as safe everywhere once the relay was asked", async () => {
  const browser = await stage.browser();
  const tab = await browser.tab(stage.relay.origin, freshName("untouched"));
  await tab.synced();
  await tab.says(/^Saved$/);
  await tab.page.waitForFunction(() => document.querySelectorAll("button.save .stitch.done").length === 2);
});
