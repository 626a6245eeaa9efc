/**
 * Plays a recording through real pages, one browser per person: each page makes its own person's transactions at the recorded
 * causal point. Before each it lets in exactly those transactions of the others that are in the recorded past, and holds the
 * rest back. Between these points everybody writes and sends as freely as the people did.
 */

import { dotOf, join, readVector, writeVector } from "./causal.mjs";
import { together } from "./together.mjs";

const END_WITHIN_MS = 300_000;
const SEE_WITHIN_MS = 60_000;
/** Transactions made in one go: the page must stay able to receive. */
const BATCH_MAX = 200;
const SHOWN = 30;
const ASTRAL = /[\u{10000}-\u{10ffff}]/u;

/**
 * Plays `trace` in `tabs`, one per person (and one that watches a single one); `relays` are asked for the text of `name` in the
 * end; `step` is told how many transactions were just made. Resolves when all replicas, editors and relays agree: `elapsedMs`,
 * the text's `length` in scalars, and `difference`, null where it is the recording's. Throws where they do not agree, or when a
 * step does not happen in time.
 */
export async function play(trace, { tabs, relays, name, step }) {
  if (trace.start !== "") {
    await tabs[0].page.evaluate((text) => window.selvedge.room.text.insert(0, text), trace.start);
    await together(...tabs.map((tab) => tab.hasText(trace.start)));
  }
  const hasAstral = ASTRAL.test(trace.start) || trace.transactions.some(({ patches }) => patches.some(([, , insert]) => ASTRAL.test(insert)));
  const writers = tabs.map((tab, agent) => new Writer(tab.page, agent, trace));
  await together(...writers.map((writer) => writer.begin(hasAstral)));
  const began = performance.now();
  await together(...writers.map((writer) => writer.write(writers, step)));
  const text = await agreed(tabs, relays, name);
  return { elapsedMs: performance.now() - began, length: [...text].length, difference: await difference(text, trace, tabs[0], writers) };
}

/** One person in one page. */
class Writer {
  /** The recording's number of the first transaction that did not fit the text before it. */
  misfit = Infinity;
  #page;
  #agent;
  #own;
  /** Everything this page may have of others. */
  #held = new Map();
  /** The vector after so many transactions, and the dot that ends each; the first are those of the starting text. */
  #marks = [];
  #waiting = [];

  constructor(page, agent, { transactions }) {
    this.#page = page;
    this.#agent = agent;
    this.#own = transactions.map((transaction, index) => ({ ...transaction, index })).filter((transaction) => transaction.agent === agent);
  }

  /** Gives the page what it needs, and holds back everything it does not have yet. */
  async begin(hasAstral) {
    const mark = await this.#page.evaluate(prepare, { hasAstral, SEE_WITHIN_MS });
    this.#remember([mark]);
    this.#held = readVector(mark.vector);
  }

  /** The vector after `count` of this person's transactions; waits until they are made. */
  #mark(count) {
    const mark = this.#marks[count];
    return mark !== undefined ? Promise.resolve(mark.vector) : new Promise((resolve) => this.#waiting.push({ count, resolve }));
  }

