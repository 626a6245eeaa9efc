/**
 * `selvedge/standalone`: a document by itself, without a room. For who brings transport and store of his own, and for servers, workers
 * and tests: nothing is connected, stored or shared between tabs.
 *
 *     await init();
 *     const doc = new StandaloneDoc();
 *     doc.on("update", (update) => send(update));
 *     doc.text.insert(0, "Hello");
 */

import { Doc } from "./doc.js";
import { StandaloneBody } from "./machine/standalone.js";
import { startRehearsed, type Cast, type Load } from "./rehearsal.js";
import { UndoManager } from "./undo.js";
import { fileSource } from "./wasm/file-source.js";
import type { InitInput } from "./wasm/load.js";

export { Doc, UPDATE_BYTES_MAX, type DocEvents, type DocStats } from "./doc.js";
export { SelvedgeError, type ErrorCode } from "./errors.js";
export { SharedMeta, type MetaValue } from "./meta.js";
export { positionFromJSON, type Position } from "./position.js";
export { SharedText } from "./text.js";
export type { ChangeSource, Delta, TextEvent, TextPatch } from "./text-event.js";
export { UndoManager, type UndoEvents, type UndoOptions } from "./undo.js";
export { UpdateDecoder, UpdateEncoder } from "./update-stream.js";
export { isReady, type InitInput } from "./wasm/load.js";

/** Fetches and starts the wasm module, which every document needs. Safe to call many times. */
export function init(input?: InitInput | Promise<InitInput>): Promise<void> {
  return startRehearsed(input, fileSource, standaloneCast);
}

/** A document that stands alone. It writes under a random site of its own. */
export class StandaloneDoc extends Doc {
  readonly #body: StandaloneBody;

  /**
   * Needs the module: after {@link init}. Empty, or as a snapshot of {@link Doc.encodeSnapshot} has it: `text.toString()` and
   * `text.toDelta()` give its text at once. Any other call first reads what else there is, which takes up to 1 ms for each 1,000 places
   * where text was written; of a snapshot of up to 1 KiB it is read at once.
   *
   * Throws `stored-copy` for bytes that are no snapshot, or damaged. Where what waits is found to be nothing this package wrote, every
   * call does that needs it, and the text can still be read.
   */
  constructor(snapshot?: Uint8Array) {
    const body = new StandaloneBody(snapshot);
    super(body);
    this.#body = body;
  }

  /** Tells what was edited last, and gives the memory back; nothing can be asked of the document after that. Idempotent. */
  destroy(): void {
    this.#body.destroy();
    this.clearListeners();
  }

  [Symbol.dispose](): void {
    this.destroy();
  }
}

/** @internal For tests. */
export function standaloneCast(): Cast {
  const docs: StandaloneDoc[] = [];
  const made = (snapshot?: Uint8Array): StandaloneDoc => {
    const doc = new StandaloneDoc(snapshot);
    docs.push(doc);
    return doc;
  };
  const [writer, reader] = [made(), made()];
  new UndoManager(writer);
  const opened: Load = { keep: (doc) => doc.encodeSnapshot(), load: made };
  const merged: Load = {
    keep: (doc) => doc.encodeState(),
    load: (kept) => {
      const doc = made();
      doc.applyState(kept);
      return doc;
    },
  };
  return { writer, reader, loads: [opened, merged, opened], close: () => { for (const doc of docs) doc.destroy(); } };
}
