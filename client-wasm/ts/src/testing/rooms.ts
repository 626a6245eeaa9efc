/** Rooms for tests: on a device of their own, closed after the test. */

import { after } from "node:test";
import { IDBFactory, IDBKeyRange as FakeKeyRange } from "fake-indexeddb";
import { open, type OpenOptions, type Room } from "../index.js";
import { IndexedDbStore } from "../store/indexeddb.js";

globalThis.IDBKeyRange = FakeKeyRange;

/** One browser profile: what is stored in it is there for the next room. */
export class Profile {
  readonly indexedDB = new IDBFactory();

  store(): IndexedDbStore {
    return new IndexedDbStore({ indexedDB: this.indexedDB });
  }

  /** Opens a room of this profile; closed at the end of the test file at the latest. */
  async open(name: string, options: OpenOptions = {}): Promise<Room> {
    const room = await open(name, { persist: this.store(), crossTab: false, ...options });
    opened.push(room);
    return room;
  }

  /** Bytes of everything stored, as JSON writes it: equal means nothing was added. */
  async contents(): Promise<string> {
    const database = await new Promise<IDBDatabase>((resolve, reject) => {
      const request = this.indexedDB.open("selvedge", 1);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error ?? new Error("open"));
    });
    const rows: unknown[] = [];
    for (const name of database.objectStoreNames) {
      const store = database.transaction(name).objectStore(name);
      for (const request of [store.getAllKeys(), store.getAll()]) {
        rows.push(name, await new Promise((resolve) => { request.onsuccess = () => resolve(request.result); }));
      }
    }
    database.close();
    return JSON.stringify(rows);
  }
}

const opened: Room[] = [];
after(async () => { await Promise.all(opened.map((room) => room.close())); });

/** A room that stores nothing. */
export async function memoryRoom(name = "notes", options: OpenOptions = {}): Promise<Room> {
  const room = await open(name, { persist: false, crossTab: false, ...options });
  opened.push(room);
  return room;
}

/** Resolves once `condition` holds; looks every few milliseconds. */
export async function until(condition: () => boolean, what: string, withinMs = 20_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`did not happen within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
