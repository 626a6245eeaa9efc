import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IDBFactory, IDBKeyRange as FakeKeyRange } from "fake-indexeddb";
import { storeContract } from "./contract.js";
import { IndexedDbStore } from "./indexeddb.js";
import { MemoryStore } from "./memory.js";
import { StoreError } from "./store.js";

globalThis.IDBKeyRange = FakeKeyRange;

storeContract("memory", () => {
  const store = new MemoryStore();
  return { open: () => store };
});

storeContract("IndexedDB", () => {
  const indexedDB = new IDBFactory();
  return { open: () => new IndexedDbStore({ indexedDB }) };
});

describe("store: IndexedDB", () => {
  it("writes nothing when it is opened and read, however often", async () => {
    const indexedDB = new IDBFactory();
    for (let i = 0; i < 100; i++) {
      const store = new IndexedDbStore({ indexedDB });
      await store.load("default/notes");
      await store.principal();
      await store.close();
    }
    assert.equal(await rowsIn(indexedDB), 0);
  });

  it("goes on after the browser closed its database", async () => {
    const indexedDB = new IDBFactory();
    const store = new IndexedDbStore({ indexedDB });
    await store.load("default/notes");
    const upgrade = indexedDB.open("selvedge", 2);
    await new Promise((resolve) => { upgrade.onsuccess = resolve; });
    upgrade.result.close();
    await assert.rejects(store.load("default/notes"), StoreError); // a newer version is there: said, not hung
    await store.close();
  });

  it("says when it is closed, and when there is no storage", async () => {
    const store = new IndexedDbStore({ indexedDB: new IDBFactory() });
    await store.close();
    await assert.rejects(store.load("default/notes"), { name: "StoreError" });
    await assert.rejects(new IndexedDbStore().load("default/notes"), { name: "StoreError", reason: "blocked" });
  });
});

async function rowsIn(factory: IDBFactory): Promise<number> {
  const database = await new Promise<IDBDatabase>((resolve, reject) => {
    const request = factory.open("selvedge", 1);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("open"));
  });
  let rows = 0;
  for (const name of database.objectStoreNames) {
    rows += await new Promise<number>((resolve) => {
      const request = database.transaction(name).objectStore(name).count();
      request.onsuccess = () => resolve(request.result);
    });
  }
  database.close();
  return rows;
}
