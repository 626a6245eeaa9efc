/** Turns the calls of one drain into a list of effects; executing them is the link's work. */

import { NONE_PENDING, SAVE_LEVELS, type Pending, type Rights, type SaveLevel, type Status } from "../status.js";
import type { OutboxEntry, StoredFrame, StoredState, StoreTransaction } from "../store/store.js";
import type { TextPatch } from "../text-event.js";
import type { Shell } from "../wasm/selvedge.js";

/** Where a change of the text came from, as the machine knows it. */
export type PatchOrigin = "remote" | "tab" | "restore" | "undo";

/** Another session's presence; without data it left. */
export interface PresenceChange {
  readonly session: number;
  readonly data: Uint8Array | null;
  readonly user: string | null;
}

/** Counts per level, as the machine keeps them. */
export interface SavedCounts {
  readonly device: Pending;
  readonly region: Pending;
  readonly replicated: Pending;
  readonly edited: number;
  readonly oldestPendingMs: number;
  readonly highest: SaveLevel;
}

/** The connection in use. */
export interface LinkInfo {
  readonly url: string;
  readonly region: string;
  readonly transport: string;
  /** Number of this session at the relay. */
  readonly session: number;
  readonly rttMs: number;
}

/** What concerns the connection. */
export type LinkEffect =
  | { readonly kind: "connect"; readonly attempt: number; readonly url: string; readonly transport: string; readonly certificates: Uint8Array }
  | { readonly kind: "send"; readonly attempt: number; readonly bytes: Uint8Array }
  | { readonly kind: "disconnect"; readonly attempt: number; readonly code: number }
  | { readonly kind: "token-needed"; readonly of: number | null }
  | { readonly kind: "verify-endpoints"; readonly signed: string }
  | { readonly kind: "keep-endpoints"; readonly signed: string; readonly epoch: number; readonly issue: number }
  | { readonly kind: "endpoints-refused"; readonly message: string }
  | { readonly kind: "link"; readonly link: LinkInfo | null };

/** What concerns one document. */
export type DocumentEffect =
  | { readonly kind: "store"; readonly ticket: number; readonly transaction: StoreTransaction }
  | { readonly kind: "patch"; readonly patches: readonly TextPatch[]; readonly origin: PatchOrigin }
  | { readonly kind: "local-delta"; readonly bytes: Uint8Array }
  | { readonly kind: "meta" }
  | { readonly kind: "saved"; readonly counts: SavedCounts }
  | { readonly kind: "status"; readonly status: Status }
  | { readonly kind: "rights"; readonly rights: Rights }
  | { readonly kind: "presence"; readonly changes: readonly PresenceChange[] }
  | { readonly kind: "refused"; readonly code: number; readonly message: string }
  | { readonly kind: "store-failed"; readonly message: string }
  | { readonly kind: "synced" }
  | { readonly kind: "reset"; readonly generation: number; readonly previous: Uint8Array; readonly unsentOps: number }
  | { readonly kind: "closed"; readonly code: number; readonly reason: string };

/** One thing to do. */
export type Effect = LinkEffect | { readonly channel: number; readonly effect: DocumentEffect };

/** The level at a place of {@link SAVE_LEVELS}. */
const levelAt = (place: number): SaveLevel => SAVE_LEVELS[place] ?? "device";

/** The shell that only writes down. */
export class Recorder implements Shell {
  #effects: Effect[] = [];
  #patches: TextPatch[] = [];
  #presence: PresenceChange[] = [];
  #put: OutboxEntry[] = [];
  #delete: { site: string; first: number }[] = [];
  #putFrames: StoredFrame[] = [];
  #deleteFrames: { site: string; first: number }[] = [];
  #state: StoredState | null = null;
  #replace = false;
  readonly #levels: Record<SaveLevel, Pending> = { device: NONE_PENDING, region: NONE_PENDING, replicated: NONE_PENDING };

  /** The patches recorded without a list to close them: those an edit owes its editor. */
  takePatches(): TextPatch[] {
    const patches = this.#patches;
    this.#patches = [];
    return patches;
  }

  /** What was recorded since the last call, in order. */
  take(): Effect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  connect(attempt: number, url: string, transport: string, certificates: Uint8Array): void {
    this.#effects.push({ kind: "connect", attempt, url, transport, certificates: certificates.slice() });
  }

  send(attempt: number, bytes: Uint8Array): void {
    this.#effects.push({ kind: "send", attempt, bytes });
  }

