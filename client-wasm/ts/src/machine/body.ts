/**
 * What stands behind the views of a document: doc, text, meta, undo, editors. It holds what they share. A document of a room has a
 * `Replica`, on a link; one that stands alone a `StandaloneBody`.
 */

import { Emitter } from "../emitter.js";
import { SelvedgeError } from "../errors.js";
import type { Rights, SaveState, Status } from "../status.js";
import type { StoreError } from "../store/store.js";
import type { ChangeSource, TextPatch } from "../text-event.js";
import type { Reading } from "../wasm/selvedge.js";
import type { PresenceChange } from "./effects.js";

/** What a body tells its views; one that stands alone has nothing to tell of a link, a store or others. */
export interface BodyEvents {
  text(patches: readonly TextPatch[], by: ChangeSource, origin: unknown): void;
  /** A text edit of this page that undo will know is about to be made. */
  beforeTrackedEdit(): void;
  meta(): void;
  /** A sealed delta of this load that the device has stored. */
  delta(bytes: Uint8Array): void;
  status(status: Status): void;
  saved(state: SaveState): void;
  rights(rights: Rights): void;
  /** Whether edits are taken has changed: by rights, by a refusal or its end, or by the document's. */
  writable(writable: boolean): void;
  presence(changes: readonly PresenceChange[]): void;
  session(session: number | null): void;
  refused(code: number, message: string): void;
  /** Everything the relay had when asked is here. */
  synced(): void;
  reset(info: ResetInfo): void;
  closed(code: number, reason: string): void;
  /** The answer of the browser to being asked to keep this origin's data. */
  persisted(granted: boolean): void;
  storeFailed(error: StoreError): void;
  /** The last moment at which presence can be told. */
  leaving(): void;
  /** The body is gone for good. */
  destroyed(): void;
}

/** What starting over gave up. */
export interface ResetInfo {
  /** The document's new generation. */
  readonly generation: number;
  /** The copy given up, a snapshot for the application to keep: a `StandaloneDoc` opens it. */
  readonly previous: Uint8Array;
  /** How many of its edits no server had. */
  readonly unsentOps: number;
}

/** How edits become changes that are told, and who is told; where text is kept is the subclasses' matter. */
export abstract class Body extends Emitter<BodyEvents> {
  /** The document's full name; empty for one that stands alone. */
  abstract readonly document: string;
  /** Whose edits are undo steps, where there is an undo manager; null: everybody's in this page. */
  trackedOrigins: Set<unknown> | null = null;
  #transaction: { origin: unknown; patches: TextPatch[]; by: ChangeSource } | null = null;
  readonly #changes: Parameters<BodyEvents["text"]>[] = [];
  #telling = false;

  abstract get destroyed(): boolean;
  /** Whether edits are taken at present. */
  abstract get writable(): boolean;
  /** Number of this document's life: a rebuilt one has another. 0 before a server was asked. */
  abstract get generation(): number;

  /** The whole text. */
  abstract readText(): string;
  /** Asks the module about this document. */
  abstract ask<T>(question: (document: Reading) => T): T;
  /** Seals what was edited until now, and tells it where no store tells when it is safe. */
  abstract flush(): void;
  /** {@link flush} of the next update into `target`, where only the caller and other tabs are to have it; its length, or 0. */
  abstract flushInto(target: Uint8Array, at: number): number;
  /** Merges another replica's delta. False: one before it is missing. */
  abstract apply(delta: Uint8Array): boolean;
  /** Merges another replica's state. */
  abstract applyState(state: Uint8Array): void;
  /** Keeps what others wrote beyond `vector` aside. */
  abstract holdRemote(vector: Uint8Array | undefined): void;
  /** Writes one entry of the `meta` map; without a value removes it. */
  abstract setMeta(key: string, value: Uint8Array | undefined): void;
  /** What comes next is an undo step of its own. */
  abstract stopCapturing(): void;
  /** Forgets every undo step. */
  abstract clearUndo(): void;

