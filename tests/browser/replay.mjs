/**
 * Replays a recorded two-person session through two headless browsers: each page makes its own person's edits, with exactly
 * that much of the other's text before it as the recording had, and both end with the recording's text.
 *
 *     node replay.mjs TRACE --relay URL [--relay URL] [--name DOCUMENT] [--json FILE]
 *
 * The relay at URL serves the page (`--web`); with two of them, as in two regions, each person has one. What has not been
 * reached in the recording yet is held back in the receiving page, so both pages write and send as freely as the two people did.
 */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Profile } from "./lib/browser.mjs";
import { together } from "./lib/together.mjs";
import { readTrace } from "./lib/trace.mjs";

const { values, positionals } = parseArgs({ allowPositionals: true, options: { relay: { type: "string", multiple: true }, name: { type: "string" }, json: { type: "string" } } });
const [path] = positionals;
if (path === undefined || values.relay === undefined) {
  console.error("usage: node replay.mjs TRACE --relay URL [--relay URL] [--name DOCUMENT] [--json FILE]");
  process.exit(2);
}

const PROGRESS_EVERY_MS = 2000;
const END_WITHIN_MS = 120_000;
const SEE_WITHIN_MS = 30_000;
/** Transactions made in one go: the page must stay able to receive. */
const BATCH_MAX = 200;

const trace = readTrace(path);
const [, second] = trace.writers;
const origins = values.relay.map((relay) => relay.replace(/\/$/, ""));
const name = values.name ?? `replay-${Date.now().toString(36)}-${process.pid}`;
console.log(`${path}: ${trace.transactions} transactions of ${second.length === 0 ? "one writer" : "two writers"}, through two browsers and ${origins.join(" and ")}`);

/** One writer in one page. */
class Writer {
  constructor(page, transactions) {
    this.page = page;
    this.transactions = transactions;
    this.made = 0;
    this.marks = new Map();
    this.waiting = new Map();
  }

  /** The vector of this writer after `count` transactions, for the other to be let that far; waits until it is made. */
  mark(count) {
    const made = this.marks.get(count);
    return made !== undefined ? Promise.resolve(made) : new Promise((resolve) => this.waiting.set(count, resolve));
  }

  /** Makes the transactions up to `count`, which must all have seen the same of the other. */
  async make(count) {
    const batch = this.transactions.slice(this.made, count).flatMap(({ patches }) => patches);
    const mark = await this.page.evaluate((patches) => window.replay.make(patches), batch);
    this.made = count;
    this.marks.set(count, mark);
    this.waiting.get(count)?.(mark);
  }

  /** Lets the other's text up to `mark` in, waits until it is there, and holds the rest. */
  async see(mark) {
    await this.page.evaluate((vector) => window.replay.see(vector), mark);
  }
}

