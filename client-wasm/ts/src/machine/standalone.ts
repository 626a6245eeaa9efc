/** What stands behind a document that has no room: the module's document alone. */

import { guarded } from "../emitter.js";
import { facadeError, SelvedgeError } from "../errors.js";
import type { ChangeSource, TextPatch } from "../text-event.js";
import type * as Facade from "../wasm/selvedge.js";
import { facade } from "../wasm/load.js";
import { Body } from "./body.js";
import { randomSeed } from "./environment.js";
import { callWindow, utf16Of } from "./window.js";

/** For what comes at the end of a task: in Node, `queueMicrotask` costs several times as much. */
const settled = Promise.resolve();

/** Up to how many bytes a snapshot is read when it is opened: of so little nothing is worth waiting for. */
const READ_AT_ONCE_BYTES = 1024;

/** What the module answers to an update. */
const MISSING = 0;
const APPLIED_META = 2;

/** A document whose updates the application carries. */
export class StandaloneBody extends Body {
  readonly document = "";
  /** The module's document, of which all but the text may wait to be read: what needs more asks {@link #inner}. */
  readonly #opened: Facade.Standalone;
  #waiting: boolean;
  #destroyed = false;
  #scheduled = false;
  /** Whether something was edited that was not flushed. */
  #unsealed = false;
  #flushing = false;
  readonly #endTask = (): void => {
    this.#scheduled = false;
    if (this.#unsealed && !this.#destroyed) guarded(() => this.flush());
  };

  /** An empty document, or one as `snapshot` has it. */
  constructor(snapshot: Uint8Array | undefined) {
    super();
    const { Standalone } = facade();
    try {
      this.#opened = new Standalone(randomSeed(), snapshot);
    } catch (cause) {
      throw facadeError(cause);
    }
    this.#waiting = snapshot !== undefined;
    if (snapshot !== undefined && snapshot.length <= READ_AT_ONCE_BYTES) {
      // What is wrong with it is said to who needs more than its text, as of a larger one.
      try { this.#opened.read(); this.#waiting = false; } catch { /* it goes on waiting */ }
    }
  }

  get destroyed(): boolean { return this.#destroyed; }
  get writable(): boolean { return !this.#destroyed; }
  get generation(): number { return 0; }

  readText(): string {
    if (this.#destroyed) throw this.gone();
    try {
      return this.#opened.text();
    } catch (cause) {
      throw this.#failed(cause);
    }
  }

  ask<T>(question: (document: Facade.Reading) => T): T {
    return this.#call(question);
  }

  flush(): void {
    if (this.#destroyed) throw this.gone();
    // Called by a listener: the loop that called it comes to it once every listener has heard of the update before.
    if (this.#flushing) return;
    this.#flushing = true;
    try {
      this.#tellAll();
    } finally {
      this.#flushing = false;
    }
  }

  flushInto(target: Uint8Array, at: number): number {
    if (this.#destroyed) throw this.gone();
    if (this.#flushing) throw new SelvedgeError("update", "`flushInto` cannot be called by a listener.");
    const length = this.#flushNext();
    if (length > 0) callWindow.readInto(target, at, length);
    return length;
  }

  apply(delta: Uint8Array): boolean {
    if (this.#destroyed) throw this.gone();
    let applied: number;
    try {
      applied = this.#inner.apply(callWindow.write(delta));
      if (applied < 0) this.#inner.explain();
    } catch (cause) {
      throw this.#failed(cause);
    }
    if (applied === MISSING) return false;
    if (this.listens("text")) this.#tell(this.#patches((inner, shell) => inner.takeChanges(shell)), "remote");
    if (applied === APPLIED_META) this.emit("meta");
    return true;
  }

  applyState(state: Uint8Array): void {
    const watched = this.listens("text");
    const meta = this.#call((inner) => inner.applyState(state, watched));
    if (watched) this.#tell(this.owedPatches(), "restore");
    if (meta) this.emit("meta");
  }

  holdRemote(): void {
    throw new SelvedgeError("bad-argument", "A document that stands alone has what it is given: hold the updates back yourself.");
  }

  setMeta(key: string, value: Uint8Array | undefined): void {
    this.#call((inner) => inner.setMeta(key, value));
    this.#tellSoon();
    this.emit("meta");
  }

  stopCapturing(): void {
    this.#call((inner) => inner.stopCapturing());
  }

  clearUndo(): void {
    this.#call((inner) => inner.clearUndo());
  }

  /** The document is gone, and its memory given back. Idempotent. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#tellAll();
    // A listener may have done it.
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#opened.free();
    this.emit("destroyed");
    this.clearListeners();
  }

  protected mayWrite(): void {
    if (this.#destroyed) throw this.gone();
  }

  protected beginEdit(): void {
    if (this.#destroyed) throw this.gone();
  }

  protected replaceText(at: number, remove: number, insert: string, tracked: boolean): number {
    try {
      const length = callWindow.writeText(insert);
      const echoes = length < 0
        ? this.#inner.editUtf16(at, remove, utf16Of(insert), tracked)
        : this.#inner.edit(at, remove, length, tracked);
      if (echoes < 0) this.#inner.explain();
      this.#tellSoon();
      return echoes;
    } catch (cause) {
      throw this.#failed(cause);
    }
  }

  protected stepText(type: "undo" | "redo"): number {
    const owed = this.#call((inner) => inner[type]());
    this.#tellSoon();
    return owed;
  }

  protected owedPatches(): TextPatch[] {
    return this.#patches((inner, shell) => inner.takePatches(shell));
  }

  /** What is edited in one task is told at its end, unless who is told of the edit itself flushes it. */
  #tellSoon(): void {
    this.#unsealed = true;
    if (this.#scheduled) return;
    this.#scheduled = true;
    void settled.then(this.#endTask);
  }

  #tellAll(): void {
    for (let length = this.#flushNext(); length > 0; length = this.#flushNext()) this.emit("delta", callWindow.read(length));
  }

  /** Puts the next update into the window; its length, or 0: there is none, or a listener destroyed the document. */
  #flushNext(): number {
    if (!this.#unsealed || this.#destroyed) return 0;
    try {
      const length = this.#inner.flush();
      this.#unsealed = length < 0;
      return Math.abs(length);
    } catch (cause) {
      throw this.#failed(cause);
    }
  }

  #tell(patches: TextPatch[], by: ChangeSource): void {
    if (patches.length > 0) this.tellText(patches, by, by);
  }

  #patches(take: (inner: Facade.Standalone, shell: Facade.Shell) => void): TextPatch[] {
    const patches: TextPatch[] = [];
    // Of a shell, this is all that is called for it.
    const shell: Pick<Facade.Shell, "textPatch"> = { textPatch: (at, remove, insert) => void patches.push({ at, delete: remove, insert }) };
    this.#call((inner) => take(inner, shell as Facade.Shell));
    return patches;
  }

  /** The module's document, all of it read. */
  get #inner(): Facade.Standalone {
    if (this.#waiting) {
      this.#opened.read();
      this.#waiting = false;
    }
    return this.#opened;
  }

  #call<T>(call: (inner: Facade.Standalone) => T): T {
    if (this.#destroyed) throw this.gone();
    try {
      return call(this.#inner);
    } catch (cause) {
      throw this.#failed(cause);
    }
  }

  #failed(cause: unknown): SelvedgeError {
    // The module stopped inside a call: nothing it holds can be trusted.
    if (cause instanceof WebAssembly.RuntimeError) this.#destroyed = true;
    return facadeError(cause);
  }
}
