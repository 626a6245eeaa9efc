/**
 * Recorded editing sessions, in the two public formats: `concurrent` (every transaction names its parents and its agent)
 * and sequential (one writer, one order). What is wrong with a file is told as the native replay tells it.
 */

import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

/** People in one recording: every one of them is a browser here. The native replay takes 64. */
const AGENTS_MAX = 8;

/** Why a file is no recording that can be replayed. */
export class TraceError extends Error {
  name = "TraceError";
}

/**
 * Reads and checks a recording: `start` and `end` are its texts, `agents` its people, at least one. Each of `transactions` has
 * its `agent`; its `past`, how many of each agent's transactions came before it (all of its own); and its `patches`,
 * [at, delete, insert] in Unicode scalars. Throws {@link TraceError}.
 */
export function readTrace(path) {
  const file = parse(path);
  const { kind = "sequential" } = file;
  if (kind !== "concurrent" && kind !== "sequential") throw new TraceError(`${path}: kind ${JSON.stringify(kind)} is neither sequential nor concurrent`);
  const agents = kind === "concurrent" ? (file.numAgents ?? 1) : 1;
  if (!(Number.isInteger(agents) && agents >= 1 && agents <= AGENTS_MAX)) throw new TraceError(`${path}: numAgents is ${agents}: replay in browsers takes 1 to ${AGENTS_MAX}, each a browser; without --browsers it takes 1 to 64`);
  const made = new Array(agents).fill(0);
  const pasts = [];
  const transactions = file.txns.map((txn, index) => {
    const wrong = (problem) => new TraceError(`${path}: transaction ${index}: ${problem}`);
    const agent = kind === "concurrent" ? (txn?.agent ?? 0) : 0;
    if (!(Number.isInteger(agent) && agent >= 0 && agent < agents)) throw wrong(`agent ${agent} of ${agents}`);
    const past = kind === "concurrent" ? pastOf(txn?.parents, pasts, agents, wrong) : [index];
    if (past[agent] !== made[agent]) throw wrong(`its past has ${past[agent]} of its agent's ${made[agent]} transactions before it`);
    made[agent] += 1;
    pasts.push(past.with(agent, made[agent]));
    return { agent, past, patches: checkedPatches(txn?.patches, wrong) };
  });
  return { start: file.startContent ?? "", end: file.endContent, agents, transactions };
}

function pastOf(parents, pasts, agents, wrong) {
  if (!Array.isArray(parents)) throw wrong("it has no parents");
  const past = new Array(agents).fill(0);
  for (const parent of parents) {
    const ofParent = pasts[parent];
    if (ofParent === undefined) throw wrong(`its parent ${parent} does not come before it`);
    ofParent.forEach((count, agent) => (past[agent] = Math.max(past[agent], count)));
  }
  return past;
}

function parse(path) {
  let bytes;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new TraceError(`${path}: ${error.message}; name a recording, *.json or *.json.gz`, { cause: error });
  }
  let file;
  try {
    if (bytes[0] === 0x1f && bytes[1] === 0x8b) bytes = gunzipSync(bytes);
    file = JSON.parse(bytes.toString("utf8"));
  } catch (error) {
    throw new TraceError(`${path}: no recording: ${error.message}; it needs endContent and txns (see the public editing-traces format)`, { cause: error });
  }
  const isText = (value) => value === undefined || typeof value === "string";
  if (!Array.isArray(file?.txns) || typeof file.endContent !== "string" || !isText(file.startContent)) throw new TraceError(`${path}: no recording: it needs endContent and txns (see the public editing-traces format)`);
  return file;
}

function checkedPatches(patches, wrong) {
  if (!Array.isArray(patches)) throw wrong("it has no patches");
  for (const patch of patches) {
    const [at, remove, insert] = Array.isArray(patch) ? patch : [];
    if (!Number.isInteger(at) || at < 0 || !Number.isInteger(remove) || remove < 0 || typeof insert !== "string") throw wrong("a patch is not [at, delete, insert]");
  }
  return patches;
}
