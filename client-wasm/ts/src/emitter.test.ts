import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Emitter } from "./emitter.js";
import { abortable } from "./errors.js";

class Bell extends Emitter<{ ring(times: number): void }> {
  ring(times: number): void { this.emit("ring", times); }
}

describe("Emitter", () => {
  it("tells listeners in order until they unsubscribe", () => {
    const bell = new Bell();
    const heard: string[] = [];
    const off = bell.on("ring", (times) => heard.push(`a${times}`));
    bell.on("ring", (times) => heard.push(`b${times}`));
    bell.once("ring", (times) => heard.push(`once${times}`));
    bell.ring(1);
    off();
    off();
    bell.ring(2);
    assert.deepEqual(heard, ["a1", "b1", "once1", "b2"]);
  });

  it("lets no listener keep the others from hearing", () => {
    const bell = new Bell();
    const reported: unknown[] = [];
    const { reportError } = globalThis;
    globalThis.reportError = (error: unknown) => { reported.push(error); };
    let heard = 0;
    bell.on("ring", () => { throw new Error("broken"); });
    bell.on("ring", () => { heard++; });
    bell.ring(1);
    globalThis.reportError = reportError;
    assert.equal(heard, 1);
    assert.equal(reported.length, 1);
  });
});

describe("abortable", () => {
  it("rejects with the signal's reason and cleans up, before and after", async () => {
    const reason = new Error("enough");
    await assert.rejects(abortable(AbortSignal.abort(reason), () => () => undefined), reason);
    const control = new AbortController();
    let stopped = 0;
    const wait = abortable(control.signal, () => () => { stopped++; });
    control.abort(reason);
    await assert.rejects(wait, reason);
    assert.equal(stopped, 1);
  });

  it("resolves at once when there is nothing to wait for, and still cleans up", async () => {
    let stopped = 0;
    assert.equal(await abortable<number>(undefined, (resolve) => { resolve(4); return () => { stopped++; }; }), 4);
    assert.equal(stopped, 1);
  });
});
