/**
 * What is written: recordings, and the text cases of crdt-benchmarks (dmonad/crdt-benchmarks: B1.1-B1.7, B2.1-B2.4, B3.5,
 * N = 6,000), the same in every run. A case has `base`, the text that everybody begins with, and `sides`: for each person its
 * transactions, lists of [at, delete, insert] in UTF-16 units. `end` is the text in the end where it does not depend on how
 * edits merge, else null; `letters` is that text's letters in order of the alphabet, where these do not.
 */

import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { readTrace } from "../../browser/lib/trace.mjs";

/** Not a text, but the time until there is a document to be written in. */
export const START = "start";
const N = 6000;
const ASTRAL = /[\u{10000}-\u{10ffff}]/u;

/** The recordings of one person in a folder; those of several are left to the native bench. `leftOut` is told of each. */
export function recordings(folder, leftOut = () => {}) {
  const files = readdirSync(folder).filter((name) => /\.json(\.gz)?$/.test(name)).sort();
  return files.flatMap((file) => {
    const { start, end, agents, transactions } = readTrace(join(folder, file));
    const edits = transactions.flatMap(({ patches }) => patches);
    // Positions of recordings are in scalars: only below U+10000 are these UTF-16 units.
    const why = agents !== 1 ? "of several people" : ASTRAL.test(start) || edits.some(([, , insert]) => ASTRAL.test(insert)) ? "beyond U+FFFF" : null;
    if (why !== null) {
      leftOut(`${file}: left out: a recording ${why}`);
      return [];
    }
    const name = basename(file).replace(/\.json(\.gz)?$/, "");
    return [{ name, base: start, sides: [oneByOne(edits)], end, letters: null }];
  });
}

/** The made-up cases. */
export function madeUp() {
  const dice = new Dice(1);
  const many = (make) => Array.from({ length: N }, (_, number) => make(number));
  const anywhere = (length, text) => many(() => dice.insert(length, text()));
  const letter = () => dice.text(1);
  const word = () => dice.word();
  const text = dice.text(N);
  const clients = Math.floor(Math.sqrt(N)) * 20;
  return [
    alone("B1.1 append characters", many((at) => [at, 0, letter()])),
    alone("B1.2 insert a text", [[0, 0, text]]),
    alone("B1.3 prepend characters", many(() => [0, 0, letter()])),
    alone("B1.4 characters anywhere", anywhere({ now: 0 }, letter)),
    alone("B1.5 words anywhere", anywhere({ now: 0 }, word)),
    alone("B1.6 insert and delete", [[0, 0, text], [0, N, ""]]),
    alone("B1.7 come and go", dice.comeAndGo(0, N)),
    together("B2.1 two texts in one place", dice.text(100), () => [[0, 0, dice.text(N)]]),
    together("B2.2 characters anywhere", dice.text(100), () => anywhere({ now: 100 }, letter)),
    together("B2.3 words anywhere", dice.text(100), () => anywhere({ now: 100 }, word)),
    together("B2.4 come and go", dice.text(100), () => dice.comeAndGo(100, N)),
    together("B3.5 hundreds write at once", dice.text(1), () => [[0, 0, dice.text(8)]], clients),
  ];
}

/** The text that edits make of `base`. */
export function written(base, edits) {
  return edits.reduce((text, [at, remove, insert]) => text.slice(0, at) + insert + text.slice(at + remove), base);
}

/** The letters of a text in order of the alphabet. */
export function sorted(text) {
  return [...text].sort().join("");
}

/** One person, each edit a transaction. */
function alone(name, edits) {
  return { name, base: "", sides: [oneByOne(edits)], end: written("", edits), letters: null };
}

/** Several at the same time, each in one transaction. */
function together(name, base, edits, people = 2) {
  const sides = Array.from({ length: people }, () => [edits()]);
  const all = sides.flat(2);
  const grows = all.every(([, remove]) => remove === 0);
  return { name, base, sides, end: null, letters: grows ? sorted(base + all.map(([, , insert]) => insert).join("")) : null };
}

function oneByOne(edits) {
  return edits.map((edit) => [edit]);
}

/** SplitMix64. */
class Dice {
  #state;

  constructor(seed) {
    this.#state = BigInt(seed);
  }

  below(end) {
    this.#state = BigInt.asUintN(64, this.#state + 0x9e3779b97f4a7c15n);
    let value = this.#state;
    value = BigInt.asUintN(64, (value ^ (value >> 30n)) * 0xbf58476d1ce4e5b9n);
    value = BigInt.asUintN(64, (value ^ (value >> 27n)) * 0x94d049bb133111ebn);
    return Number((value ^ (value >> 31n)) % BigInt(Math.max(1, end)));
  }

  text(letters) {
    return Array.from({ length: letters }, () => String.fromCharCode(97 + this.below(26))).join("");
  }

  word() {
    return this.text(2 + this.below(8));
  }

  /** `text` put anywhere in a text of `length`, which grows. */
  insert(length, text) {
    const at = this.below(length.now + 1);
    length.now += text.length;
    return [at, 0, text];
  }

  /** `count` times a word put anywhere, or up to nine letters taken from there. */
  comeAndGo(length, count) {
    const now = { now: length };
    return Array.from({ length: count }, () => {
      if (now.now === 0 || this.below(2) === 0) return this.insert(now, this.word());
      const at = this.below(now.now);
      const remove = Math.min(1 + this.below(9), now.now - at);
      now.now -= remove;
      return [at, remove, ""];
    });
  }
}
