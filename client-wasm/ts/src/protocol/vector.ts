/** Version vectors, as far as a store needs them: read, compare. */

import { MalformedError, Reader } from "./reader.js";

/** Highest contiguous counter per site. */
export type VersionVector = ReadonlyMap<bigint, bigint>;

/**
 * Reads a vector: varint count, then per site in ascending order the difference to the site before (the first in full,
 * later ones less 1) and its counter, all varints.
 */
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
  let next = 0n;
  for (let i = 0; i < count; i++) {
    const site = next + reader.varint();
    const counter = reader.varint();
    if (site >= 1n << 64n || counter === 0n) throw new MalformedError("no site, or no counter");
    vector.set(site, counter);
    next = site + 1n;
  }
  return vector;
}

/** Writes what {@link decodeVector} reads. */
export function encodeVector(vector: VersionVector): Uint8Array {
  const bytes: number[] = [];
  const varint = (value: bigint): void => {
    for (let rest = value; ; rest >>= 7n) {
      if (rest < 0x80n) return void bytes.push(Number(rest));
      bytes.push(Number(rest & 0x7fn) | 0x80);
    }
  };
  varint(BigInt(vector.size));
  let next = 0n;
  for (const [site, counter] of [...vector].sort(([a], [b]) => (a < b ? -1 : 1))) {
    varint(site - next);
    varint(counter);
    next = site + 1n;
  }
  return Uint8Array.from(bytes);
}

/** Whether `a` has seen everything `b` has. */
export function dominates(a: VersionVector, b: VersionVector): boolean {
  for (const [site, counter] of b) if ((a.get(site) ?? 0n) < counter) return false;
  return true;
}
