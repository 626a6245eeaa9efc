/** Watches what coming back from offline brought, so that nobody is surprised by a merge. */

import type { Replica } from "../machine/replica.js";
import { instant } from "../machine/environment.js";
import { positionOf, type Position } from "../position.js";
import type { Status } from "../status.js";
import type { ChangeSource, TextPatch } from "../text-event.js";

/** One place of the text that changed while this device was away. */
export interface ReconciledRange {
  readonly from: Position;
  readonly to: Position;
  /** Site of the author, if the place has text. */
  readonly by: string | null;
  /** Whether this device edited there too, meanwhile. */
  readonly overlap: boolean;
}

/** What coming back brought. */
export interface Reconciled {
  readonly offlineMs: number;
  /** Operations of this device that went out. */
  readonly sent: number;
  /** UTF-16 units that came in. */
  readonly received: number;
  readonly ranges: readonly ReconciledRange[];
}

/** More places than anybody reads. */
const RANGES_MAX = 256;
/** An edit this close to another's counts as the same place. */
const NEAR_UNITS = 1;

interface Span { from: number; to: number }

/** Follows one replica from going offline to being in step again. */
export class ReconcileWatch {
  readonly #replica: Replica;
  readonly #done: (event: Reconciled) => void;
  #since: number | null = null;
  #everConnected = false;
  #sent = 0;
  #received = 0;
  #own: Span[] = [];
  #theirs: Span[] = [];

  constructor(replica: Replica, done: (event: Reconciled) => void) {
    this.#replica = replica;
    this.#done = done;
  }

  /** Told every status. */
  status(status: Status): void {
    if (status === "connected") {
      if (this.#since !== null) this.#finish();
      this.#everConnected = true;
    } else if ((status === "offline" || status === "connecting") && this.#everConnected && this.#since === null) {
      this.#since = instant();
      this.#replica.watch(this.#text);
    } else if (status === "syncing" && this.#since !== null) {
      this.#sent = this.#replica.saved.region.ops;
    }
  }

  readonly #text = (patches: readonly TextPatch[], by: ChangeSource): void => {
    const theirs = by === "remote";
    if (by === "restore") return;
    for (const patch of patches) {
      this.#own = shift(this.#own, patch);
      this.#theirs = shift(this.#theirs, patch);
      const spans = theirs ? this.#theirs : this.#own;
      if (spans.length < RANGES_MAX) spans.push({ from: patch.at, to: patch.at + patch.insert.length });
      if (theirs) this.#received += patch.insert.length;
    }
  };

  #finish(): void {
    const offlineMs = instant() - (this.#since ?? 0);
    const ranges = joined(this.#theirs).map((span) => this.#range(span));
    const event = { offlineMs, sent: this.#sent, received: this.#received, ranges };
    const changed = this.#sent > 0 || this.#received > 0 || ranges.length > 0;
    this.#since = null;
    this.#replica.unwatch(this.#text);
    this.#sent = this.#received = 0;
    this.#own = [];
    this.#theirs = [];
    if (changed) this.#done(event);
  }

  #range({ from, to }: Span): ReconciledRange {
    return this.#replica.ask((document) => ({
      from: positionOf(document.anchorAt(from, true)),
      to: positionOf(document.anchorAt(to, false)),
      by: (to > from ? document.authorAt(from) : undefined) ?? null,
      overlap: this.#own.some((own) => own.from <= to + NEAR_UNITS && from <= own.to + NEAR_UNITS),
    }));
  }
}

/** Spans after `patch`; one inside what it deleted becomes empty there. */
function shift(spans: readonly Span[], patch: TextPatch): Span[] {
  const end = patch.at + patch.delete;
  const move = (at: number): number =>
    at >= end ? at - patch.delete + patch.insert.length : at > patch.at ? patch.at : at;
  return spans.map(({ from, to }) => ({ from: move(from), to: Math.max(move(from), move(to)) }));
}

/** Spans in text order, touching ones joined. */
function joined(spans: readonly Span[]): Span[] {
  const out: Span[] = [];
  for (const span of [...spans].sort((a, b) => a.from - b.from)) {
    const last = out[out.length - 1];
    if (last && span.from <= last.to) last.to = Math.max(last.to, span.to);
    else out.push({ ...span });
  }
  return out;
}
