/**
 * Recorded editing sessions, in the two public formats: `concurrent` (every transaction names its parents and its agent)
 * and sequential (one writer, one order).
 */

import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

/**
 * Reads a trace. The result has for each writer their transactions in order: `needs` is how many transactions of the other
 * writer must have been seen before it, exactly; `patches` are [at, delete, insert] in Unicode scalars.
 */
export function readTrace(path) {
  const { txns, endContent, startContent = "", kind } = parse(path);
  if (!Array.isArray(txns) || typeof endContent !== "string") throw new Error(`${path} is no trace: it lacks "txns" or "endContent"`);
  const writers = [[], []];
  const seen = [];
  txns.forEach((txn, index) => {
    const where = `${path}, transaction ${index}`;
    const patches = checkPatches(txn.patches, where);
    const agent = kind === "concurrent" ? txn.agent : 0;
    if (agent !== 0 && agent !== 1) throw new Error(`${where}: agent ${agent}; replay in browsers takes two writers`);
    const parents = kind === "concurrent" ? txn.parents : [];
    if (!Array.isArray(parents)) throw new Error(`${where}: no parents`);
    const known = [0, 0];
    for (const parent of parents) {
      if (seen[parent] === undefined) throw new Error(`${where}: its parent ${parent} does not come before it`);
      for (const side of [0, 1]) known[side] = Math.max(known[side], seen[parent][side]);
    }
    if (kind === "concurrent" && known[agent] !== writers[agent].length) throw new Error(`${where}: it does not follow its own writer's last one`);
    writers[agent].push({ index, needs: known[1 - agent], patches });
    known[agent] = writers[agent].length;
    seen.push(known);
  });
  return { writers, startContent, endContent, transactions: txns.length };
}

function parse(path) {
  let bytes = readFileSync(path);
  try {
    if (bytes[0] === 0x1f && bytes[1] === 0x8b) bytes = gunzipSync(bytes);
    return JSON.parse(bytes.toString("utf8"));
  } catch (error) {
    throw new Error(`${path} is no trace: ${error.message}`, { cause: error });
  }
}

function checkPatches(patches, where) {
  if (!Array.isArray(patches)) throw new Error(`${where}: no patches`);
  for (const patch of patches) {
    const [at, remove, insert] = patch;
    if (!Number.isInteger(at) || at < 0 || !Number.isInteger(remove) || remove < 0 || typeof insert !== "string") throw new Error(`${where}: a patch is not [at, delete, insert]`);
  }
  return patches;
}