  /** Makes all transactions, each as soon as its past is there. Parents come before their children, so nobody waits for ever. */
  async write(writers, step) {
    const own = this.#own;
    for (let made = 0; made < own.length; ) {
      await this.#see(own[made].past, writers, own[made].index);
      let end = made + 1;
      while (end - made < BATCH_MAX && end < own.length && this.#samePast(own[made].past, own[end].past)) end += 1;
      const marks = await this.#page.evaluate((transactions) => window.replay.make(transactions), own.slice(made, end).map(({ patches }) => patches));
      marks.forEach(({ fits }, number) => {
        if (!fits) this.misfit = Math.min(this.misfit, own[made + number].index);
      });
      this.#remember(marks);
      step(end - made);
      made = end;
    }
  }

  /** The recording's number of the transaction that wrote a dot of this person's, or null. */
  author({ site, counter }) {
    let [low, high] = [0, this.#marks.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#marks[middle].counter < counter) low = middle + 1;
      else high = middle;
    }
    return this.#marks[low]?.site === site ? (this.#own[low - 1]?.index ?? null) : null;
  }

  #samePast(left, right) {
    return left.every((count, agent) => agent === this.#agent || count === right[agent]);
  }

  #remember(marks) {
    for (const { vector, site } of marks) {
      const read = readVector(vector);
      const id = site === null ? null : BigInt(`0x${site}`);
      this.#marks.push({ vector: read, site: id, counter: id === null ? 0n : (read.get(id) ?? 0n) });
    }
    const reached = (waiting) => waiting.count < this.#marks.length;
    for (const { count, resolve } of this.#waiting.filter(reached)) resolve(this.#marks[count].vector);
    this.#waiting = this.#waiting.filter((waiting) => !reached(waiting));
  }

  /** Lets in what is in a transaction's past, waits for it, and checks that nothing else came. */
  async #see(past, writers, index) {
    const before = writeVector(this.#held);
    for (const [agent, count] of past.entries()) if (agent !== this.#agent) join(this.#held, await writers[agent].#mark(count));
    const mark = writeVector(this.#held);
    if (String(mark) === String(before)) return;
    const { vector, site } = await this.#page.evaluate((wanted) => window.replay.see(wanted), mark);
    const own = site === null ? null : BigInt(`0x${site}`);
    const beyond = [...readVector(vector)].filter(([id, counter]) => id !== own && counter > (this.#held.get(id) ?? 0n));
    if (beyond.length > 0) throw new Error(`transaction ${index}: the page has more than its past: ${beyond.join("; ")}`);
  }
}

/** Runs in the page: makes `window.replay`, and answers as its `make` does. */
function prepare({ hasAstral, SEE_WITHIN_MS }) {
  const { room } = window.selvedge;
  const { doc, text } = room;
  const mark = () => ({ vector: [...doc.encodeStateVector()], site: doc.site });
  /** Makes a patch as near as it can be; answers whether it fitted. The recording counts Unicode scalars. */
  const patched = ([at, remove, insert]) => {
    const whole = hasAstral ? text.toString() : null;
    const [from, to] = [unit(whole, at), unit(whole, at + remove)];
    text.replace(from.unit, to.unit, insert);
    return from.fits && to.fits;
  };
  /** Place of a scalar in units, the end for one beyond it; without astral characters (`whole` is null) they are the same. */
  const unit = (whole, scalars) => {
    if (whole === null) return { unit: Math.min(scalars, text.length), fits: scalars <= text.length };
    let [at, passed] = [0, 0];
    for (; passed < scalars && at < whole.length; passed += 1) at += whole.codePointAt(at) > 0xffff ? 2 : 1;
    return { unit: at, fits: passed === scalars };
  };
  const covered = async (vector, what) => {
    const deadline = performance.now() + SEE_WITHIN_MS;
    // Not every delta changes the text (both may delete one character), so no event tells of all of them.
    while (!doc.covers(Uint8Array.from(vector))) {
      if (performance.now() > deadline) {
        const { status, saved } = room.relay;
        throw new Error(`${what} did not come within ${SEE_WITHIN_MS} ms: ${JSON.stringify({ status, saved, wanted: vector, own: [...doc.encodeStateVector()] })}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  window.replay = {
    /** Others let in whole deltas up to some transaction: each ends where one does. */
    make: (transactions) => transactions.map((patches) => ({ fits: patches.map(patched).every((fits) => fits), ...mark() })),
    async see(vector) {
      doc.holdRemote(Uint8Array.from(vector));
      await covered(vector, "the others' text");
      return mark();
    },
    covered,
    release() {
      doc.holdRemote(null);
    },
    /** The positions of the characters that begin within these units. */
    positions(from, to) {
      const places = [];
      for (let at = from; at < to; at += text.slice(at, at + 2).codePointAt(0) > 0xffff ? 2 : 1) places.push(text.positionAt(at).toJSON());
      return places;
    },
  };
  const here = mark();
  doc.holdRemote(Uint8Array.from(here.vector));
  return { fits: true, ...here };
}

/** Lifts all holds, and waits until everybody and every relay have the same text. */
async function agreed(tabs, relays, name) {
  const pages = tabs.map(({ page }) => page);
  await together(...pages.map((page) => page.evaluate(() => window.replay.release())));
  await within(END_WITHIN_MS, together(...tabs.map((tab) => tab.saved("replicated"))), "not everything was acknowledged at the highest level");
  const all = new Map();
  for (const vector of await together(...pages.map((page) => page.evaluate(() => [...window.selvedge.room.doc.encodeStateVector()])))) join(all, readVector(vector));
  await together(...pages.map((page) => page.evaluate((wanted) => window.replay.covered(wanted, "everything"), writeVector(all))));
  const texts = await together(...tabs.map((tab) => tab.text()));
  texts.forEach((text, number) => {
    if (text !== texts[0]) throw new Error(`page ${number} and page 0 have the same operations and other texts${place(text, texts[0])}`);
  });
  for (const relay of relays) {
    const answer = await fetch(`${relay}/v1/docs/default/${encodeURIComponent(name)}/text`);
    const stored = await answer.text();
    if (!answer.ok) throw new Error(`the relay at ${relay} answered ${answer.status} when it was asked for the text: ${stored}`);
    if (stored !== texts[0]) throw new Error(`the text of the relay at ${relay} is not the pages'${place(stored, texts[0])}`);
  }
  return texts[0];
}

/** Where our text is not the recording's, and by which transaction: the first known to differ. */
async function difference(text, trace, tab, writers) {
  const misfit = Math.min(...writers.map((writer) => writer.misfit));
  if (text === trace.end && misfit === Infinity) return null;
  const [ours, recorded] = [[...text], [...trace.end]];
  const at = common(ours, recorded);
  const sameEnd = common(ours.slice(at).reverse(), recorded.slice(at).reverse());
  const units = (count) => ours.slice(0, count).join("").length;
  const [from, to] = [units(at), units(Math.max(at + 1, ours.length - sameEnd))];
  const positions = await tab.page.evaluate(([first, end]) => window.replay.positions(first, end), [from, to]);
  let transaction = misfit;
  for (const position of positions) {
    const dot = dotOf(position);
    const authors = dot === null ? [] : writers.map((writer) => writer.author(dot) ?? Infinity);
    transaction = Math.min(transaction, ...authors);
  }
  return {
    transaction: transaction === Infinity ? null : transaction,
    at,
    ours: ours.slice(at, at + SHOWN).join(""),
    recorded: recorded.slice(at, at + SHOWN).join(""),
  };
}

function place(left, right) {
  const [a, b] = [[...left], [...right]];
  const at = common(a, b);
  const from = (scalars) => JSON.stringify(scalars.slice(at, at + SHOWN).join(""));
  return `: from character ${at}, ${from(a)} and ${from(b)}`;
}

function common(left, right) {
  let at = 0;
  while (at < left.length && left[at] === right[at]) at += 1;
  return at;
}

async function within(ms, happens, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} within ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([happens, late]);
  } finally {
    clearTimeout(timer);
  }
}
