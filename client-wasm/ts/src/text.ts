/** The document's text. Lengths and places are UTF-16 units, as in every editor. */

import { diff } from "./diff.js";
import type { Doc } from "./doc.js";
import { Emitter } from "./emitter.js";
import { SelvedgeError } from "./errors.js";
import { bindBody } from "./internals.js";
import type { Body } from "./machine/body.js";
import { anchorOf, positionOf, type Position } from "./position.js";
import { deltaOf, type ChangeSource, type Delta, type TextEvent, type TextPatch } from "./text-event.js";

interface TextEvents {
  change(event: TextEvent): void;
}

class Observers extends Emitter<TextEvents> {
  tell(event: TextEvent): void { this.emit("change", event); }
  get any(): boolean { return this.listens("change"); }
}

/** A text several people write. */
export class SharedText {
  /** The document it belongs to. */
  readonly doc: Doc;
  readonly #body: Body;
  readonly #observers = new Observers();

  /** @internal Made by {@link Doc}. */
  constructor(doc: Doc, body: Body) {
    this.doc = doc;
    this.#body = body;
    bindBody(this, body);
  }

  /** Length in UTF-16 units. */
  get length(): number {
    return this.#body.ask((document) => document.length());
  }

  /** Inserts `text` before the unit at `index`. */
  insert(index: number, text: string, origin?: unknown): void {
    this.replace(index, index, text, origin);
  }

  /** Deletes `length` units from `index` on. */
  delete(index: number, length: number, origin?: unknown): void {
    this.replace(index, index + length, "", origin);
  }

  /** Replaces the units from `from` up to `to`. */
  replace(from: number, to: number, text: string, origin?: unknown): void {
    if (!Number.isInteger(from) || !Number.isInteger(to) || from < 0 || to < from) throw this.#outside(from, to);
    if (from === to && text === "") {
      if (to > this.length) throw this.#outside(from, to);
      return;
    }
    try {
      this.#body.edit(from, to - from, text, origin);
    } catch (error) {
      // Asked only now: an edit is one call of the module.
      throw to > this.length ? this.#outside(from, to) : error;
    }
  }

  /** Makes the text equal to `next` by the smallest edits; beyond `timeoutMs` (50) by one replacement. */
  update(next: string, options: { timeoutMs?: number; origin?: unknown } = {}): void {
    const patches = diff(this.toString(), next, options.timeoutMs);
    this.#body.transact(() => {
      for (const patch of patches) this.#body.edit(patch.at, patch.delete, patch.insert, options.origin);
    }, options.origin);
  }

  /** Applies a change in Quill's form; attributes are ignored. */
  applyDelta(delta: Delta, origin?: unknown): void {
    this.#body.transact(() => {
      let at = 0;
      for (const step of delta) {
        if ("retain" in step) at += step.retain;
        else if ("insert" in step) {
          this.insert(at, step.insert, origin);
          at += step.insert.length;
        } else this.delete(at, step.delete, origin);
      }
    }, origin);
  }

  /** The whole text as one insertion. */
  toDelta(): Delta {
    const text = this.toString();
    return text === "" ? [] : [{ insert: text }];
  }

  /** The whole text. Cost O(n): keep what you got, and follow changes by {@link observe}. */
  toString(): string {
    return this.#body.readText();
  }

  /** The units from `from` up to `to`. */
  slice(from = 0, to = this.length): string {
    const length = this.length;
    const start = Math.min(Math.max(0, from), length);
    const end = Math.min(Math.max(start, to), length);
    return this.#body.ask((document) => document.slice(start, end));
  }

  /** Calls `fn` after every change, from wherever, until the returned function is called. */
  observe(fn: (event: TextEvent) => void): () => void {
    this.#observers.on("change", fn);
    this.#body.watch(this.#changed);
    return () => this.unobserve(fn);
  }

  /** Undoes {@link observe}. */
  unobserve(fn: (event: TextEvent) => void): void {
    this.#observers.off("change", fn);
    if (!this.#observers.any) this.#body.unwatch(this.#changed);
  }

  /** A place that survives edits: before the character at `index` if `assoc` >= 0 (and moving with it), else after the one before. */
  positionAt(index: number, assoc: -1 | 1 = 1): Position {
    const at = Math.min(Math.max(0, Math.trunc(index)), this.length);
    return positionOf(this.#body.ask((document) => document.anchorAt(at, assoc > 0)));
  }

  /** Where a position is now. */
  indexOf(position: Position): number {
    const anchor = anchorOf(position);
    return this.#body.ask((document) => document.resolve(anchor));
  }

  /** The site that wrote the character at `index`, or null at the end. */
  authorAt(index: number): { readonly site: string } | null {
    const site = this.#body.ask((document) => document.authorAt(index));
    return site === undefined ? null : { site };
  }

  readonly #changed = (patches: readonly TextPatch[], by: ChangeSource, origin: unknown): void => {
    this.#observers.tell(new Change(this, patches, by, origin));
  };

  #outside(from: number, to: number): SelvedgeError {
    return new SelvedgeError("bad-argument", `The range ${from}..${to} does not lie in a text of ${this.length} units.`);
  }
}

class Change implements TextEvent {
  readonly target: SharedText;
  readonly changes: readonly TextPatch[];
  readonly by: ChangeSource;
  readonly origin: unknown;
  #delta: Delta | undefined;

  constructor(target: SharedText, changes: readonly TextPatch[], by: ChangeSource, origin: unknown) {
    this.target = target;
    this.changes = changes;
    this.by = by;
    this.origin = origin;
  }

  get local(): boolean {
    return this.by === "local" || this.by === "undo" || this.by === "echo";
  }

  get delta(): Delta {
    this.#delta ??= deltaOf(this.changes);
    return this.#delta;
  }
}
