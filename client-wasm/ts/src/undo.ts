/** Undo of this page's own edits; nobody else's text is touched. */

import type { Doc } from "./doc.js";
import { Emitter } from "./emitter.js";
import { bodyOf } from "./internals.js";
import type { SharedText } from "./text.js";
import type { Body } from "./machine/body.js";
import { instant } from "./machine/environment.js";

/** What an undo manager tells. */
export interface UndoEvents {
  "stack-item-added"(): void;
  "stack-item-popped"(event: { readonly type: "undo" | "redo" }): void;
  "stack-cleared"(): void;
}

/** How edits become steps. */
export interface UndoOptions {
  /** Edits closer together than this many milliseconds are one step: 500. */
  readonly captureTimeout?: number;
  /**
   * The origins, or the classes of origins, whose edits are steps; `null` stands for edits without one. Absent: every edit of
   * this page. Edits of other origins are never taken back, and end no step.
   */
  readonly trackedOrigins?: Iterable<unknown>;
}

/**
 * Steps back and forth through this page's edits. Deleted text comes back as new text in its old place.
 *
 * A document has one row of steps, whoever goes through it; of several managers' origins the last ones given count.
 */
export class UndoManager extends Emitter<UndoEvents> {
  readonly #body: Body;
  readonly #captureMs: number;
  #lastEdit = -Infinity;

  constructor(scope: Doc | SharedText, options: UndoOptions = {}) {
    super();
    const body = bodyOf(scope);
    this.#body = body;
    this.#captureMs = options.captureTimeout ?? 500;
    if (options.trackedOrigins) body.trackedOrigins = new Set(options.trackedOrigins);
    body.on("beforeTrackedEdit", () => this.#beforeEdit());
  }

  /** The origins whose edits are steps, to be added to and taken from; null while every edit of this page is one. */
  get trackedOrigins(): Set<unknown> | null {
    return this.#body.trackedOrigins;
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
    return this.#body.ask((document) => document.canUndo());
  }

  canRedo(): boolean {
    return this.#body.ask((document) => document.canRedo());
  }

  /** The next edit begins a new step. */
  stopCapturing(): void {
    this.#lastEdit = -Infinity;
  }

  /** Forgets every step. */
  clear(): void {
    this.#body.clearUndo();
    this.emit("stack-cleared");
  }

  #beforeEdit(): void {
    const now = instant();
    if (now - this.#lastEdit > this.#captureMs) {
      this.#body.stopCapturing();
      queueMicrotask(() => this.emit("stack-item-added"));
    }
    this.#lastEdit = now;
  }

  #step(type: "undo" | "redo"): boolean {
    if (!this.#body.writable || !(type === "undo" ? this.canUndo() : this.canRedo())) return false;
    this.stopCapturing();
    const done = this.#body.step(type);
    if (done) this.emit("stack-item-popped", { type });
    return done;
  }
}
