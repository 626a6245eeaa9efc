/** What a device keeps of a document, and the interface every store fulfils. The contract suite is `contract.ts`. */

import type { SaveLevel } from "../status.js";

/** One sealed delta waiting for its highest ack. Its bytes never change. */
export interface OutboxEntry {
  /** The site that wrote it: an opaque string. */
  readonly site: string;
  readonly first: number;
  readonly last: number;
  /** Whose it is: only that principal pushes it. */
  readonly principal: string;
  /** The durable delta. */
  readonly bytes: Uint8Array;
  /** The level a server confirmed so far. */
  readonly acked: SaveLevel;
}

/** A delta of somebody else that is shown and not safe everywhere yet, with a relay's proof that it showed it. Opaque. */
export interface StoredFrame {
  readonly site: string;
  readonly first: number;
  readonly bytes: Uint8Array;
}

/** The document as folded at one vector. */
export interface StoredState {
  /** Encoded version vector the snapshot covers. */
  readonly vector: Uint8Array;
  readonly generation: number;
  /** The highest level the deployment gave when last asked. */
  readonly highest: SaveLevel;
  /** Last position of the region's log seen, opaque. */
  readonly position: Uint8Array | null;
  readonly snapshot: Uint8Array;
}

/** All or nothing: written in one durable transaction. */
export interface StoreTransaction {
  readonly putOutbox: readonly OutboxEntry[];
  readonly deleteOutbox: readonly { readonly site: string; readonly first: number }[];
  /** What the state in the same transaction shows of others. */
  readonly putFrames: readonly StoredFrame[];
  readonly deleteFrames: readonly { readonly site: string; readonly first: number }[];
  readonly state: StoredState | null;
  /** The state is a copy fetched anew: it is written whatever the stored one covers. */
  readonly replace: boolean;
}

/** What `load` found. */
export interface StoredDocument {
  readonly state: StoredState | null;
  readonly outbox: readonly OutboxEntry[];
  readonly frames: readonly StoredFrame[];
}

/** A signed list of endpoints as a device keeps it, one for each key that is trusted. */
export interface StoredEndpoints {
  /** Name of the key that signed it. */
  readonly key: string;
  /** The control plane's epoch in which it was signed. */
  readonly epoch: number;
  /** Orders the lists of one epoch. */
  readonly issue: number;
  /** The list and its signature: verified again whenever it is read. */
  readonly signed: string;
}

/** Whether `next` comes after `known` in the order of lists. */
export function isNewer(next: StoredEndpoints, known: StoredEndpoints): boolean {
  return next.epoch !== known.epoch ? next.epoch > known.epoch : next.issue > known.issue;
}

/** A document known to a store, for lists. */
export interface StoredSummary {
  readonly document: string;
  /** Bytes of state and outbox. */
  readonly bytes: number;
  /** Outbox entries no region confirmed yet. */
  readonly unsent: number;
}

/**
 * `written`: all of it is durable. `conflict`: another tab's state is not covered by this one, and nothing was written;
 * `stored` is that state, to be merged before the next try.
 */
export type TransactionOutcome = { readonly kind: "written" } | { readonly kind: "conflict"; readonly stored: StoredState };

/** A failure of the device, with what the user can know about it. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  /** `quota`: no room; `blocked`: the browser refuses storage here; `io`: anything else. */
  readonly reason: "quota" | "blocked" | "io";

  constructor(reason: StoreError["reason"], message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.reason = reason;
  }
}

/** A device's memory of documents. Reading writes nothing. */
export interface Store {
  /** State, outbox and kept frames of `document`; empty for one never stored. */
  load(document: string): Promise<StoredDocument>;
  /** The outbox of `document` alone, which other tabs write to as well. */
  outbox(document: string): Promise<readonly OutboxEntry[]>;
  /**
   * Writes `transaction` durably, all or nothing. The state is written by compare-and-set: only over one whose vector it
   * dominates or equals, or over one of an earlier generation.
   */
  transact(document: string, transaction: StoreTransaction): Promise<TransactionOutcome>;
  /** The device's own principal, or null before one was kept. */
  principal(): Promise<string | null>;
  /** Keeps `candidate` as the device's principal unless there is one; returns the one that holds. */
  adoptPrincipal(candidate: string): Promise<string>;
  /** The newest list of endpoints kept of `key`, or null. */
  endpoints(key: string): Promise<StoredEndpoints | null>;
  /** Keeps a list in the place of an older one of the same key; a newer one stays. */
  keepEndpoints(list: StoredEndpoints): Promise<void>;
  /** Every document kept here. */
  list(): Promise<StoredSummary[]>;
  /** Forgets `document`, its outbox and kept frames included. */
  clear(document: string): Promise<void>;
  /** Asks the browser never to evict this store; true if it agreed. */
  persist(): Promise<boolean>;
  /** Lets go of the device. Idempotent; transactions under way finish first. */
  close(): Promise<void>;
}
