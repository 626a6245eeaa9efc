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
import { randomSeed } from "./machine/environment.js";
import { StandaloneBody } from "./machine/standalone.js";
import { startRehearsed, type Cast } from "./rehearsal.js";
import { UndoManager } from "./undo.js";
import { fileSource } from "./wasm/file-source.js";
import { facade, type InitInput } from "./wasm/load.js";

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

/** A document that stands alone. It begins empty and writes under a random site of its own: load what there is with `applyState`. */
export class StandaloneDoc extends Doc {
  readonly #body: StandaloneBody;

  /** Needs the module: after {@link init}. */
  constructor() {
    const body = new StandaloneBody(new (facade().Standalone)(randomSeed()));
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
  const docs = Array.from({ length: 4 }, () => new StandaloneDoc());
  const [writer, reader, ...late] = docs as [StandaloneDoc, StandaloneDoc, StandaloneDoc, StandaloneDoc];
  new UndoManager(writer);
  return { writer, reader, late, close: () => { for (const doc of docs) doc.destroy(); } };
}
