import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { decodeFrames, decodeMessage, decodeVector, dominates, encodeVector, MalformedError, retries } from "./index.js";

interface Vector {
  readonly name: string;
  readonly from: "client" | "server";
  readonly hex: string;
  readonly channel: number;
  readonly kind: number;
  readonly payload: string;
  readonly fields: readonly (readonly [hex: string, note: string])[];
}

const file = fileURLToPath(new URL("../../../../protocol/vectors/messages.json", import.meta.url));
const vectors = JSON.parse(readFileSync(file, "utf8")) as readonly Vector[];
const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"));
/** Names that tell variants of one message apart begin with the message's. */
const isNamed = (vector: Vector, name: string): boolean => vector.name === name || vector.name.startsWith(`${name} `);

describe("golden vectors", () => {
  it("are there", () => assert.ok(vectors.length >= 20));

  for (const vector of vectors) {
    it(`${vector.name} from the ${vector.from}, field by field`, () => {
      const [frame, ...others] = decodeFrames(bytesOf(vector.hex));
      assert.equal(others.length, 0);
      assert.equal(frame?.channel, vector.channel);
      assert.equal(frame?.kind, vector.kind);
      const payload = bytesOf(vector.payload);
      assert.deepEqual(frame?.payload, payload);
      const message = decodeMessage(vector.kind, payload);
      assert.ok(message && isNamed(vector, message.name), message?.name);
      const noted = vector.fields.filter(([, note]) => !note.startsWith("frame:")).map(([hex, note]) => [note, hex.length / 2]);
      assert.deepEqual(message.fields.map(({ name, bytes }) => [name, bytes]), noted);
    });

    it(`${vector.name} from the ${vector.from}, cut anywhere, is malformed`, () => {
      const payload = bytesOf(vector.payload);
      for (let length = 0; length < payload.length; length++) {
        assert.throws(() => decodeMessage(vector.kind, payload.subarray(0, length)), MalformedError);
      }
    });
  }

  const value = (name: string, field: string): unknown => {
    const vector = vectors.find((one) => one.name === name);
    assert.ok(vector, name);
    return decodeMessage(vector.kind, bytesOf(vector.payload))?.fields.find((one) => one.name === field)?.value;
  };

  it("say what they say", () => {
    assert.equal(value("hello", "client"), "selvedge/0.1");
    assert.deepEqual(value("hello", "versions"), [1n]);
    assert.equal(value("open", "document"), "acme/plan");
    assert.equal(value("open", "vector_hash"), 0x0123456789abcdefn);
    assert.equal(value("open-ok", "sync"), "tail");
    assert.deepEqual(value("hello-ok", "ping"), { active_ms: 1000n, idle_ms: 25_000n });
    assert.equal(value("ack", "region"), 300n);
    assert.equal(value("refused", "code"), 4413n);
    assert.equal(value("bye without a site", "site"), null);
  });
});

describe("frames", () => {
  it("are whole or malformed", () => {
    assert.deepEqual(decodeFrames(new Uint8Array()), []);
    assert.equal(decodeFrames(bytesOf("00060105000601ff")).length, 2);
    for (const hex of ["00", "0006", "000602fa", "800006", "00068000"]) assert.throws(() => decodeFrames(bytesOf(hex)), MalformedError, hex);
    assert.throws(() => decodeFrames(bytesOf("0006ffffffff7f")), MalformedError);
  });

  it("of unknown kinds are for the caller to skip", () => assert.equal(decodeMessage(0x7f, new Uint8Array()), null));
});

describe("version vectors", () => {
  const entries: [bigint, bigint][] = [[1n, 300n], [2n, 1n], [1n << 63n, 7n], [(1n << 64n) - 1n, 9n]];

  it("survive their bytes", () => {
    const vector = new Map(entries);
    assert.deepEqual(decodeVector(encodeVector(vector)), vector);
    assert.deepEqual(encodeVector(new Map()), Uint8Array.of(0));
  });

  it("are refused when they are none", () => {
    for (const hex of ["", "01", "0101", "020101", "010100", "0001", "ff01", "018000"]) assert.throws(() => decodeVector(bytesOf(hex)), MalformedError, hex);
  });

  it("dominate what they cover", () => {
    const vector = new Map(entries);
    assert.ok(dominates(vector, new Map()));
    assert.ok(dominates(vector, new Map([[1n, 299n]])));
    assert.ok(!dominates(vector, new Map([[1n, 301n]])));
    assert.ok(!dominates(vector, new Map([[3n, 1n]])));
  });
});

describe("close codes", () => {
  it("of 4400 to 4499 stop, others retry", () => {
    assert.deepEqual([4400, 4410, 4499].map(retries), [false, false, false]);
    assert.deepEqual([1006, 4500, 4529].map(retries), [true, true, true]);
  });
});
