import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { inflateRawSync } from "node:zlib";
import { MalformedError, StreamReader, type StreamDelta } from "./index.js";
import { init, StandaloneDoc, UpdateEncoder } from "../standalone.js";

interface Vector {
  readonly name: string;
  readonly from: "stream" | "durable" | "state";
  readonly hex: string;
  readonly fields: readonly (readonly [hex: string, note: string])[];
}

const file = fileURLToPath(new URL("../../../../protocol/vectors/stream.json", import.meta.url));
const vectors = JSON.parse(readFileSync(file, "utf8")) as readonly Vector[];
const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"));
const stream = vectors.filter(({ from }) => from === "stream");

const B = 0x8000000000000002n;
const below = { digit: 40n, k: 2n };
const deleted = (author: bigint, first: bigint, dot: bigint): StreamDelta => (
  { site: author, first, ops: [{ kind: "delete", ranges: [{ site: author, first: dot, last: dot }] }] }
);

/** What each entry says, by its name. */
const said: Record<string, (a: bigint, b: bigint) => StreamDelta> = {
  "a first insert": (a) => ({ site: a, first: 1n, ops: [{ kind: "insert", parent: [], digit: 40n, direction: "after", text: "hi" }] }),
  "an extension": (a) => ({ site: a, first: 3n, ops: [{ kind: "insert", parent: [], digit: 40n, direction: "after", text: "!" }] }),
  "an insert below and before": (a, b) => ({
    site: b, first: 1n,
    ops: [{ kind: "insert", parent: [{ ...below, site: a }], digit: -3n, direction: "before", text: "\u{1f600}x" }],
  }),
  "a void and a delete": (a, b) => ({
    site: b, first: 3n,
    ops: [{ kind: "void", length: 40n }, { kind: "delete", ranges: [{ site: a, first: 1n, last: 2n }, { site: b, first: 4n, last: 4n }] }],
  }),
  "a meta write": (a) => ({ site: a, first: 9n, ops: [{ kind: "meta", key: "title", value: Uint8Array.of(0x78), lamport: 5n }] }),
  "a keystroke": (a) => ({ site: a, first: 10n, ops: [{ kind: "insert", parent: [], digit: 40n, direction: "after", text: "?" }] }),
  "a backspace": (a) => deleted(a, 11n, 10n),
  "another": (a) => deleted(a, 12n, 9n),
  "the dot behind the last deletion": (_, b) => deleted(b, 44n, 5n),
  "a dot far back": (a) => deleted(a, 60n, 2n),
  "an insert on a long path": (a) => ({
    site: a, first: 61n,
    ops: [{
      kind: "insert",
      parent: [{ ...below, site: a }, ...Array.from({ length: 14 }, (_, i) => ({ digit: 7n, site: a, k: BigInt(i + 3) }))],
      digit: 7n, direction: "after", text: "deep",
    }],
  }),
  "a rebase": (a, b) => ({
    site: b, first: 45n,
    ops: [{
      kind: "rebase", parent: [{ ...below, site: a }], digit: -5n, lamport: 1n, spacing: 900n,
      pieces: [
        { slot: 0n, site: a, firstK: 61n, length: 4n },
        { slot: 1n, site: b, firstK: -2n, length: 2n },
        { slot: 3n, site: a, firstK: 3n, length: 1n },
      ],
    }],
  }),
  "an insert below a character remembered": (a) => ({
    site: a, first: 65n,
    ops: [{ kind: "insert", parent: [{ digit: 40n, site: a, k: 1n }], digit: null, direction: "after", text: "below" }],
  }),
  "an insert beside a run remembered": (a) => ({
    site: a, first: 70n, ops: [{ kind: "insert", parent: [], digit: 40n, direction: "before", text: "beside" }],
  }),
  "an insert of a digit chosen": (a) => ({
    site: a, first: 76n,
    ops: [{ kind: "insert", parent: [{ digit: 40n, site: a, k: 1n }], digit: 900n, direction: "after", text: "a digit" }],
  }),
  "a delete of several ranges": (a) => ({
    site: a, first: 83n,
    ops: [{ kind: "delete", ranges: [{ site: a, first: 3n, last: 3n }, { site: a, first: 65n, last: 69n }] }],
  }),
};

