/**
 * One run of one case by one subject, in a process of its own: `node --expose-gc measure.mjs SUBJECT CASE TRACES`. Prints
 * `{figures: {figure: [value, unit]}, verified}` as one line of JSON. Times are of the processor, all threads together; what
 * earlier work left to other threads (sweeping of memory, better code for what ran before) has ended when a time begins.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { madeUp, recordings, sorted, START } from "./cases.mjs";
import { subject } from "./subjects/index.mjs";

const [name, wanted, traces] = process.argv.slice(2);
/** How often all threads are looked after at most, for how long, and below how much work they are at rest. */
const [LOOKS_MAX, STILL_MS, STILL_CPU_US] = [200, 5, 500];
const figures = {};
async function timed(figure, act) {
  globalThis.gc();
  await rest();
  const before = process.cpuUsage();
  const answer = await act();
  const { user, system } = process.cpuUsage(before);
  figures[figure] = [(user + system) / 1000, "ms"];
  return answer;
}

/** Waits until no thread has anything to do. */
async function rest() {
  for (let look = 0; look < LOOKS_MAX; look++) {
    const before = process.cpuUsage();
    await sleep(STILL_MS);
    const { user, system } = process.cpuUsage(before);
    if (user + system < STILL_CPU_US) return;
  }
}

if (wanted === START) {
  // What a subject makes ready by itself later, before anybody edits, is part of it.
  await timed("start_time", async () => {
    await (await subject(name)).create();
    await rest();
  });
  finish(true);
}
const { base, sides, end, letters } = [...madeUp(), ...recordings(traces)].find((each) => each.name === wanted);
const Subject = await subject(name);
const first = await Subject.create();
if (base !== "") {
  first.edit([[0, 0, base]]);
  await first.messages();
}
const beginning = first.save();
// As many replicas as there are people, and one that only hears them.
const people = [];
for (const _ of sides) people.push(await Subject.load(beginning));
const listener = await Subject.load(beginning);

const messages = await timed("local_message_time", async () => {
  const all = [];
  for (const [person, transactions] of sides.entries()) {
    const writer = people[person];
    for (const edits of transactions) writer.edit(edits);
    for (const message of await writer.messages()) all.push(message);
  }
  return all;
});
// A subject that shortens messages on a channel has them counted there, and says what that takes.
const channel = Subject.channel && (await timed("channel_time", () => Subject.channel(messages)));
figures.messages_bytes = [channel?.bytes ?? messages.reduce((sum, { length }) => sum + length, 0), "B"];

await timed("remote_time", () => {
  for (const message of messages) listener.integrate(message);
});
const text = listener.text();
// A large transaction may make several messages, but no message holds two.
const transactions = sides.reduce((sum, { length }) => sum + length, 0);
let verified = (channel?.whole ?? true) && messages.length >= transactions && (end === null || text === end) && (letters === null || sorted(text) === letters);

// The last one hears all the others, whose messages come before its own: another order than the listener's.
const last = people.at(-1);
const own = (await last.messages()).length;
for (const message of messages.slice(0, messages.length - own)) last.integrate(message);
verified &&= last.text() === text;

const saved = listener.save();
figures.document_bytes = [saved.length, "B"];
const loaded = await timed("load_time", async () => {
  const replica = await Subject.load(saved);
  return { replica, text: replica.text() };
});
verified &&= loaded.text === text;
// Who leaves work for later at a load does it now.
const firstMessage = await timed("load_edit_time", async () => {
  loaded.replica.edit([[text.length >> 1, 0, "x"]]);
  return (await loaded.replica.messages()).at(-1);
});
figures.load_edit_time[0] += figures.load_time[0];
verified &&= firstMessage.length > 0;
finish(verified);

function finish(verified) {
  console.log(JSON.stringify({ figures, verified }));
  process.exit(0);
}
