import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { madeUp, recordings, sorted, written } from "./cases.mjs";

const TRACES = fileURLToPath(new URL("../../traces", import.meta.url));

test("every run has the same cases", () => {
  assert.deepEqual(madeUp(), madeUp());
});

test("there are the twelve text cases, and nobody edits beyond the text", () => {
  const cases = madeUp();
  assert.deepEqual(cases.map(({ name }) => name.split(" ")[0]), [
    "B1.1", "B1.2", "B1.3", "B1.4", "B1.5", "B1.6", "B1.7", "B2.1", "B2.2", "B2.3", "B2.4", "B3.5",
  ]);
  for (const { name, base, sides } of cases) {
    for (const transactions of sides) {
      let { length } = base;
      for (const [at, remove, insert] of transactions.flat()) {
        assert.ok(at >= 0 && remove >= 0 && at + remove <= length, name);
        length += insert.length - remove;
      }
    }
  }
});

test("the ends are those of the cases", () => {
  const [append, whole, prepend, , , emptied] = madeUp();
  const typed = append.sides[0].map(([[, , letter]]) => letter);
  assert.equal(append.end, typed.join(""));
  assert.equal(whole.end.length, 6000);
  assert.equal(prepend.end, prepend.sides[0].map(([[, , letter]]) => letter).reverse().join(""));
  assert.equal(emptied.end, "");
  const twice = madeUp().find(({ name }) => name.startsWith("B2.1"));
  const [[[[, , one]]], [[[, , other]]]] = twice.sides;
  assert.notEqual(one, other);
  assert.equal(twice.letters, sorted(twice.base + one + other));
  assert.equal(twice.letters.length, 12_100);
});

test("the project's own recordings lead to their ends", () => {
  for (const { base, sides, end } of recordings(TRACES)) assert.equal(written(base, sides[0].flat()), end);
});