describe("golden vectors of the stream form", () => {
  it("are there", () => assert.deepEqual(stream.map(({ name }) => name), Object.keys(said)));

  it("say what they say, read in order, and leave the state that joiners are given", () => {
    const reader = new StreamReader();
    let sites: bigint[] = [];
    for (const { name, hex } of stream) {
      const deltas = reader.read(bytesOf(hex));
      sites = reader.known.map(({ site }) => site);
      const [a = 0n, b = 0n] = sites;
      assert.deepEqual(deltas, [said[name]?.(a, b)], name);
    }
    assert.equal(sites.length, 2);
    assert.equal(sites[1], B);
    const state = vectors.find(({ from }) => from === "state");
    assert.ok(state);
    assert.deepEqual(StreamReader.fromState(bytesOf(state.hex)).known, reader.known);
  });

  it("are malformed when cut anywhere", () => {
    for (const { hex } of stream) {
      const bytes = bytesOf(hex);
      // An entry may be cut where it leaves nothing: no delta at all is a whole stream.
      for (let length = 1; length < bytes.length; length++) {
        const reader = new StreamReader();
        for (const earlier of stream.slice(0, stream.findIndex((one) => one.hex === hex))) reader.read(bytesOf(earlier.hex));
        assert.throws(() => reader.read(bytes.subarray(0, length)), MalformedError);
      }
    }
  });

  it("join to their fields", () => {
    for (const { hex, fields } of vectors) assert.equal(fields.map(([part]) => part).join(""), hex);
  });
});

const inflate = (packed: Uint8Array, length: number): Uint8Array => inflateRawSync(packed, { maxOutputLength: length });

/** A delta in two parts, as they are. */
const inParts = (numbers: string, texts: string, lengths: readonly number[] = [numbers, numbers, texts, texts].map((hex) => hex.length / 2)): Uint8Array => (
  Uint8Array.from([4 | 3 << 3, ...lengths, ...bytesOf(numbers), ...bytesOf(texts)])
);

describe("long deltas", () => {
  it("have their texts apart, of which nothing may be missing or left over", () => {
    const read = (bytes: Uint8Array): string => {
      const [delta, ...more] = new StreamReader(inflate).read(bytes);
      assert.deepEqual(more, []);
      return delta?.ops.map((op) => op.kind === "insert" ? op.text : op.kind).join("|") ?? "";
    };
    // Of leased site 1 from counter 1 on two inserts: apart at the root, of two bytes, then its extension by one.
    const numbers = "260101022d00005008";
    assert.equal(read(inParts(numbers, "c3a978")), "é|x");
    for (const [what, bytes] of Object.entries({
      "a text too short": inParts(numbers, "c3a9"),
      "a text left over": inParts(numbers, "c3a97878"),
      "a character in two texts": inParts(numbers, "78c3a9"),
      "numbers left over": inParts(`${numbers}00`, "c3a978"),
      "a delta packed twice": inParts("1c00000000", ""),
      "no delta": inParts("", ""),
      "a length that is not the part's": inParts(numbers, "c3a978", [9, 9, 4, 3]),
      "more than its bytes may be": inParts(numbers, "c3a978", [9, 9, 120, 3]),
    })) assert.throws(() => read(bytes), MalformedError, what);
  });

  it("are packed, and read with what inflates", async () => {
    await init();
    const doc = new StandaloneDoc();
    const updates: Uint8Array[] = [];
    doc.on("update", (update) => updates.push(update));
    const words = Array.from({ length: 400 }, (_, at) => `wéft ${(at * at * 7919 % 4093).toString(36)} `);
    const paste = words.join("");
    doc.text.insert(0, paste);
    doc.flush();
    words.forEach((word, at) => doc.text.insert(at * at % doc.text.length, word));
    doc.flush();
    doc.text.insert(1, "x");
    doc.flush();
    const encoder = new UpdateEncoder();
    const messages = updates.map((update) => encoder.encode(update));
    const [first = new Uint8Array(0), second = new Uint8Array(0)] = messages;
    assert.deepEqual([first[0], second[0]], [4 | 3 << 3, 4 | 3 << 3], "packed");
    const inserted = (reader: StreamReader, from: readonly Uint8Array[]): string => (
      from.flatMap((message) => reader.read(message)).flatMap(({ ops }) => ops).map((op) => op.kind === "insert" ? op.text : op.kind).join("")
    );
    assert.equal(inserted(new StreamReader(inflate), messages), `${paste}${paste}x`);
    const joined = StreamReader.fromState(new UpdateEncoder().state(), inflate);
    assert.equal(inserted(joined, messages.slice(0, 1)), paste);
    assert.throws(() => new StreamReader().read(first), MalformedError, "nothing that inflates");
    for (let length = 1; length < first.length; length += 7) {
      assert.throws(() => new StreamReader(inflate).read(first.subarray(0, length)), MalformedError);
    }
    doc.destroy();
  });
});
