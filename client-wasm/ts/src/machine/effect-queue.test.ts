import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EffectQueue } from "./effect-queue.js";
import type { Effect } from "./effects.js";

const send = (attempt: number): Effect => ({ kind: "send", attempt, bytes: new Uint8Array() });
const attemptOf = (effect: Effect | undefined): number | undefined => effect && "attempt" in effect ? effect.attempt : undefined;
const sends = (from: number, to: number): Effect[] => Array.from({ length: to - from }, (_, index) => send(from + index));

describe("EffectQueue", () => {
  it("gives effects in order, however many come at once and between", () => {
    const queue = new EffectQueue();
    // More than the arguments a call can have.
    const many = 300_000;
    queue.push(sends(0, many));
    let expected = 0;
    for (; expected < many / 2; expected += 1) assert.equal(attemptOf(queue.shift()), expected);
    queue.push(sends(many, many + 3));
    for (; queue.length > 0; expected += 1) assert.equal(attemptOf(queue.shift()), expected);
    assert.equal(expected, many + 3);
    assert.equal(queue.shift(), undefined);
    queue.push(sends(7, 8));
    assert.equal(attemptOf(queue.shift()), 7);
  });

  it("takes some out of order, and none of those it gave already", () => {
    const queue = new EffectQueue();
    queue.push(sends(0, 6));
    queue.shift();
    const even = (effect: Effect): boolean => (attemptOf(effect) ?? 1) % 2 === 0;
    assert.deepEqual(queue.take(even).map(attemptOf), [2, 4]);
    assert.deepEqual(queue.take(even), []);
    assert.deepEqual([queue.shift(), queue.shift(), queue.shift(), queue.shift()].map(attemptOf), [1, 3, 5, undefined]);
  });
});
