/**
 * Starts the module, and calls once what every document calls, on documents of nobody's, while the page has nothing to do: V8 compiles a
 * function of a module when it is first called, so the first key, the first update and the first load would each wait for that.
 */

import { Doc, UPDATE_BYTES_MAX } from "./doc.js";
import { instant, Link } from "./machine/link.js";
import { Replica } from "./machine/replica.js";
import { facade, start, type DefaultSource, type InitInput } from "./wasm/load.js";

/** Words of text, and how often they stand there in the end: short, so that little is compiled a second time, for speed. */
const [WORDS, TIMES] = [120, 4];

let rehearsed = false;

/** Starts the module, once per page; the rehearsal follows by itself. */
export async function begin(input: InitInput | Promise<InitInput> | undefined, source: DefaultSource): Promise<void> {
  await start(input, source);
  if (rehearsed) return;
  rehearsed = true;
  const steps = rehearsal();
  const next = (): void => {
    // What fails here fails where somebody is told of it, too.
    try { if (!steps.next().done) whenIdle(next); } catch { /* no rehearsal then */ }
  };
  whenIdle(next);
}

/** The rehearsal, in steps of a few milliseconds. @internal For tests. */
export function* rehearsal(): Generator<void> {
  const client = new (facade().Client)([], [], undefined, 0n, "", false, instant());
  const link = new Link({ client, transports: [], token: null, onEmpty: () => undefined });
  const replicas = ["writer", "reader", "late", "later"].map((name) => replicaOn(link, name));
  const [writer, reader, ...late] = replicas.map((replica) => new Doc(replica)) as [Doc, Doc, Doc, Doc];
  const { text } = writer;
  const words = Array.from({ length: WORDS }, (_, at) => (at * at * 7919 % 4093).toString(36)).join(" ");
  // A step of undo is made in another way than an edit that is none.
  const tracked = (yes: boolean): void => { if (replicas[0]) replicas[0].trackedOrigins = yes ? null : new Set(); };
  const update = new Uint8Array(UPDATE_BYTES_MAX);
  const hear = (): void => {
    for (let length = writer.flushInto(update); length > 0; length = writer.flushInto(update)) reader.applyUpdate(update.subarray(0, length));
  };
  yield;
  const edits: readonly (() => void)[] = [
    () => text.insert(0, words),
    () => text.insert(text.length >> 1, "a"),
    () => tracked(false),
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
  for (const doc of late) {
    const state = reader.encodeState();
    yield;
    doc.applyState(state);
    doc.text.toString();
    yield;
    text.insert(0, words.repeat(TIMES));
    hear();
    yield;
  }
  text.delete(0, text.length);
  hear();
  for (const replica of replicas) void replica.close();
}

function replicaOn(link: Link, document: string): Replica {
  const replica = new Replica({ document: `rehearsal/${document}`, principal: "rehearsal", link, store: null, tabs: null, keepPrincipal: false, storeProblem: null });
  link.open({ document: replica.document, principal: replica.principal, store: false }, (channel) => replica.attach(channel));
  return replica;
}

/**
 * Calls `fn` when a page has nothing else to do, not at all where a page cannot tell (Safari, which compiles nothing before it runs), and
 * soon outside pages: a program that has nothing else to do may end.
 */
function whenIdle(fn: () => void): void {
  if (typeof requestIdleCallback === "function") requestIdleCallback(fn);
  else if (typeof window === "undefined") (setTimeout(fn) as { unref?: () => void }).unref?.();
}
