/** A document: one text, a small map, and the updates that carry both. */

import { Emitter } from "./emitter.js";
import { SelvedgeError } from "./errors.js";
import { bindBody } from "./internals.js";
import { SharedMeta } from "./meta.js";
import type { Body, ResetInfo } from "./machine/body.js";
import { SharedText } from "./text.js";

/** Bytes of the longest update. */
export const UPDATE_BYTES_MAX = 32 * 1024;

/** Sizes of a document. The state follows the live text, never its history. */
export interface DocStats {
  readonly liveUtf16: number;
  readonly liveBytes: number;
  /** Bytes of the whole document as a snapshot. */
  readonly encodedBytes: number;
  readonly runs: number;
  readonly sites: number;
  readonly depthMax: number;
  readonly pendingDeletes: number;
}

/** What a document tells. */
export interface DocEvents {
  /**
   * A delta of this page, once the device has it, or at the end of its task where nothing is kept: what another replica needs, also
   * twice or out of order.
   */
  update(update: Uint8Array): void;
  /** The server's document was rebuilt or restored: this text starts anew, nothing is doubled. */
  reset(info: ResetInfo): void;
  /** Gone for good. */
  destroy(): void;
}

/** One document: of a room, made by `open()`, or one that stands alone, a `StandaloneDoc`. */
export class Doc extends Emitter<DocEvents> {
  readonly text: SharedText;
  readonly meta: SharedMeta;
  readonly #body: Body;

  /** @internal Made by `open()` and `StandaloneDoc`. */
  constructor(body: Body) {
    super();
    this.#body = body;
    bindBody(this, body);
    this.text = new SharedText(this, body);
    this.meta = new SharedMeta(body);
    body.on("delta", (bytes) => this.emit("update", bytes));
    body.on("reset", (info) => this.emit("reset", info));
    body.on("destroyed", () => this.emit("destroy"));
  }

  /** The full name, `tenant/name`; empty for a document that stands alone. */
  get name(): string {
    return this.#body.document;
  }

  /** Number of this document's life: a rebuilt one has another. */
  get generation(): number {
    return this.#body.generation;
  }

  /** This page's writing identity, or null before its first edit. Opaque. */
  get site(): string | null {
    return this.#body.ask((document) => document.site()) ?? null;
  }

  /** Runs `fn`; the text changes inside it are told as one, with `origin`. */
  transact<T>(fn: () => T, origin?: unknown): T {
    return this.#body.transact(fn, origin);
  }

  /**
   * Makes an update of everything edited until now, without waiting for the end of this task: later edits are updates of their own.
   * Where nothing is kept on this device, `update` is told inside this call.
   */
  flush(): void {
    this.#body.flush();
  }

  /**
   * {@link flush} for who sends updates on his own, and many of them: writes the next update that nobody was told of into `target`,
   * where {@link UPDATE_BYTES_MAX} bytes have to be free from `at` on, and returns its length; 0: there is none. Nothing is allocated but
   * what listeners of `update` are told.
   *
   * Where nothing is kept on this device, nor a relay asked: else updates are told when the device has them. Call it in the task of the
   * edit: what is left at its end is told by `update` alone.
   */
  flushInto(target: Uint8Array, at = 0): number {
    if (!Number.isInteger(at) || at < 0 || target.length - at < UPDATE_BYTES_MAX) {
      throw new SelvedgeError("bad-argument", `An update takes up to ${UPDATE_BYTES_MAX} bytes: ${target.length - at} are free.`);
    }
    const length = this.#body.flushInto(target, at);
    if (length > 0 && this.listens("update")) this.emit("update", target.slice(at, at + length));
    return length;
  }

  /** What this replica has seen. Everything edited until now goes out as it is: later edits are updates of their own. */
  encodeStateVector(): Uint8Array {
    this.flush();
    return this.#body.ask((document) => document.vector());
  }

  /** What a replica at `since` lacks; without it, everything. For {@link applyState}. */
  encodeState(since?: Uint8Array): Uint8Array {
    return this.#body.ask((document) => document.stateDiff(since));
  }

  /** Everything, with a checksum: to be kept. A `StandaloneDoc` opens it, and shows its text sooner than it loads a state. */
  encodeSnapshot(): Uint8Array {
    return this.#body.ask((document) => document.snapshot());
  }

  /** Merges what {@link encodeState} gave. All or nothing; merging twice changes nothing. */
  applyState(state: Uint8Array): void {
    this.#body.applyState(state);
  }

  /** Merges an update of another replica. Returns false when an earlier one of its site is missing. */
  applyUpdate(update: Uint8Array): boolean {
    return this.#body.apply(update);
  }

  /** Whether this replica has seen everything that `vector` has. */
  covers(vector: Uint8Array): boolean {
    return this.#body.ask((document) => document.covers(vector));
  }

  /** For replays and tests: what others wrote beyond `vector` waits until this is called again with a later one, or null. */
  holdRemote(vector: Uint8Array | null): void {
    this.#body.holdRemote(vector ?? undefined);
  }

  /** Sizes. */
  stats(): DocStats {
    const [liveUtf16 = 0, liveBytes = 0, encodedBytes = 0, runs = 0, sites = 0, depthMax = 0, pendingDeletes = 0] =
      this.#body.ask((document) => document.stats());
    return { liveUtf16, liveBytes, encodedBytes, runs, sites, depthMax, pendingDeletes };
  }
}
