import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { MemoryStore } from "./store/memory.js";

type Work<T> = (lock: { readonly name: string } | null) => T | Promise<T>;

/** Web Locks as a browser profile has them, as far as the agreement uses them. */
class Locks {
  readonly #held: { name: string }[] = [];
  readonly #waiting = new Map<string, Promise<unknown>>();

  async request<T>(name: string, ...rest: [Work<T>] | [{ readonly mode?: "shared"; readonly ifAvailable?: true }, Work<T>]): Promise<T> {
    const [options, work] = rest.length === 1 ? [{}, rest[0]] : rest;
    if (options.ifAvailable && this.#held.some((held) => held.name === name)) return work(null);
    const exclusive = options.mode !== "shared";
    const before = exclusive ? this.#waiting.get(name) : undefined;
    const lock = { name };
    const run = (async () => {
      await before?.catch(() => undefined);
      this.#held.push(lock);
      try {
        return await work(lock);
      } finally {
        this.#held.splice(this.#held.indexOf(lock), 1);
      }
    })();
    if (exclusive) this.#waiting.set(name, run);
    return run;
  }

  async query(): Promise<{ held: { name: string }[] }> {
    return { held: [...this.#held] };
  }
}

let copies = 0;

/** The module as a tab of its own loads it. */
async function tab(): Promise<typeof import("./device.js")> {
  return import(`./device.js?tab=${copies++}`) as Promise<typeof import("./device.js")>;
}

const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
beforeEach(() => Object.defineProperty(globalThis, "navigator", { configurable: true, value: { locks: new Locks() } }));
afterEach(() => {
  if (before) Object.defineProperty(globalThis, "navigator", before);
  else Reflect.deleteProperty(globalThis, "navigator");
});

describe("the device's principal", () => {
  it("is one in tabs that open at once, and nothing is written for it", async () => {
    const store = new MemoryStore();
    const tabs = await Promise.all([tab(), tab(), tab()]);
    const found = await Promise.all(tabs.map((each) => each.devicePrincipal(store)));
    assert.deepEqual(new Set(found.map(({ principal }) => principal)).size, 1);
    assert.ok(found.every(({ kept }) => !kept));
    assert.equal(await store.principal(), null);
  });

  it("is the one a tab that opened before uses without having kept it", async () => {
    const store = new MemoryStore();
    const first = await (await tab()).devicePrincipal(store);
    assert.deepEqual(await (await tab()).devicePrincipal(store), first);
  });

  it("is the one that was kept while a tab waited for its turn", async () => {
    const store = new MemoryStore();
    const locks = navigator.locks;
    const kept = `anon:${"5".repeat(32)}`;
    const deciding = locks.request("selvedge:1:device", async () => {
      await new Promise((resolve) => setTimeout(resolve));
      await store.adoptPrincipal(kept);
    });
    assert.deepEqual(await (await tab()).devicePrincipal(store), { principal: kept, kept: true });
    await deciding;
  });

  it("is the one the store keeps", async () => {
    const store = new MemoryStore();
    const kept = `anon:${"7".repeat(32)}`;
    await store.adoptPrincipal(kept);
    assert.deepEqual(await (await tab()).devicePrincipal(store), { principal: kept, kept: true });
  });
});

describe("what was written anonymously", () => {
  it("is taken over by one tab at a time, and again after that one is done", async () => {
    const [first, second] = [await tab(), await tab()];
    const end = await first.beginAdoption("default/notes");
    assert.ok(end);
    assert.equal(await second.beginAdoption("default/notes"), null);
    assert.ok(await second.beginAdoption("default/other"), "each document is by itself");
    end();
    await new Promise((resolve) => setTimeout(resolve));
    assert.ok(await second.beginAdoption("default/notes"));
  });

  it("is taken over where there are no locks", async () => {
    Object.defineProperty(globalThis, "navigator", { configurable: true, value: {} });
    assert.ok(await (await tab()).beginAdoption("default/notes"));
  });
});
