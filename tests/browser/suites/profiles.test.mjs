import assert from "node:assert/strict";
import { test } from "node:test";
import { converged, freshName, occurrences, scene, together } from "../lib/scene.mjs";

const stage = scene();

/** Two browsers on one profile's files: the profile itself and a copy of it. */
async function copied(prepare) {
  const name = freshName("copied");
  const { relay } = stage;
  const one = await stage.browser();
  const first = await one.tab(relay.origin, name);
  await first.synced();
  await prepare(first);
  await first.close();
  await one.close();
  const other = stage.adopt(await one.copy());
  await together(one.open(), other.open());
  return { name, one, other };
}

test("a copied profile directory: both go on, nothing is doubled", async () => {
  const { relay } = stage;
  const { name, one, other } = await copied(async (tab) => {
    await tab.caret();
    await tab.type("Before the copy. ");
    await tab.saved();
  });
  const [a, b] = await together(one.tab(relay.origin, name), other.tab(relay.origin, name));
  await together(a.synced(), b.synced());
  await together(a.caret(), b.caret());
  await together(a.type("The original goes on. "), b.type("THE COPY GOES ON. "));
  await together(a.saved(), b.saved());
  const text = await converged(a, b);
  assert.equal(occurrences(text, "Before the copy. "), 1);
  assert.equal(text.replace(/[^a-z]/g, ""), "eforethecopyheoriginalgoeson");
  assert.equal(text.length, "Before the copy. The original goes on. THE COPY GOES ON. ".length);
  assert.equal(await relay.text(name), text);
});

test("a copied profile with unsent edits: both send them, they are there once", async () => {
  const { relay } = stage;
  const { name, one, other } = await copied(async (tab) => {
    await tab.caret();
    await tab.type("Sent. ");
    await tab.saved();
    await tab.setOnline(false);
    await tab.type("In the outbox. ");
    await tab.saved("device");
  });
  const [a, b] = await together(one.tab(relay.origin, name), other.tab(relay.origin, name));
  await together(a.hasPieces("Sent. In the outbox. "), b.hasPieces("Sent. In the outbox. "));
  await together(a.synced(), b.synced());
  await a.caret();
  await a.type("a");
  await b.caret();
  await b.type("b");
  await together(a.saved(), b.saved());
  const text = await converged(a, b);
  assert.equal(occurrences(text, "Sent. In the outbox. "), 1);
  assert.equal(text.length, "Sent. In the outbox. ab".length);
  assert.equal(await relay.text(name), text);
});
