import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { diff, spanOf } from "./diff.js";
import { deltaOf, type Delta, type TextPatch } from "./text-event.js";

const apply = (text: string, patches: readonly TextPatch[]): string =>
  patches.reduce((now, { at, delete: remove, insert }) => now.slice(0, at) + insert + now.slice(at + remove), text);

function applyDelta(text: string, delta: Delta): string {
  let out = "";
  let at = 0;
  for (const step of delta) {
    if ("retain" in step) {
      out += text.slice(at, at + step.retain);
      at += step.retain;
    } else if ("insert" in step) out += step.insert;
    else at += step.delete;
  }
  return out + text.slice(at);
}

/** Small and repeatable. */
function* numbers(seed: number): Generator<number, never> {
  for (let x = seed; ;) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    yield x >>> 8;
  }
}

describe("spanOf", () => {
  const check = (from: string, to: string, expected: TextPatch | null, hint?: number): void =>
    void it(`${JSON.stringify(from)} -> ${JSON.stringify(to)}${hint === undefined ? "" : ` at ${hint}`}`, () => assert.deepEqual(spanOf(from, to, hint), expected));
  check("abc", "abc", null);
  check("abc", "abxc", { at: 2, delete: 0, insert: "x" });
  check("", "a", { at: 0, delete: 0, insert: "a" });
  check("abc", "", { at: 0, delete: 3, insert: "" });
  check("aaa", "aaaa", { at: 1, delete: 0, insert: "a" }, 2);
  check("aaa", "aaaa", { at: 3, delete: 0, insert: "a" });
  check("😀", "😁", { at: 0, delete: 2, insert: "😁" });
  check("a😀😀", "a😀", { at: 3, delete: 2, insert: "" });
});

describe("diff", () => {
  it("is minimal for separate changes", () => {
    assert.deepEqual(diff("the quick fox", "a quick dog"), [
      { at: 0, delete: 3, insert: "a" }, { at: 8, delete: 1, insert: "d" }, { at: 10, delete: 1, insert: "g" },
    ]);
  });

  it("turns any text into any other", () => {
    const next = numbers(7);
    const alphabet = ["a", "b", "c", "😀", "\n"];
    const text = (): string => Array.from({ length: next.next().value % 40 }, () => alphabet[next.next().value % alphabet.length]).join("");
    for (let i = 0; i < 2000; i++) {
      const [from, to] = [text(), text()];
      assert.equal(apply(from, diff(from, to)), to, JSON.stringify([from, to]));
    }
  });

  it("replaces when the texts have nothing in common", () => {
    const [from, to] = ["ab".repeat(5000), "cd".repeat(5000)];
    assert.equal(diff(from, to).length, 1);
  });
});

describe("deltaOf", () => {
  it("says the same as the patches", () => {
    const next = numbers(11);
    for (let i = 0; i < 2000; i++) {
      const text = "0123456789".slice(0, next.next().value % 11);
      let now = text;
      const patches = Array.from({ length: next.next().value % 6 }, () => {
        const at = next.next().value % (now.length + 1);
        const patch = { at, delete: next.next().value % (now.length - at + 1), insert: "xyz".slice(next.next().value % 4) };
        now = apply(now, [patch]);
        return patch;
      });
      assert.equal(applyDelta(text, deltaOf(patches)), now, JSON.stringify([text, patches]));
    }
  });
});
