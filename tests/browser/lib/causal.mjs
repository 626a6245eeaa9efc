/** Version vectors and the dots of places, by the package's independent reading of the engine's bytes. */

import { packageFile } from "./places.mjs";

const { decodeVector, encodeVector, Reader } = await import(packageFile("protocol/index.js"));

/** A vector of bytes as a page gives them: highest counter by site. */
export function readVector(bytes) {
  return new Map(decodeVector(Uint8Array.from(bytes)));
}

/** Undoes {@link readVector}: an array of numbers, as a page can be given it. */
export function writeVector(vector) {
  return [...encodeVector(vector)];
}

/** Raises `vector` to what `other` has. */
export function join(vector, other) {
  for (const [site, counter] of other) if (counter > (vector.get(site) ?? 0n)) vector.set(site, counter);
}

/**
 * The dot of the character that a position (its JSON form) holds on to: the last level of its path, whose `k` is the counter,
 * its sign the direction the run grows in. Null at an end of the text.
 */
export function dotOf(position) {
  const reader = new Reader(Buffer.from(position, "base64url"));
  reader.bytes(2); // kind, bias
  let dot = null;
  for (let levels = reader.count(); levels > 0; levels -= 1) {
    reader.varint(); // the digit
    const site = reader.varint();
    const zigzag = reader.varint();
    dot = { site, counter: (zigzag + 1n) >> 1n };
  }
  reader.end();
  return dot;
}
