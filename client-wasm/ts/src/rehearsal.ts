/**
 * Starts the module, and calls once what every document calls, on documents of nobody's, while the page has nothing to do: V8 compiles a
 * function of a module when it is first called, so the first key, the first update and the first load would each wait for that.
 */

import { UPDATE_BYTES_MAX, type Doc } from "./doc.js";
import { bodyOf } from "./internals.js";
import { start, type DefaultSource, type InitInput } from "./wasm/load.js";

/** Documents of nobody's. */
export interface Cast {
  /** It has an undo manager. */
  readonly writer: Doc;
  readonly reader: Doc;
  /** Each is gone through once. */
  readonly loads: readonly Load[];
  /** Ends them all. */
  close(): void;
}

/** A way to keep what a document has, and a document that loads it. */
export interface Load {
  keep(doc: Doc): Uint8Array;
  load(kept: Uint8Array): Doc;
}

/** Words of text, and how often they stand there in the end: short, so that little is compiled a second time, for speed. */
const [WORDS, TIMES] = [120, 4];

const rehearsed = new Set<() => Cast>();

/** Starts the module, once per page; a rehearsal with each `cast` follows by itself. */
export async function startRehearsed(input: InitInput | Promise<InitInput> | undefined, source: DefaultSource, cast: () => Cast): Promise<void> {
  await start(input, source);
  if (rehearsed.has(cast)) return;
  rehearsed.add(cast);
  const steps = rehearsal(cast);
  const next = (): void => {
    // What fails here fails where somebody is told of it, too.
    try { if (!steps.next().done) whenIdle(next); } catch { /* no rehearsal then */ }
  };
  whenIdle(next);
}

/** The rehearsal, in steps of a few milliseconds. @internal For tests. */
export function* rehearsal(cast: () => Cast): Generator<void> {
  const { writer, reader, loads, close } = cast();
  const { text } = writer;
  const words = Array.from({ length: WORDS }, (_, at) => (at * at * 7919 % 4093).toString(36)).join(" ");
  // A step of undo is made in another way than an edit that is none.
  const untracked = (): void => { bodyOf(writer).trackedOrigins = new Set(); };
  const update = new Uint8Array(UPDATE_BYTES_MAX);
  const hear = (): void => {
    for (let length = writer.flushInto(update); length > 0; length = writer.flushInto(update)) reader.applyUpdate(update.subarray(0, length));
  };
  yield;
  const edits: readonly (() => void)[] = [
    () => text.insert(0, words),
    () => text.insert(text.length >> 1, "a"),
    untracked,
    () => text.insert((text.length >> 1) + 1, "b"),
    () => text.delete(text.length >> 2, 1),
    () => text.insert(7, "c"),
    () => text.delete(0, text.length >> 2),
  ];
  for (const edit of edits) {
    edit();
    hear();
    yield;
  }
  // Short text and text that repeats are kept in different ways.
  for (const { keep, load } of loads) {
    const kept = keep(reader);
    yield;
    const loaded = load(kept);
    loaded.text.toString();
    yield;
    // Some leave the rest of a load until it is needed.
    loaded.encodeStateVector();
    yield;
    text.insert(0, words.repeat(TIMES));
    hear();
    yield;
  }
  text.delete(0, text.length);
  hear();
  close();
}

/**
 * Calls `fn` when a page has nothing else to do, not at all where a page cannot tell (Safari, which compiles nothing before it runs), and
 * soon outside pages: a program that has nothing else to do may end.
 */
function whenIdle(fn: () => void): void {
  if (typeof requestIdleCallback === "function") requestIdleCallback(fn);
  else if (typeof window === "undefined") (setTimeout(fn) as { unref?: () => void }).unref?.();
}
