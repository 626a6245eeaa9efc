/**
 * Whether a page's save indicator tells the truth: everything it says and shows, beside what relays told the page, read off the
 * wire by the package's independent reading of the protocol. A claim holds if, when it was made, acks had come for every edit
 * made on the page by then.
 */

import { packageFile } from "./places.mjs";

const { decodeMessage } = await import(packageFile("protocol/index.js"));
const { FrameGatherer } = await import(packageFile("transport/frames.js"));

/** What words of the indicator claim of a server; what claims nothing of one is not here. */
const CLAIMS = [
  [/^Saved in two regions$/, "replicated"],
  [/^Saved, copying/, "region"],
  [/^Saved$/, "replicated"],
  [/all edits sent/, "region"],
];

/** Has every page of this browser keep what comes over its connections, with the moment it comes. */
export async function overhear(context) {
  await context.addInitScript(() => {
    window.overheard = [];
    let connections = 0;
    const note = (line, bytes) => {
      window.overheard.push({ at: performance.now(), line, bytes: Array.from(new Uint8Array(bytes.buffer ?? bytes, bytes.byteOffset ?? 0, bytes.byteLength)) });
    };
    const Socket = window.WebSocket;
    window.WebSocket = class extends Socket {
      constructor(...given) {
        super(...given);
        const line = `${connections++}`;
        this.addEventListener("message", ({ data }) => note(line, data));
      }
    };
    const Streams = window.WebTransport;
    if (Streams === undefined) return;
    window.WebTransport = class extends Streams {
      #line = `${connections++}`;
      #streams = 0;
      async createBidirectionalStream(...given) {
        const line = `${this.#line}/${this.#streams++}`;
        const { readable, writable } = await super.createBidirectionalStream(...given);
        const noted = new TransformStream({ transform(bytes, onward) { note(line, bytes); onward.enqueue(bytes); } });
        return { readable: readable.pipeThrough(noted), writable };
      }
    };
  });
}

/** From now on keeps what the indicator says, and what it shows in every frame, each with the number of edits made here by then. */
export async function record(tab) {
  await tab.page.evaluate(() => {
    const words = document.querySelector(".save-words");
    const log = (window.claims = { own: 0, said: [] });
    window.selvedge.room.text.observe(({ local, changes }) => {
      // A counter a character, and one a deletion.
      if (local) for (const { delete: gone, insert } of changes) log.own += [...insert].length + (gone > 0 ? 1 : 0);
    });
    const say = () => {
      const last = log.said.at(-1);
      if (last?.words !== words.textContent || last.own !== log.own) log.said.push({ at: performance.now(), words: words.textContent, own: log.own });
    };
    new MutationObserver(say).observe(words, { childList: true, characterData: true, subtree: true });
    const look = () => {
      say();
      requestAnimationFrame(look);
    };
    look();
  });
}

/** What was claimed since {@link record}: how often what, everything that was said, and every claim that was not true. */
export async function verdict(tab) {
  const { overheard, claims, site } = await tab.page.evaluate(() => ({ overheard: window.overheard, claims: window.claims, site: window.selvedge.room.doc.site }));
  const acks = acksOf(overheard, BigInt(`0x${site}`));
  const made = { region: 0, replicated: 0 };
  const untrue = [];
  for (const { at, words, own } of claims.said) {
    const level = CLAIMS.find(([pattern]) => pattern.test(words))?.[1];
    if (level === undefined || own === 0) continue;
    made[level] += 1;
    const acked = acks.filter((ack) => ack.at <= at).reduce((most, ack) => Math.max(most, ack[level]), 0);
    if (acked < own) untrue.push(`${Math.round(at)} ms: ${JSON.stringify(words)} with ${own} edits made and ${acked} acked at level ${level}`);
  }
  return { made, untrue, said: claims.said.map(({ words }) => words), acks: acks.length };
}

/** The acks of a site in what came: how far a region's log has it, and the other region's, with the moment. */
function acksOf(overheard, site) {
  const acks = [];
  const gatherers = new Map();
  for (const { at, line, bytes } of overheard) {
    const gatherer = gatherers.get(line) ?? new FrameGatherer();
    gatherers.set(line, gatherer);
    for (const { kind, bytes: frame, payloadAt } of gatherer.take(Uint8Array.from(bytes))?.frames ?? []) {
      const message = decodeMessage(kind, frame.subarray(payloadAt));
      const field = (name) => message.fields.find((each) => each.name === name).value;
      if (message?.name === "ack" && field("site") === site) {
        acks.push({ at, region: Number(field("region")), replicated: Number(field("replicated")) });
      } else if (message?.name === "open-ok") {
        for (const known of field("known")) if (known.site === site) acks.push({ at, region: Number(known.counter), replicated: 0 });
      }
    }
  }
  return acks;
}
