/**
 * A document of 1 MiB in a browser: how long it takes to open, from the device and from the relay, and how long the main
 * thread is ever blocked while somebody types into it.
 *
 *     node bench.mjs [--json FILE] [--runs N]
 *
 * Bars: every opening takes under 1 s, and no task over 50 ms. Exit status 0 only if they hold and every text was verified.
 */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Profile } from "./lib/browser.mjs";
import { Relay } from "./lib/relay.mjs";

const { values } = parseArgs({ options: { json: { type: "string" }, runs: { type: "string", default: "5" } } });
const RUNS = Number(values.runs);
const SIZE = 1024 * 1024;
const KEYS = 300;
const BLOCKED_BAR_MS = 50;
const OPEN_BAR_MS = 1000;

const rows = [];
/** Bars that were not met, each in a sentence. */
const missed = [];
let verified = true;

function row(name, figure, value, unit, runs) {
  rows.push({ suite: "browser", case: name, subject: "selvedge", figure, value: Math.round(value * 10) / 10, unit, runs, verified });
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

function percentile(numbers, share) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

/** The figures of `times` to open in one way, against their bar. */
function opened(name, times) {
  const longest = Math.max(...times);
  row(name, "open_p50_ms", median(times), "ms", RUNS);
  row(name, "open_max_ms", longest, "ms", RUNS);
  if (!(longest < OPEN_BAR_MS)) missed.push(`${name}: ${longest.toFixed(0)} ms to open`);
}

/** Prose of exactly `size` bytes: lines as long as people write them. */
function prose(size) {
  const words = "the thread turns at the edge of the cloth and goes back into the weave where it holds fast without a hem".split(" ");
  let text = "";
  for (let i = 0; text.length < size; i += 1) text += words[(i * 7 + (i >> 3)) % words.length] + (i % 90 === 89 ? ".\n\n" : " ");
  return text.slice(0, size);
}

/** Opens `name` in a new tab; milliseconds from the navigation to the whole text in the editor. */
async function open(profile, origin, name, length) {
  const page = await profile.context.newPage();
  await page.goto(`${origin}/#${name}`, { waitUntil: "commit" });
  const handle = await page.waitForFunction((wanted) => window.selvedge?.view.state.doc.length === wanted && performance.now(), length, { polling: "raf", timeout: 60_000 });
  const ms = await handle.jsonValue();
  const editor = await page.evaluate(() => window.selvedge.view.state.doc.toString() === window.selvedge.text());
  verified &&= editor;
  return { page, ms };
}

/** Types `KEYS` keys at `at` and measures what the main thread does meanwhile. */
async function type(page, at) {
  await page.evaluate((place) => {
    window.tasks = [];
    window.latencies = [];
    new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((entry) => entry.duration))).observe({ type: "longtask" });
    const { view } = window.selvedge;
    view.focus();
    view.dispatch({ selection: { anchor: place }, scrollIntoView: true });
    addEventListener("keydown", () => {
      const pressed = performance.now();
      requestAnimationFrame(() => setTimeout(() => window.latencies.push(performance.now() - pressed)));
    }, { capture: true });
  }, at);
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  const letters = "typing into the middle of a long text ".repeat(Math.ceil(KEYS / 38)).slice(0, KEYS);
  for (const letter of letters) await page.keyboard.type(letter);
  await page.evaluate(() => window.selvedge.whenSaved());
  await page.waitForFunction((count) => window.latencies.length >= count, KEYS);
  const { tasks, latencies, text } = await page.evaluate((place) => ({ tasks: window.tasks, latencies: window.latencies, text: window.selvedge.text().slice(place, place + 400) }), at);
  verified &&= text.startsWith(letters);
  return { tasks, latencies };
}

const relay = await Relay.start({ flags: (process.env.SELVEDGE_RELAY_FLAGS ?? "").split(" ").filter((flag) => flag !== "") });
const profile = await (await Profile.create()).open();
const others = [];
try {
  const text = prose(SIZE);
  const name = "one-mebibyte";
  console.log(`a document of 1 MiB: written, then opened ${RUNS} times each way`);
  const { page: writer } = await open(profile, relay.origin, name, 0);
  await writer.evaluate(() => window.selvedge.whenSynced());
  await writer.evaluate((whole) => window.selvedge.room.text.insert(0, whole), text);
  await writer.evaluate(() => window.selvedge.whenSaved());
  verified &&= (await relay.text(name)) === text;
  await writer.evaluate(() => navigator.serviceWorker.ready);
  await writer.close();

  const fromDevice = [];
  for (let i = 0; i < RUNS; i += 1) {
    const { page, ms } = await open(profile, relay.origin, name, SIZE);
    fromDevice.push(ms);
    await page.close();
  }
  opened("open_1mib_from_device", fromDevice);

  const fromRelay = [];
  for (let i = 0; i < RUNS; i += 1) {
    const other = await (await Profile.create()).open();
    others.push(other);
    const { page, ms } = await open(other, relay.origin, name, SIZE);
    fromRelay.push(ms);
    await page.close();
    await other.dispose();
  }
  opened("open_1mib_from_relay", fromRelay);

  const { page } = await open(profile, relay.origin, name, SIZE);
  await page.evaluate(() => window.selvedge.whenSynced());
  for (const [where, at] of [["start", 0], ["middle", SIZE / 2], ["end", SIZE + 2 * KEYS]]) {
    const { tasks, latencies } = await type(page, at);
    const over = tasks.filter((ms) => ms > BLOCKED_BAR_MS);
    if (over.length > 0) missed.push(`type_1mib_${where}: ${over.length} tasks over ${BLOCKED_BAR_MS} ms, the longest ${Math.max(...over).toFixed(0)} ms`);
    row(`type_1mib_${where}`, "tasks_over_50ms", over.length, "tasks", KEYS);
    row(`type_1mib_${where}`, "longest_task_ms", Math.max(0, ...tasks), "ms", KEYS);
    row(`type_1mib_${where}`, "key_to_frame_p50_ms", median(latencies), "ms", KEYS);
    row(`type_1mib_${where}`, "key_to_frame_p99_ms", percentile(latencies, 0.99), "ms", KEYS);
  }
} finally {
  await Promise.all([profile, ...others].map((each) => each.dispose()));
  await relay.dispose();
}

for (const each of rows) each.verified = verified;
for (const { case: name, figure, value, unit } of rows) console.log(`${name.padEnd(26)} ${figure.padEnd(22)} ${String(value).padStart(9)} ${unit}`);
console.log(`bars: every opening under ${OPEN_BAR_MS} ms, no task over ${BLOCKED_BAR_MS} ms (0 as the longest task means: none over 50 ms)`);
for (const each of missed) console.log(`MISSED ${each}`);
console.log(verified ? "every text verified" : "A TEXT WAS WRONG");
if (values.json !== undefined) {
  const before = existsSync(values.json) ? JSON.parse(readFileSync(values.json, "utf8")) : [];
  writeFileSync(values.json, `${JSON.stringify([...before, ...rows], null, 1)}\n`);
}
process.exitCode = verified && missed.length === 0 ? 0 : 1;
