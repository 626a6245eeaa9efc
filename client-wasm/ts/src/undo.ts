/** Undo of this page's own edits; nobody else's text is touched. */

import type { Doc } from "./doc.js";
import { Emitter } from "./emitter.js";
import { replicaOf } from "./internals.js";
import type { SharedText } from "./text.js";
import type { Replica } from "./machine/replica.js";
import { instant } from "./machine/link.js";

/** What an undo manager tells. */
export interface UndoEvents {
  "stack-item-added"(): void;
  "stack-item-popped"(event: { readonly type: "undo" | "redo" }): void;
  "stack-cleared"(): void;
}

/** Steps back and forth through this page's edits. Deleted text comes back as new text in its old place. */
export class UndoManager extends Emitter<UndoEvents> {
  readonly #replica: Replica;
  readonly #captureMs: number;
  #lastEdit = -Infinity;

  /** `captureTimeout`: edits closer together than this many milliseconds (500) are one step. */
  constructor(scope: Doc | SharedText, options: { captureTimeout?: number } = {}) {
    super();
    const replica = replicaOf(scope);
    this.#replica = replica;
    this.#captureMs = options.captureTimeout ?? 500;
    replica.on("beforeEdit", () => this.#beforeEdit());
  }

  /** Takes the last step back; false if there is none. */
  undo(): boolean {
    return this.#step("undo");
  }

  /** Takes back the last undo; false if there is none. */
  redo(): boolean {
    return this.#step("redo");
  }

  canUndo(): boolean {
    return this.#replica.ask((client, channel) => client.canUndo(channel));
  }

  canRedo(): boolean {
    return this.#replica.ask((client, channel) => client.canRedo(channel));
  }

  /** The next edit begins a new step. */
  stopCapturing(): void {
    this.#lastEdit = -Infinity;
  }

  /** Forgets every step. */
  clear(): void {
    this.#replica.ask((client, channel) => client.clearUndo(channel));
    this.emit("stack-cleared");
  }

  #beforeEdit(): void {
    const now = instant();
    if (now - this.#lastEdit > this.#captureMs) {
      this.#replica.ask((client, channel) => client.stopCapturing(channel));
      queueMicrotask(() => this.emit("stack-item-added"));
    }
    this.#lastEdit = now;
  }

  #step(type: "undo" | "redo"): boolean {
    if (!this.#replica.writable || !(type === "undo" ? this.canUndo() : this.canRedo())) return false;
    this.stopCapturing();
    const done = this.#replica.step(type);
    if (done) this.emit("stack-item-popped", { type });
    return done;
  }
}
