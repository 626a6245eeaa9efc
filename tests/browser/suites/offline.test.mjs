import assert from "node:assert/strict";
import { test } from "node:test";
import { converged, freshName, occurrences, scene, together } from "../lib/scene.mjs";

const stage = scene();

test("edits made offline survive closing and opening with the whole origin away, and reconcile", async () => {
  const name = freshName("away");
  const { relay } = stage;
  const [one, other] = await together(stage.browser(), stage.browser());
  let [a, b] = await together(one.tab(relay.origin, name), other.tab(relay.origin, name));
  await together(a.synced(), b.synced());
  await a.caret();
  await a.type("Together. ");
  await a.saved();
  await b.hasText("Together. ");
  await a.kept();

  await a.setOnline(false);
  await a.type("Alone, by the switch. ");
  await a.saved("device");
  await b.caret();
  await b.type("Meanwhile, the other. ");
  await b.saved();

  await relay.kill();
  await a.close();
  await one.close();
  await one.open();
  a = await one.tab(relay.origin, name);
  await a.hasText("Together. Alone, by the switch. ");
  assert.match(await a.words(), /No connection|Connecting|on this device/);
  await a.caret();
  await a.type("Alone, after opening again. ");
  await a.saved("device");
  await a.says(/No connection · \d+ edits on this device/);

  // And once more, so that what was written in a second load survives as well.
  await a.close();
  await one.close();
  await one.open();
  a = await one.tab(relay.origin, name);
  await a.hasText("Together. Alone, by the switch. Alone, after opening again. ");

  await relay.up();
  await together(a.synced(), b.synced());
  await together(a.saved(), b.saved());
  const text = await converged(a, b);
  for (const piece of ["Together. ", "Alone, by the switch. ", "Alone, after opening again. ", "Meanwhile, the other. "]) {
    assert.equal(occurrences(text, piece), 1, `${JSON.stringify(piece)} once in ${JSON.stringify(text)}`);
  }
  await together(a.says(/^Saved/), b.says(/^Saved/));
  assert.equal(await relay.text(name), text);
});

test("a text never opened before opens empty with the origin away, and its first words arrive later", async () => {
  const name = freshName("new-away");
  const { relay } = stage;
  const browser = await stage.browser();
  let tab = await browser.tab(relay.origin, freshName("any"));
  await tab.kept();
  await tab.close();
  await relay.kill();
  tab = await browser.tab(relay.origin, name);
  await tab.caret();
  await tab.type("Born offline.");
  await tab.saved("device");
  await relay.up();
  await tab.saved();
  assert.equal(await relay.text(name), "Born offline.");
});

test("the switch works both ways without a reload", async () => {
  const name = freshName("switch");
  const browser = await stage.browser();
  const tab = await browser.tab(stage.relay.origin, name);
  await tab.synced();
  await tab.setOnline(false);
  await tab.says(/^Offline$/);
  await tab.caret();
  await tab.type("off");
  await tab.says(/^Offline · 3 edits on this device$/);
  await tab.setOnline(true);
  await tab.saved();
  await tab.says(/^Saved/);
  assert.equal(await stage.relay.text(name), "off");
});