  disconnect(attempt: number, code: number): void {
    this.#effects.push({ kind: "disconnect", attempt, code });
  }

  outboxPut(site: string, first: number, last: number, principal: string, bytes: Uint8Array, acked: number): void {
    this.#put.push({ site, first, last, principal, bytes, acked: levelAt(acked) });
  }

  outboxDelete(site: string, first: number): void {
    this.#delete.push({ site, first });
  }

  framePut(site: string, first: number, bytes: Uint8Array): void {
    this.#putFrames.push({ site, first, bytes });
  }

  frameDelete(site: string, first: number): void {
    this.#deleteFrames.push({ site, first });
  }

  statePut(vector: Uint8Array, generation: number, highest: string, position: Uint8Array | undefined, snapshot: Uint8Array, replace: boolean): void {
    this.#replace = replace;
    this.#state = { vector, generation, highest: highest as SaveLevel, position: position ?? null, snapshot };
  }

  store(channel: number, ticket: number): void {
    const transaction = {
      putOutbox: this.#put, deleteOutbox: this.#delete, putFrames: this.#putFrames, deleteFrames: this.#deleteFrames,
      state: this.#state, replace: this.#replace,
    };
    this.#put = [];
    this.#delete = [];
    this.#putFrames = [];
    this.#deleteFrames = [];
    this.#state = null;
    this.#replace = false;
    this.#document(channel, { kind: "store", ticket, transaction });
  }

  textPatch(at: number, remove: number, insert: string): void {
    this.#patches.push({ at, delete: remove, insert });
  }

  patch(channel: number, origin: string): void {
    const patches = this.#patches;
    this.#patches = [];
    this.#document(channel, { kind: "patch", patches, origin: origin as PatchOrigin });
  }

  localDelta(channel: number, bytes: Uint8Array): void {
    this.#document(channel, { kind: "local-delta", bytes });
  }

  metaChanged(channel: number): void {
    this.#document(channel, { kind: "meta" });
  }

  savedAt(level: number, ops: number, bytes: number, through: number): void {
    this.#levels[levelAt(level)] = { ops, bytes, through };
  }

  saved(channel: number, edited: number, oldestPendingMs: number, highest: number): void {
    const { device, region, replicated } = this.#levels;
    this.#document(channel, { kind: "saved", counts: { device, region, replicated, edited, oldestPendingMs, highest: levelAt(highest) } });
  }

  status(channel: number, status: string): void {
    this.#document(channel, { kind: "status", status: status as Status });
  }

  rights(channel: number, rights: string): void {
    this.#document(channel, { kind: "rights", rights: rights as Rights });
  }

  presenceChange(session: number, data: Uint8Array | undefined, user: string | undefined): void {
    this.#presence.push({ session, data: data ?? null, user: user ?? null });
  }

  presence(channel: number): void {
    const changes = this.#presence;
    this.#presence = [];
    this.#document(channel, { kind: "presence", changes });
  }

  tokenNeeded(channel: number | undefined): void {
    this.#effects.push({ kind: "token-needed", of: channel ?? null });
  }

  verifyEndpoints(signed: string): void {
    this.#effects.push({ kind: "verify-endpoints", signed });
  }

  keepEndpoints(signed: string, epoch: number, issue: number): void {
    this.#effects.push({ kind: "keep-endpoints", signed, epoch, issue });
  }

  endpointsRefused(message: string): void {
    this.#effects.push({ kind: "endpoints-refused", message });
  }

  linkUp(url: string, region: string, transport: string, session: number, rttMs: number): void {
    this.#effects.push({ kind: "link", link: { url, region, transport, session, rttMs } });
  }

  linkDown(): void {
    this.#effects.push({ kind: "link", link: null });
  }

  synced(channel: number): void {
    this.#document(channel, { kind: "synced" });
  }

  refused(channel: number, code: number, message: string): void {
    this.#document(channel, { kind: "refused", code, message });
  }

  storeFailed(channel: number, message: string): void {
    this.#document(channel, { kind: "store-failed", message });
  }

  reset(channel: number, generation: number, previous: Uint8Array, unsentOps: number): void {
    this.#document(channel, { kind: "reset", generation, previous, unsentOps });
  }

  closed(channel: number, code: number, reason: string): void {
    this.#document(channel, { kind: "closed", code, reason });
  }

  #document(channel: number, effect: DocumentEffect): void {
    this.#effects.push({ channel, effect });
  }
}
