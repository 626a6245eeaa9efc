/** What every store must do. Run on the memory store and on IndexedDB. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { encodeVector } from "../protocol/vector.js";
import type { OutboxEntry, Store, StoredEndpoints, StoredState, StoreTransaction } from "./store.js";

/** A device: stores opened on it see what earlier ones wrote. */
export interface Device {
  open(): Store;
}

const DOCUMENT = "default/notes";

function entry(site: string, first: number, last: number, fields: Partial<OutboxEntry> = {}): OutboxEntry {
  return { site, first, last, principal: "anon:1", bytes: Uint8Array.of(first, last), acked: "device", ...fields };
}

function state(vector: [bigint, bigint][], size = 10, fields: Partial<StoredState> = {}): StoredState {
  const snapshot = Uint8Array.from({ length: size }, (_, i) => i % 251);
  return { vector: encodeVector(new Map(vector)), generation: 1, highest: "region", position: Uint8Array.of(7), snapshot, ...fields };
}

function write(fields: Partial<StoreTransaction>): StoreTransaction {
  return { putOutbox: [], deleteOutbox: [], putFrames: [], deleteFrames: [], state: null, replace: false, ...fields };
}

/** Registers the suite. `device` gives an empty device each time. */
export function storeContract(name: string, device: () => Device): void {
  describe(`store: ${name}`, () => {
    it("knows nothing of a document never stored", async () => {
      const store = device().open();
      assert.deepEqual(await store.load(DOCUMENT), { state: null, outbox: [], frames: [] });
      assert.deepEqual(await store.list(), []);
      await store.close();
    });

    it("gives back what was written, to the next load as well", async () => {
      const disk = device();
      const first = disk.open();
      const kept = state([[1n, 4n]], 700_000);
      await first.transact(DOCUMENT, write({ putOutbox: [entry("b", 1, 2), entry("a", 5, 9), entry("a", 1, 4)], state: kept }));
      await first.close();
      const second = disk.open();
      const found = await second.load(DOCUMENT);
      assert.deepEqual(found.state, kept);
      assert.deepEqual(found.outbox.map(({ site, first: from }) => [site, from]), [["a", 1], ["a", 5], ["b", 1]]);
      assert.deepEqual(found.outbox[2], entry("b", 1, 2));
      assert.deepEqual(await second.outbox(DOCUMENT), found.outbox);
      await second.close();
    });

    it("keeps the newest list of endpoints of each key, to the next load as well", async () => {
      const disk = device();
      const store = disk.open();
      assert.equal(await store.endpoints("k"), null);
      const list = (epoch: number, issue: number, key = "k"): StoredEndpoints => ({ key, epoch, issue, signed: `${key}.${epoch}.${issue}` });
      for (const [told, kept] of [[list(2, 5), list(2, 5)], [list(1, 9), list(2, 5)], [list(2, 4), list(2, 5)], [list(2, 6), list(2, 6)], [list(3, 1), list(3, 1)]] as const) {
        await store.keepEndpoints(told);
        assert.deepEqual(await store.endpoints("k"), kept);
      }
      await store.keepEndpoints(list(1, 1, "other"));
      await store.close();
      const next = disk.open();
      assert.deepEqual(await next.endpoints("k"), list(3, 1));
      assert.deepEqual(await next.endpoints("other"), list(1, 1, "other"));
      assert.equal(await next.principal(), null, "and nothing else is written");
      await next.close();
    });

    it("keeps frames with the state that shows them, or neither", async () => {
      const disk = device();
      const store = disk.open();
      const shown = { site: "b", first: 3, bytes: Uint8Array.of(1, 2, 3) };
      await store.transact(DOCUMENT, write({ putFrames: [shown, { ...shown, first: 9 }], state: state([[1n, 9n]]) }));
      const behind = await store.transact(DOCUMENT, write({ putFrames: [{ ...shown, first: 20 }], state: state([[1n, 4n]]) }));
      assert.equal(behind.kind, "conflict");
      await store.transact(DOCUMENT, write({ deleteFrames: [{ site: "b", first: 9 }, { site: "z", first: 1 }] }));
      await store.close();
      const again = disk.open();
      assert.deepEqual((await again.load(DOCUMENT)).frames, [shown]);
      await again.clear(DOCUMENT);
      assert.deepEqual((await again.load(DOCUMENT)).frames, []);
      await again.close();
    });

    it("keeps documents apart", async () => {
      const store = device().open();
      await store.transact("default/a", write({ putOutbox: [entry("s", 1, 1)], state: state([[1n, 1n]]) }));
      await store.transact("default/ab", write({ putOutbox: [entry("s", 2, 2)] }));
      assert.equal((await store.load("default/a")).outbox.length, 1);
      assert.equal((await store.load("default/ab")).state, null);
      await store.clear("default/a");
      assert.deepEqual(await store.load("default/a"), { state: null, outbox: [], frames: [] });
      assert.equal((await store.load("default/ab")).outbox.length, 1);
      await store.close();
    });

    it("replaces an entry and deletes one; a key that is not there is fine", async () => {
      const store = device().open();
      await store.transact(DOCUMENT, write({ putOutbox: [entry("a", 1, 4)] }));
      await store.transact(DOCUMENT, write({ putOutbox: [entry("a", 1, 4, { acked: "region" })] }));
      assert.equal((await store.load(DOCUMENT)).outbox[0]?.acked, "region");
      await store.transact(DOCUMENT, write({ deleteOutbox: [{ site: "a", first: 1 }, { site: "z", first: 9 }] }));
      assert.deepEqual((await store.load(DOCUMENT)).outbox, []);
      await store.close();
    });

    it("writes a state over one it covers, and shrinks it", async () => {
      const store = device().open();
      await store.transact(DOCUMENT, write({ state: state([[1n, 4n]], 700_000) }));
      assert.deepEqual(await store.transact(DOCUMENT, write({ state: state([[1n, 4n]], 20) })), { kind: "written" });
      assert.deepEqual(await store.transact(DOCUMENT, write({ state: state([[1n, 5n], [2n, 1n]], 30) })), { kind: "written" });
      assert.equal((await store.load(DOCUMENT)).state?.snapshot.length, 30);
      await store.close();
    });

    it("refuses a state that lacks part of the stored one, and writes nothing of its transaction", async () => {
      const store = device().open();
      const stored = state([[1n, 4n], [2n, 9n]], 300_000);
      await store.transact(DOCUMENT, write({ putOutbox: [entry("a", 1, 1)], state: stored }));
      const outcome = await store.transact(DOCUMENT, write({
        putOutbox: [entry("b", 1, 1)], deleteOutbox: [{ site: "a", first: 1 }], state: state([[1n, 6n]]),
      }));
      assert.deepEqual(outcome, { kind: "conflict", stored });
      const found = await store.load(DOCUMENT);
      assert.deepEqual(found.state, stored);
      assert.deepEqual(found.outbox.map(({ site }) => site), ["a"]);
      await store.close();
    });

    it("compares a state of no known generation with any, and keeps the generation that is known", async () => {
      const store = device().open();
      await store.transact(DOCUMENT, write({ state: state([[1n, 40n]], 10, { generation: 1 }) }));
      assert.equal((await store.transact(DOCUMENT, write({ state: state([[1n, 30n]], 10, { generation: 0 }) }))).kind, "conflict");
      assert.equal((await store.transact(DOCUMENT, write({ state: state([[1n, 50n]], 10, { generation: 0 }) }))).kind, "written");
      assert.equal((await store.load(DOCUMENT)).state?.generation, 1);
      await store.close();
    });

    it("puts a later generation over an earlier one, never the other way", async () => {
      const store = device().open();
      await store.transact(DOCUMENT, write({ state: state([[1n, 40n]], 10, { generation: 1 }) }));
      assert.equal((await store.transact(DOCUMENT, write({ state: state([], 10, { generation: 2 }) }))).kind, "written");
      assert.equal((await store.transact(DOCUMENT, write({ state: state([[1n, 50n]], 10, { generation: 1 }) }))).kind, "conflict");
      await store.close();
    });

    it("writes a copy fetched anew over anything", async () => {
      const store = device().open();
      await store.transact(DOCUMENT, write({ state: state([[1n, 40n]], 10) }));
      assert.equal((await store.transact(DOCUMENT, write({ state: state([[1n, 3n]], 20), replace: true }))).kind, "written");
      assert.equal((await store.load(DOCUMENT)).state?.snapshot.length, 20);
      await store.close();
    });

    it("lists documents with their bytes and what no server has", async () => {
      const store = device().open();
      await store.transact(DOCUMENT, write({ putOutbox: [entry("a", 1, 1), entry("a", 2, 2, { acked: "region" })], state: state([[1n, 2n]], 100) }));
      assert.deepEqual(await store.list(), [{ document: DOCUMENT, bytes: 104, unsent: 1 }]);
      await store.close();
    });

    it("keeps the first principal it is given", async () => {
      const disk = device();
      const store = disk.open();
      assert.equal(await store.principal(), null);
      assert.equal(await store.adoptPrincipal("anon:1"), "anon:1");
      assert.equal(await store.adoptPrincipal("anon:2"), "anon:1");
      await store.close();
      const later = disk.open();
      assert.equal(await later.principal(), "anon:1");
      await later.close();
    });

    it("closes twice", async () => {
      const store = device().open();
      await store.load(DOCUMENT);
      await store.close();
      await store.close();
    });
  });
}
