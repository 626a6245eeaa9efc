/**
 * The device's store: one IndexedDB database for every document of this origin.
 *
 *     documents  document                  {generation, vector, highest, position, chunks}
 *     state      [document, chunk]         bytes of the snapshot, 256 KiB each
 *     outbox     [document, site, first]   {last, principal, bytes, acked}
 *     frames     [document, site, first]   bytes: deltas of others, each with the proof of it, that the highest level does not cover yet
 *     device     "principal"               this browser profile's own principal
 *     device     "endpoints:" + key        {epoch, issue, signed}: the newest list of endpoints that this key signed
 *
 * Opening and reading write nothing. A transaction is one strict IndexedDB transaction: all or nothing, on the disk before
 * it completes.
 */

import type { SaveLevel } from "../status.js";
import { bySiteAndCounter, mayReplace, written } from "./memory.js";
import { isNewer, StoreError, type OutboxEntry, type Store, type StoredDocument, type StoredEndpoints, type StoredFrame, type StoredState, type StoredSummary, type StoreTransaction, type TransactionOutcome } from "./store.js";

const DATABASE = "selvedge";
const VERSION = 1;
const CHUNK_BYTES = 256 * 1024;
const PRINCIPAL = "principal";
const ENDPOINTS = "endpoints:";

interface DocumentRow {
  readonly generation: number;
  readonly vector: Uint8Array;
  readonly highest: SaveLevel;
  readonly position: Uint8Array | null;
  readonly chunks: number;
}

type OutboxRow = Omit<OutboxEntry, "site" | "first">;
type EndpointsRow = Omit<StoredEndpoints, "key">;

/** Options of {@link IndexedDbStore}. */
export interface IndexedDbOptions {
  /** The factory to use: the browser's own by default. */
  readonly indexedDB?: IDBFactory;
  /** Name of the database, `selvedge` by default. */
  readonly database?: string;
}

/** Documents on this device. One object per open document; all of them share the browser's database. */
export class IndexedDbStore implements Store {
  readonly #factory: IDBFactory | undefined;
  readonly #name: string;
  #database: Promise<IDBDatabase> | null = null;
  #closed = false;

  constructor(options: IndexedDbOptions = {}) {
    this.#factory = options.indexedDB ?? (typeof indexedDB === "undefined" ? undefined : indexedDB);
    this.#name = options.database ?? DATABASE;
  }

  /** Whether this place has IndexedDB at all. It may still refuse when opened. */
  static get supported(): boolean {
    return typeof indexedDB !== "undefined";
  }

