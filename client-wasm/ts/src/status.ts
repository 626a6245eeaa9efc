/** The words a document's state is told in: link, rights, and how safe the text is. */

/** How the document stands with the relay. `offline` is a state to work in, not an error. */
export type Status = "offline" | "connecting" | "syncing" | "connected" | "readonly" | "closed";

/** How safe text is: on this device; durable in one region; durable in a second region too. */
export type SaveLevel = "device" | "region" | "replicated";

/** What this user may do with the document. */
export type Rights = "none" | "read" | "write" | "admin";

/** Edits of this load and of the outbox that have not reached one level yet. */
export interface Pending {
  /** Operations: an insertion counts its characters. */
  readonly ops: number;
  /** Bytes of the deltas that carry them. */
  readonly bytes: number;
  /** Number of the last edit of this load that has reached the level with everything before it: compare {@link SaveState.edited}. */
  readonly through: number;
}

/** Nothing waits. */
export const NONE_PENDING: Pending = { ops: 0, bytes: 0, through: 0 };

/** How safe this device's edits are, level by level. Acks never go back. */
export interface SaveState {
  /** Not on this device's disk yet. */
  readonly device: Pending;
  /** Not durable in a region yet. */
  readonly region: Pending;
  /** Not durable in a second region yet. Stays as it is where the deployment has one region: see `highest`. */
  readonly replicated: Pending;
  /** The highest level this deployment gives. Waiting for more waits for this. */
  readonly highest: SaveLevel;
  /** Number of the latest edit of this load. */
  readonly edited: number;
  /** Age of the oldest edit below the `highest` level, in milliseconds; 0 when there is none. */
  readonly oldestPendingMs: number;
  /** Why the device cannot keep edits (quota, private mode), or null while it can. */
  readonly deviceError: string | null;
}

/** The connection in use. */
export interface Link {
  /** URL of the relay. */
  readonly relay: string;
  /** The relay's region, empty until it said so. */
  readonly region: string;
  /** `websocket` or `webtransport`. */
  readonly transport: string;
}

/** The levels from least to most safe. */
export const SAVE_LEVELS: readonly SaveLevel[] = ["device", "region", "replicated"];

/** The lower of two levels. */
export function lowerLevel(a: SaveLevel, b: SaveLevel): SaveLevel {
  return SAVE_LEVELS.indexOf(a) <= SAVE_LEVELS.indexOf(b) ? a : b;
}

/** The state of a document nobody has edited. */
export const NOTHING_PENDING: SaveState = {
  device: NONE_PENDING,
  region: NONE_PENDING,
  replicated: NONE_PENDING,
  edited: 0,
  highest: "region",
  oldestPendingMs: 0,
  deviceError: null,
};
