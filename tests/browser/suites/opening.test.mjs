import assert from "node:assert/strict";
import { test } from "node:test";
import { freshName, scene } from "../lib/scene.mjs";

const stage = scene();
const OPENINGS = 100;

/** Everything this origin keeps in IndexedDB, counted and summed. */
async function kept(page) {
  return page.evaluate(async () => {
    const found = {};
    for (const { name } of await indexedDB.databases()) {
      const database = await new Promise((resolve, reject) => {
        const request = indexedDB.open(name);
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
      for (const store of database.objectStoreNames) {
        const values = await new Promise((resolve, reject) => {
          const request = database.transaction(store).objectStore(store).getAll();
          request.onsuccess = () => resolve(request.result);
          request.onerror = () => reject(request.error);
        });
        const json = JSON.stringify(values, (_key, value) => (value instanceof Uint8Array || value instanceof ArrayBuffer ? [...new Uint8Array(value)] : value));
        found[`${name}/${store}`] = { count: values.length, json };
      }
      database.close();
    }
    return found;
  });
}

test(`opening a text ${OPENINGS} times writes nothing, on the device or in the relay`, async () => {
  const name = freshName("opened");
  const { relay } = stage;
  const browser = await stage.browser();
  const tab = await browser.tab(relay.origin, name);
  await tab.synced();
  await tab.caret();
  await tab.type("Written once.");
  await tab.saved();
  const before = await kept(tab.page);
  const statsBefore = await tab.page.evaluate(() => window.selvedge.room.doc.stats());
  for (let i = 0; i < OPENINGS; i += 1) {
    await tab.page.reload();
    await tab.ready();
    if (i % 10 === 0) await tab.synced();
  }
  await tab.synced();
  assert.equal(await tab.text(), "Written once.");
  const after = await kept(tab.page);
  for (const [store, { count }] of Object.entries(before)) assert.equal(after[store]?.count, count, `rows of ${store}`);
  const documents = (found) => Object.entries(found).filter(([store]) => /outbox|state/.test(store)).map(([store, { json }]) => [store, json]);
  assert.deepEqual(documents(after), documents(before));
  const stats = await tab.page.evaluate(() => window.selvedge.room.doc.stats());
  assert.deepEqual(stats, statsBefore, "the document has no more sites, runs or bytes than before");
});

test("a text nobody wrote in leaves nothing behind", async () => {
  const browser = await stage.browser();
  const tab = await browser.tab(stage.relay.origin, freshName("untouched"));
  await tab.synced();
  await tab.page.reload();
  await tab.ready();
  for (const [store, { count }] of Object.entries(await kept(tab.page))) assert.equal(count, 0, `rows of ${store}`);
});
