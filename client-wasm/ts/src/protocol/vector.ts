/** Version vectors, as far as a store needs them: read, compare. */

import { MalformedError, Reader } from "./reader.js";

/** Highest contiguous counter per site. */
export type VersionVector = ReadonlyMap<bigint, bigint>;

/** Reads a vector: varint count, then per site (ascending) its number and counter as varints. */
export function decodeVector(bytes: Uint8Array): VersionVector {
  const reader = new Reader(bytes);
  const vector = readVector(reader);
  reader.end();
  return vector;
}

/** Reads a vector from inside other bytes. */
export function readVector(reader: Reader): VersionVector {
  const count = reader.count();
  if (count * 2 > reader.left) throw new MalformedError("more sites than bytes");
  const vector = new Map<bigint, bigint>();
  let before = -1n;
  for (let i = 0; i < count; i++) {
    const site = reader.varint();
    if (site <= before) throw new MalformedError("sites are not in order");
    before = site;
    vector.set(site, reader.varint());
  }
  return vector;
}

/** Whether `a` has seen everything `b` has. */
export function dominates(a: VersionVector, b: VersionVector): boolean {
  for (const [site, counter] of b) if ((a.get(site) ?? 0n) < counter) return false;
  return true;
}