  async load(document: string): Promise<StoredDocument> {
    return this.#run(["documents", "state", "outbox", "frames"], "readonly", async (stores) => {
      const row = await done<DocumentRow | undefined>(stores("documents").get(document));
      const outbox = await outboxOf(document, stores("outbox"));
      const frames = await framesOf(document, stores("frames"));
      return { state: row ? await stateOf(row, document, stores("state")) : null, outbox, frames };
    });
  }

  async outbox(document: string): Promise<OutboxEntry[]> {
    return this.#run(["outbox"], "readonly", (stores) => outboxOf(document, stores("outbox")));
  }

  async transact(document: string, { putOutbox, deleteOutbox, putFrames, deleteFrames, state, replace }: StoreTransaction): Promise<TransactionOutcome> {
    const names = ["outbox", ...(state ? ["documents", "state"] : []), ...(putFrames.length + deleteFrames.length > 0 ? ["frames"] : [])];
    return this.#run<TransactionOutcome>(names, "readwrite", async (stores) => {
      if (state) {
        const row = await done<DocumentRow | undefined>(stores("documents").get(document));
        if (row && !replace && !mayReplace(withoutSnapshot(row), state)) {
          const stored = await stateOf(row, document, stores("state"));
          if (stored) return { kind: "conflict", stored };
        }
        writeState(document, replace ? state : written(row ?? null, state), row?.chunks ?? 0, stores);
      }
      const outbox = stores("outbox");
      for (const { site, first, ...entry } of putOutbox) outbox.put(entry satisfies OutboxRow, [document, site, first]);
      for (const { site, first } of deleteOutbox) outbox.delete([document, site, first]);
      for (const { site, first, bytes } of putFrames) stores("frames").put(bytes, [document, site, first]);
      for (const { site, first } of deleteFrames) stores("frames").delete([document, site, first]);
      return { kind: "written" };
    });
  }

  async principal(): Promise<string | null> {
    const kept = await this.#run(["device"], "readonly", (stores) => done<unknown>(stores("device").get(PRINCIPAL)));
    return typeof kept === "string" ? kept : null;
  }

  async adoptPrincipal(candidate: string): Promise<string> {
    return this.#run(["device"], "readwrite", async (stores) => {
      const kept = await done<unknown>(stores("device").get(PRINCIPAL));
      if (typeof kept === "string") return kept;
      stores("device").put(candidate, PRINCIPAL);
      return candidate;
    });
  }

  async endpoints(key: string): Promise<StoredEndpoints | null> {
    return this.#run(["device"], "readonly", (stores) => endpointsOf(key, stores("device")));
  }

  async keepEndpoints(list: StoredEndpoints): Promise<void> {
    await this.#run(["device"], "readwrite", async (stores) => {
      const known = await endpointsOf(list.key, stores("device"));
      const { key, ...row } = list;
      if (!known || isNewer(list, known)) stores("device").put(row satisfies EndpointsRow, ENDPOINTS + key);
    });
  }

  async list(): Promise<StoredSummary[]> {
    return this.#run(["state", "outbox"], "readonly", async (stores) => {
      const found = new Map<string, { document: string; bytes: number; unsent: number }>();
      const at = (document: string): { document: string; bytes: number; unsent: number } => {
        const known = found.get(document) ?? { document, bytes: 0, unsent: 0 };
        found.set(document, known);
        return known;
      };
      await eachRow(stores("state"), (key, value) => {
        if (value instanceof Uint8Array) at((key as [string, number])[0]).bytes += value.length;
      });
      await eachRow(stores("outbox"), (key, value) => {
        const row = value as OutboxRow;
        const summary = at((key as [string, string, number])[0]);
        summary.bytes += row.bytes.length;
        if (row.acked === "device") summary.unsent += 1;
      });
      return [...found.values()];
    });
  }

  async clear(document: string): Promise<void> {
    await this.#run(["documents", "state", "outbox", "frames"], "readwrite", async (stores) => {
      stores("documents").delete(document);
      for (const name of ["state", "outbox", "frames"] as const) stores(name).delete(within(document));
    });
  }

  async persist(): Promise<boolean> {
    const storage = typeof navigator === "undefined" ? undefined : navigator.storage;
    if (!storage?.persist) return false;
    try {
      return (await storage.persisted()) || (await storage.persist());
    } catch {
      return false;
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const database = this.#database;
    this.#database = null;
    // An IDBDatabase lets its running transactions finish before it really closes.
    if (database) await database.then((open) => open.close(), () => undefined);
  }

  async #run<T>(names: string[], mode: IDBTransactionMode, work: (stores: Stores) => Promise<T>): Promise<T> {
    try {
      const database = await this.#open();
      const transaction = database.transaction(names, mode, { durability: mode === "readwrite" ? "strict" : "default" });
      const complete = completion(transaction);
      complete.catch(() => undefined);
      let result: T;
      try {
        result = await work((name) => transaction.objectStore(name));
      } catch (error) {
        try { transaction.abort(); } catch { /* ended already: its own error says why */ }
        throw transaction.error ?? error;
      }
      // Everything is asked for: the disk need not wait for this page's next turn, which may never come.
      if (mode === "readwrite") transaction.commit();
      await complete;
      return result;
    } catch (error) {
      throw storeErrorOf(error);
    }
  }

  #open(): Promise<IDBDatabase> {
    if (this.#closed) return Promise.reject(new StoreError("io", "The store is closed."));
    this.#database ??= openDatabase(this.#factory, this.#name).then((database) => {
      // Another tab needs a newer version, or the user cleared the site: let go, and open again when next needed.
      const letGo = (): void => { this.#database = null; };
      database.onversionchange = () => { letGo(); database.close(); };
      database.onclose = letGo;
      return database;
    });
    this.#database.catch(() => { this.#database = null; });
    return this.#database;
  }
}

