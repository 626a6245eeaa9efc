import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { Reader } from "./index.js";

interface Vector {
  readonly name: string;
  readonly from: "tag";
  readonly hex: string;
  readonly fields: readonly (readonly [hex: string, note: string])[];
}

const file = fileURLToPath(new URL("../../../../protocol/vectors/tags.json", import.meta.url));
const vectors = JSON.parse(readFileSync(file, "utf8")) as readonly Vector[];

const bytesOf = (vector: Vector, note: string): Buffer => {
  const field = vector.fields.find(([, known]) => known === note);
  assert.ok(field, note);
  return Buffer.from(field[0], "hex");
};

const littleEndian = (value: bigint, bytes: 4 | 8): Buffer => {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(value);
  return buffer.subarray(0, bytes);
};

/** The tag by what section 7a of the protocol says of it; relays alone hold keys, so the package has nothing that makes one. */
function tagOf(vector: Vector, generation = bytesOf(vector, "generation")): Buffer {
  const [document, durable] = [bytesOf(vector, "document"), bytesOf(vector, "durable form")];
  const header = new Reader(durable);
  header.u8(); // kind
  const [site, first, length] = [header.varint(), header.varint(), header.varint()];
  const content = Buffer.concat([
    Buffer.from("selvedge broadcast 1"), littleEndian(BigInt(document.length), 4), document, generation,
    littleEndian(site, 8), littleEndian(first, 8), littleEndian(first + length - 1n, 8), durable,
  ]);
  const mac = createHmac("sha256", bytesOf(vector, "the key")).update(content).digest();
  return Buffer.concat([bytesOf(vector, "number of the key"), mac.subarray(0, 15)]);
}

describe("golden vectors of broadcast tags", () => {
  it("are there", () => assert.deepEqual(vectors.map(({ name }) => name), ["of a first insert", "of an extension"]));

  for (const vector of vectors) {
    it(`${vector.name}: the tag follows from key, document, generation and delta`, () => {
      assert.deepEqual(tagOf(vector), bytesOf(vector, "the tag"));
      assert.notDeepEqual(tagOf(vector, littleEndian(4n, 8)), bytesOf(vector, "the tag"), "of another generation it is another");
    });
  }

  it("join to their fields", () => {
    for (const { hex, fields } of vectors) assert.equal(fields.map(([part]) => part).join(""), hex);
  });
});
