import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { init, open } from "./index.js";
import { rehearsal } from "./rehearsal.js";
import { roomCast } from "./room-start.js";
import { until } from "./testing/rooms.js";
import { facade } from "./wasm/load.js";

describe("the rehearsal", () => {
  it("runs to its end, and leaves nothing open", async () => {
    await init();
    const { Client } = facade();
    const { free } = Client.prototype;
    let freed = 0;
    Client.prototype.free = function (this: InstanceType<typeof Client>): void {
      freed++;
      free.call(this);
    };
    try {
      const steps = [...rehearsal(roomCast)];
      assert.ok(steps.length > 10, `${steps.length} steps`);
      const again = [...rehearsal(roomCast)];
      assert.equal(again.length, steps.length, "what went before is of no account");
      await until(() => freed >= 2, "both machines freed");
    } finally {
      Client.prototype.free = free;
    }
  });

  it("does not disturb who edits between its steps", async () => {
    const room = await open("rehearsal/writer", { persist: false, crossTab: false });
    let letters = 0;
    for (const _ of rehearsal(roomCast)) room.text.insert(room.text.length, String(letters++ % 10));
    assert.equal(room.text.toString(), Array.from({ length: letters }, (_, at) => at % 10).join(""));
    await room.close();
  });

  it("follows the start by itself, once, in a program that lives on", async () => {
    const steps = [...rehearsal(roomCast)].length + 1;
    const begun = new Map<unknown, number>();
    const whole = (): number => [...begun.values()].filter((times) => times === steps).length;
    const later = globalThis.setTimeout;
    // Outside a page each step is a timer of its own.
    globalThis.setTimeout = ((fn: () => void, ...rest: unknown[]) => {
      begun.set(fn, (begun.get(fn) ?? 0) + 1);
      return later(fn, ...rest as []);
    }) as typeof setTimeout;
    try {
      const { startRehearsed } = await import(`./rehearsal.js?${"again"}`) as typeof import("./rehearsal.js");
      const nowhere = (): Promise<never> => Promise.reject(new Error("the module runs already"));
      await startRehearsed(undefined, nowhere, roomCast);
      await startRehearsed(undefined, nowhere, roomCast);
      await until(() => whole() > 0, "a rehearsal to its end");
      await new Promise((resolve) => later(resolve, 100)); // a second one would end about then
    } finally {
      globalThis.setTimeout = later;
    }
    assert.equal(whole(), 1, "one rehearsal, all its steps");
  });
});