type Stores = (name: "documents" | "state" | "outbox" | "frames" | "device") => IDBObjectStore;

function openDatabase(factory: IDBFactory | undefined, name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    if (!factory) return reject(new StoreError("blocked", "This browser gives no storage here."));
    const request = factory.open(name, VERSION);
    request.onupgradeneeded = () => {
      for (const store of ["documents", "state", "outbox", "frames", "device"]) request.result.createObjectStore(store);
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("cannot open the database"));
    request.onblocked = () => reject(new StoreError("io", "Another tab holds an older version of the database: close it."));
  });
}

/** All keys that begin with `document`: an array sorts after every number and string. */
function within(document: string): IDBKeyRange {
  return IDBKeyRange.bound([document], [document, []]);
}


async function endpointsOf(key: string, device: IDBObjectStore): Promise<StoredEndpoints | null> {
  const row = await done<EndpointsRow | undefined>(device.get(ENDPOINTS + key));
  return row ? { key, ...row } : null;
}

async function outboxOf(document: string, outbox: IDBObjectStore): Promise<OutboxEntry[]> {
  const range = within(document);
  const [keys, rows] = await Promise.all([done<IDBValidKey[]>(outbox.getAllKeys(range)), done<OutboxRow[]>(outbox.getAll(range))]);
  const entries = rows.map((row, i) => {
    const [, site, first] = keys[i] as [string, string, number];
    return { site, first, ...row };
  });
  return entries.sort(bySiteAndCounter);
}

async function framesOf(document: string, frames: IDBObjectStore): Promise<StoredFrame[]> {
  const range = within(document);
  const [keys, rows] = await Promise.all([done<IDBValidKey[]>(frames.getAllKeys(range)), done<Uint8Array[]>(frames.getAll(range))]);
  return rows.map((bytes, i) => {
    const [, site, first] = keys[i] as [string, string, number];
    return { site, first, bytes };
  });
}

function withoutSnapshot(row: DocumentRow): StoredState {
  return { vector: row.vector, generation: row.generation, highest: row.highest, position: row.position, snapshot: new Uint8Array() };
}

async function stateOf(row: DocumentRow, document: string, state: IDBObjectStore): Promise<StoredState | null> {
  const chunks = await done<Uint8Array[]>(state.getAll(within(document)));
  // A row without its chunks cannot come from one transaction: treated as nothing stored, the relay has the text.
  if (chunks.length !== row.chunks) return null;
  const snapshot = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    snapshot.set(chunk, at);
    at += chunk.length;
  }
  return { ...withoutSnapshot(row), snapshot };
}

function writeState(document: string, state: StoredState, chunksBefore: number, stores: Stores): void {
  const { snapshot, ...row } = state;
  const chunks = Math.ceil(snapshot.length / CHUNK_BYTES);
  const store = stores("state");
  for (let i = 0; i < chunks; i++) store.put(snapshot.slice(i * CHUNK_BYTES, (i + 1) * CHUNK_BYTES), [document, i]);
  for (let i = chunks; i < chunksBefore; i++) store.delete([document, i]);
  stores("documents").put({ ...row, chunks } satisfies DocumentRow, document);
}

function done<T>(request: IDBRequest): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result as T);
    request.onerror = () => reject(request.error ?? new Error("the request failed"));
  });
}

function completion(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new Error("the transaction was aborted"));
  });
}

function eachRow(store: IDBObjectStore, fn: (key: IDBValidKey, value: unknown) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = store.openCursor();
    request.onerror = () => reject(request.error ?? new Error("the cursor failed"));
    request.onsuccess = () => {
      const cursor = request.result;
      if (!cursor) return resolve();
      fn(cursor.key, cursor.value as unknown);
      cursor.continue();
    };
  });
}

function storeErrorOf(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const name = error instanceof Error || error instanceof DOMException ? error.name : "";
  const message = error instanceof Error ? error.message : String(error);
  if (name === "QuotaExceededError") return new StoreError("quota", "This device has no room left for the document.", error);
  if (name === "SecurityError" || name === "InvalidStateError") return new StoreError("blocked", `This browser refuses storage here: ${message}`, error);
  return new StoreError("io", `The device could not store: ${message}`, error);
}