  /** Throws unless edits are taken. */
  protected abstract mayWrite(): void;
  /** Comes before an edit: throws if the document is gone, and tells the changes that come before it. */
  protected abstract beginEdit(): void;
  /** Replaces text; how many echo patches {@link owedPatches} has. */
  protected abstract replaceText(at: number, remove: number, insert: string, tracked: boolean): number;
  /** Takes a step back or forth; how many patches {@link owedPatches} has. */
  protected abstract stepText(type: "undo" | "redo"): number;
  /** The patches that the last edit or step owes its editor. */
  protected abstract owedPatches(): TextPatch[];
  /** Comes after an edit. */
  protected endEdit(): void {}
  /** Whether somebody asks for changes of the text may have changed. */
  protected watchersChanged(): void {}

  /** Runs `fn`; all text changes inside it are told as one, with `origin`. Nested calls join the outer one. */
  transact<T>(fn: () => T, origin: unknown, by: ChangeSource = "local"): T {
    if (this.#transaction) return fn();
    const transaction = { origin, patches: [] as TextPatch[], by };
    this.#transaction = transaction;
    try {
      return fn();
    } finally {
      this.#transaction = null;
      if (transaction.patches.length > 0) this.tellText(transaction.patches, by, origin);
    }
  }

  /** Replaces text of this document; what Unicode does not allow comes back as an echo. */
  edit(at: number, remove: number, insert: string, origin: unknown): void {
    if (remove === 0 && insert === "") return;
    this.beginEdit();
    // Without an undo manager nobody takes steps back.
    const tracked = this.listens("beforeTrackedEdit") && this.#beginTracked(origin);
    // A closure here would have its context made at each edit, also at one that nobody watches.
    if (this.listens("text")) this.#editWatched(at, remove, insert, tracked, origin);
    else this.replaceText(at, remove, insert, tracked);
    this.endEdit();
  }

  /** Takes a step back or forth; the text is told in the same call. Returns whether there was one. */
  step(type: "undo" | "redo"): boolean {
    const owed = this.stepText(type);
    if (owed > 0) this.tellText(this.owedPatches(), "undo", "undo");
    return owed > 0;
  }

  /** Calls `fn` with every change of the text: a link's machine tells those from elsewhere only while somebody asks. */
  watch(fn: BodyEvents["text"]): () => void {
    this.on("text", fn);
    this.watchersChanged();
    return () => this.unwatch(fn);
  }

  /** Undoes {@link watch}. */
  unwatch(fn: BodyEvents["text"]): void {
    this.off("text", fn);
    this.watchersChanged();
  }

  /** Every listener hears of every change in the order they happened, also of those a listener makes. */
  protected tellText(...change: Parameters<BodyEvents["text"]>): void {
    this.#changes.push(change);
    if (this.#telling) return;
    this.#telling = true;
    try {
      for (let next = this.#changes.shift(); next; next = this.#changes.shift()) this.emit("text", ...next);
    } finally {
      this.#telling = false;
    }
  }

  protected gone(): SelvedgeError {
    return new SelvedgeError("closed", this.document === "" ? "The document is closed." : `The document ${this.document} is closed.`);
  }

  /** Whether an edit of `origin` is an undo step; then who takes steps back is told that it comes. */
  #beginTracked(origin: unknown): boolean {
    const tracked = this.#tracks(this.#transaction ? this.#transaction.origin : origin);
    if (tracked) {
      this.mayWrite();
      this.emit("beforeTrackedEdit");
    }
    return tracked;
  }

  #editWatched(at: number, remove: number, insert: string, tracked: boolean, origin: unknown): void {
    this.transact(() => this.#replace(at, remove, insert, tracked), origin);
  }

  #replace(at: number, remove: number, insert: string, tracked: boolean): void {
    const echoes = this.replaceText(at, remove, insert, tracked);
    this.#transaction?.patches.push({ at, delete: remove, insert });
    if (echoes > 0) this.#echo();
  }

  /** Tells the edit so far, then its correction, so that what follows counts from a text its author can have. */
  #echo(): void {
    const patches = this.owedPatches();
    const transaction = this.#transaction;
    if (transaction && transaction.patches.length > 0) {
      this.tellText(transaction.patches, transaction.by, transaction.origin);
      transaction.patches = [];
    }
    this.tellText(patches, "echo", "echo");
  }

  /** Whether an edit of `origin` is an undo step: named itself, or by what made it. No origin is null. */
  #tracks(origin: unknown): boolean {
    const tracked = this.trackedOrigins;
    if (tracked === null) return true;
    if (origin === undefined || origin === null) return tracked.has(null) || tracked.has(undefined);
    return tracked.has(origin) || tracked.has((origin as object).constructor);
  }
}
