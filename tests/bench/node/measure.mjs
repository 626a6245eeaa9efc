/**
 * One run of one case by one subject, in a process of its own: `node --expose-gc measure.mjs SUBJECT CASE TRACES`. Prints
 * `{figures: {figure: [value, unit]}, verified}` as one line of JSON. Times are of the processor, all threads together.
 */

import { madeUp, recordings, sorted } from "./cases.mjs";
import { subject } from "./subjects/index.mjs";

const [name, wanted, traces] = process.argv.slice(2);
const { base, sides, end, letters } = [...madeUp(), ...recordings(traces)].find((each) => each.name === wanted);
const Subject = await subject(name);

const figures = {};
async function timed(figure, act) {
  globalThis.gc();
  const before = process.cpuUsage();
  const answer = await act();
  const { user, system } = process.cpuUsage(before);
  figures[figure] = [(user + system) / 1000, "ms"];
  return answer;
}

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
  return replica.text();
});
verified &&= loaded === text;
console.log(JSON.stringify({ figures, verified }));
process.exit(0);