/** Runs in the page. */
function prepare({ hasAstral, SEE_WITHIN_MS }) {
  const { room } = window.selvedge;
  const { doc, text } = room;
  /** Place of a Unicode scalar in units; the recording counts scalars. */
  const unit = (whole, scalars) => {
    let at = 0;
    for (let i = 0; i < scalars; i += 1) at += whole.codePointAt(at) > 0xffff ? 2 : 1;
    return at;
  };
  window.replay = {
    make(patches) {
      for (const [at, remove, insert] of patches) {
        if (!hasAstral) text.replace(at, at + remove, insert);
        else {
          const whole = text.toString();
          text.replace(unit(whole, at), unit(whole, at + remove), insert);
        }
      }
      return [...doc.encodeStateVector()];
    },
    async see(vector) {
      const mark = Uint8Array.from(vector);
      doc.holdRemote(mark);
      const deadline = performance.now() + SEE_WITHIN_MS;
      // Not every delta changes the text (both may delete one character), so no event tells of all of them.
      while (!doc.covers(mark)) {
        if (performance.now() > deadline) {
          const { status, saved } = room.relay;
          throw new Error(`the other's text did not come within ${SEE_WITHIN_MS} ms: ${JSON.stringify({ status, saved, mark: vector, own: [...doc.encodeStateVector()] })}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    },
  };
  doc.holdRemote(new Uint8Array([0]));
}

const begun = performance.now();
const profiles = await together(Profile.create(), Profile.create());
let outcome = { verified: false, why: "it did not finish" };
try {
  await together(...profiles.map((profile) => profile.open()));
  const tabs = await together(...profiles.map((profile, person) => profile.tab(origins[person % origins.length], name)));
  await together(...tabs.map((tab) => tab.synced()));
  if (trace.startContent !== "") {
    await tabs[0].page.evaluate((text) => window.selvedge.room.text.insert(0, text), trace.startContent);
    await tabs[1].hasText(trace.startContent);
  }
  const hasAstral = /[\u{10000}-\u{10ffff}]/u.test(trace.startContent) || trace.writers.some((list) => list.some(({ patches }) => patches.some(([, , insert]) => /[\u{10000}-\u{10ffff}]/u.test(insert))));
  await together(...tabs.map((tab) => tab.page.evaluate(prepare, { hasAstral, SEE_WITHIN_MS })));
  outcome = await replay(tabs);
} finally {
  await together(...profiles.map((profile) => profile.dispose()));
}

async function replay(tabs) {
  const writers = tabs.map((tab, side) => new Writer(tab.page, trace.writers[side]));
  let told = performance.now();
  const tell = () => {
    if (performance.now() - told < PROGRESS_EVERY_MS) return;
    told = performance.now();
    const made = writers[0].made + writers[1].made;
    console.log(`  ${made} of ${trace.transactions} transactions (${Math.floor((100 * made) / trace.transactions)} %)`);
  };
  // Parents come before their children in a trace, so neither writer can wait for ever.
  await together(...writers.map((writer, side) => write(writer, writers[1 - side], tell)));
  await together(...tabs.map((tab) => tab.page.evaluate(() => window.selvedge.room.doc.holdRemote(null))));
  await together(...tabs.map((tab) => tab.saved()));
  return compare(tabs);
}

/** Makes all of one writer's transactions, each as soon as the other has got to where it was when it was recorded. */
async function write(writer, other, tell) {
  // Where the other will need a mark, a batch must end.
  const stops = new Set(other.transactions.map(({ needs }) => needs));
  const { transactions } = writer;
  let seen = 0;
  while (writer.made < transactions.length) {
    const { needs } = transactions[writer.made];
    if (needs > seen) {
      await writer.see(await other.mark(needs));
      seen = needs;
    }
    let end = writer.made + 1;
    while (end - writer.made < BATCH_MAX && end < transactions.length && transactions[end].needs === needs && !stops.has(end)) end += 1;
    await writer.make(end);
    tell();
  }
}

async function compare(tabs) {
  const deadline = performance.now() + END_WITHIN_MS;
  for (;;) {
    const [left, right] = await together(...tabs.map((tab) => tab.page.evaluate(() => window.selvedge.text())));
    if (left === right || performance.now() > deadline) {
      const stored = await together(...origins.map(async (origin) => (await fetch(`${origin}/v1/docs/default/${name}/text`)).text()));
      if (left !== right) return { verified: false, why: `the two pages differ, ${difference(left, right)}` };
      const other = stored.find((text) => text !== left);
      if (other !== undefined) return { verified: false, why: `a relay's text differs from the pages', ${difference(other, left)}` };
      const editors = await together(...tabs.map((tab) => tab.text()));
      if (editors.some((text) => text !== left)) return { verified: false, why: "an editor shows another text than its replica" };
      if (left !== trace.endContent) return { verified: false, why: `pages and relay agree, but not with the recording, ${difference(left, trace.endContent)}` };
      return { verified: true, why: `both pages, both editors and every relay have the recording's ${[...left].length} characters` };
    }
    await tabs[0].page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => resolve())));
  }
}

function difference(a, b) {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at += 1;
  return `first at unit ${at} of ${a.length} and ${b.length}: ${JSON.stringify(a.slice(at, at + 30))} against ${JSON.stringify(b.slice(at, at + 30))}`;
}

const seconds = (performance.now() - begun) / 1000;
console.log(`${outcome.verified ? "ok" : "FAILED"}: ${outcome.why} (${seconds.toFixed(1)} s)`);
if (values.json !== undefined) {
  const before = existsSync(values.json) ? JSON.parse(readFileSync(values.json, "utf8")) : [];
  const rows = [
    { suite: "replay", case: path.split("/").pop(), subject: "selvedge", figure: "browsers_transactions_per_s", value: Math.round(trace.transactions / seconds), unit: "1/s", runs: 1, verified: outcome.verified },
  ];
  writeFileSync(values.json, `${JSON.stringify([...before, ...rows], null, 1)}\n`);
}
process.exitCode = outcome.verified ? 0 : 1;
