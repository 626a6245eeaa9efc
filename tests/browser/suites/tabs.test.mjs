import assert from "node:assert/strict";
import { test } from "node:test";
import { converged, freshName, occurrences, scene, together } from "../lib/scene.mjs";

const stage = scene();

test("two tabs of one profile type at once and converge", async () => {
  const name = freshName("tabs");
  const browser = await stage.browser();
  const [a, b] = await together(browser.tab(stage.relay.origin, name), browser.tab(stage.relay.origin, name));
  await together(a.synced(), b.synced());
  const type = (tab, piece) => tab.page.evaluate(async (letters) => {
    const { text } = window.selvedge.room;
    for (const letter of letters) {
      text.insert(text.length, letter);
      await new Promise((resolve) => setTimeout(resolve));
    }
  }, piece);
  await together(type(a, "abcdefghijklmnopqrstuvwxyz"), type(b, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"));
  await together(a.saved(), b.saved());
  const text = await converged(a, b);
  assert.equal(text.length, 52);
  assert.equal(text.replace(/[A-Z]/g, ""), "abcdefghijklmnopqrstuvwxyz");
  assert.equal(await stage.relay.text(name), text);
});

/** Two tabs of one profile that both wrote while the relay was away, and hear each other. */
async function twoTabsThatWroteApart(name) {
  const { relay } = stage;
  const browser = await stage.browser();
  const [a, b] = await together(browser.tab(relay.origin, name), browser.tab(relay.origin, name));
  await together(a.synced(), b.synced());
  await relay.kill();
  await a.page.bringToFront();
  await a.caret();
  await a.type("from the first. ");
  await b.hasText("from the first. ");
  await b.page.bringToFront();
  await b.caret();
  await b.type("from the second. ");
  await a.hasText("from the first. from the second. ");
  await b.saved("device");
  return [a, b];
}

/** Another browser finds what both wrote, once. */
async function othersFindBoth(name, tab) {
  const other = await stage.browser();
  const c = await other.tab(stage.relay.origin, name);
  await c.hasPieces("from the first. ", "from the second. ");
  const text = await converged(tab, c);
  assert.equal(occurrences(text, "from the first. "), 1);
  assert.equal(occurrences(text, "from the second. "), 1);
}

test("two tabs hear each other with the relay away, and carry both texts home", async () => {
  const name = freshName("tabs-away");
  const [a, b] = await twoTabsThatWroteApart(name);
  await stage.relay.up();
  await a.saved();
  await b.saved();
  await a.says(/^Saved/);
  await othersFindBoth(name, a);
});

test("two tabs hear each other with the relay away, and one that stays carries both home", async () => {
  const name = freshName("tabs-away");
  const [a, b] = await twoTabsThatWroteApart(name);
  await b.close();
  await stage.relay.up();
  await a.saved();
  await a.says(/^Saved/);
  await othersFindBoth(name, a);
});
