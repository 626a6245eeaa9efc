import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { init } from "../index.js";
import { memory } from "../wasm/load.js";
import { Window } from "./window.js";

/** A window that lies at the end of the module's memory, which the tests let grow. */
class Pages {
  readonly asked: number[] = [];

  window(bytes: number): number {
    this.asked.push(bytes);
    const at = memory().buffer.byteLength;
    memory().grow(Math.ceil(bytes / 65_536));
    return at;
  }
}

async function fresh(): Promise<{ pages: Pages; window: Window }> {
  await init();
  const pages = new Pages();
  return { pages, window: new Window((bytes) => pages.window(bytes)) };
}

describe("Window", () => {
  it("writes text as the encoder does, whatever its length", async () => {
    const { window } = await fresh();
    for (const part of ["a", "é", "😀", "aé", "日本語", "abc😀"]) {
      for (const times of [1, 7, 40, 30_000]) {
        const text = part.repeat(times);
        const expected = new TextEncoder().encode(text);
        assert.equal(window.writeText(text), expected.length);
        assert.deepEqual(window.read(expected.length), expected);
      }
    }
    assert.equal(window.writeText(""), 0);
  });

  it("knows halves of surrogate pairs", async () => {
    const { window } = await fresh();
    for (const text of ["\ud83d", "a\ude00", "x".repeat(50) + "\ud83d", "\ude00\ud83d"]) assert.equal(window.writeText(text), -1);
    assert.equal(window.writeText("\ud83d\ude00"), 4);
  });

  it("looks again where memory has grown, and lets go of what was large for one call", async () => {
    const { pages, window } = await fresh();
    window.writeText("once");
    window.writeText("twice");
    assert.deepEqual(pages.asked, [65_536]);
    memory().grow(1);
    window.writeText("again");
    window.write(new Uint8Array(100_000));
    window.writeText("small");
    assert.deepEqual(pages.asked, [65_536, 65_536, 100_000, 65_536]);
    assert.deepEqual(window.read(5), new TextEncoder().encode("small"));
  });
});
