/**
 * Replays a recorded session through headless browsers, one per person and at least two: each page makes its own person's
 * edits, with exactly that much of the others' text before it as the recording had. All must end with one text, pages and
 * relays. Where it is not the recording's, that one merged in another order, and the first differing transaction is told.
 *
 *     node replay.mjs TRACE --relay URL [--relay URL] [--name DOCUMENT] [--json FILE]
 *
 * The relay at URL serves the page (`--web`); with two of them, as in two regions, people are at them by turns. What has not
 * been reached in the recording yet is held back in the receiving page, so all write and send as freely as the people did.
 */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Profile } from "./lib/browser.mjs";
import { play } from "./lib/play.mjs";
import { together } from "./lib/together.mjs";
import { readTrace } from "./lib/trace.mjs";

const { values, positionals } = parseArgs({ allowPositionals: true, options: { relay: { type: "string", multiple: true }, name: { type: "string" }, json: { type: "string" } } });
const [path] = positionals;
if (path === undefined || values.relay === undefined) {
  console.error("usage: node replay.mjs TRACE --relay URL [--relay URL] [--name DOCUMENT] [--json FILE]");
  process.exit(2);
}

const PROGRESS_EVERY_MS = 2000;

try {
  await run();
} catch (error) {
  console.error(`replay: ${error.message}`);
  process.exitCode = 1;
}

async function run() {
  const trace = readTrace(path);
  const total = trace.transactions.length;
  const relays = values.relay.map((relay) => relay.replace(/\/$/, ""));
  const name = values.name ?? `replay-${Date.now().toString(36)}-${process.pid}`;
  // A recording of one person has a second page all the same, which watches.
  const profiles = await together(...Array.from({ length: Math.max(2, trace.agents) }, () => Profile.create()));
  console.log(`${path}: ${total} transactions of ${trace.agents === 1 ? "one person" : `${trace.agents} people`}, through ${profiles.length} browsers and ${relays.join(" and ")}`);
  try {
    await together(...profiles.map((profile) => profile.open()));
    const tabs = await together(...profiles.map((profile, person) => profile.tab(relays[person % relays.length], name)));
    await together(...tabs.map((tab) => tab.synced()));
    const outcome = await play(trace, { tabs, relays, name, step: progress(total) });
    tell(outcome, total);
    if (values.json !== undefined) append(values.json, outcome, total);
  } finally {
    await together(...profiles.map((profile) => profile.dispose()));
  }
}

/** Counts transactions, and now and then says how many there are. */
function progress(total) {
  let made = 0;
  let told = performance.now();
  return (count) => {
    made += count;
    if (performance.now() - told < PROGRESS_EVERY_MS) return;
    told = performance.now();
    console.log(`  ${made} of ${total} transactions (${Math.floor((100 * made) / total)} %)`);
  };
}

function tell({ elapsedMs, length, difference }, total) {
  const seconds = elapsedMs / 1000;
  console.log(`${total} transactions in ${seconds.toFixed(1)} s, ${(total / seconds).toFixed(0)} a second`);
  if (difference === null) {
    console.log(`ok: all clients and the relay have the recording's ${length} characters`);
    return;
  }
  const { transaction, at, recorded, ours } = difference;
  const by = transaction === null ? "" : `, first by transaction ${transaction}`;
  console.log(
    `ok: all clients and the relay agree on ${length} characters. The recording merged in another order${by}: from ` +
      `character ${at} it has ${JSON.stringify(recorded)}, we have ${JSON.stringify(ours)}`,
  );
}

/** Adds the figures to the array of rows in `file`. Getting here means that all agree. */
function append(file, { elapsedMs, difference }, total) {
  const row = (figure, value, unit) => ({ suite: "replay", case: path.split("/").pop(), subject: "selvedge", figure: `browsers_${figure}`, value, unit, runs: 1, verified: true });
  const before = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : [];
  const rows = [row("wall", elapsedMs / 1000, "s"), row("transactions_per_s", total / (elapsedMs / 1000), "1/s"), row("end_differs", difference === null ? 0 : 1, "count")];
  writeFileSync(file, `${JSON.stringify([...before, ...rows], null, 1)}\n`);
}
