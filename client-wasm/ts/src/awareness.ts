/** Who is here and where: names, colours, carets. Never stored. */

import { Emitter, guarded } from "./emitter.js";
import type { PresenceChange } from "./machine/effects.js";
import { instant } from "./machine/environment.js";
import type { Replica } from "./machine/replica.js";

/** How a user is shown to others. */
export interface AwarenessUser {
  readonly name?: string;
  readonly color?: string;
  readonly colorLight?: string;
}

/** A selection as positions that survive edits. */
export interface AwarenessCursor {
  readonly anchor: string;
  readonly head: string;
}

/** What the bindings of this package use; add fields of your own. */
export interface AwarenessState {
  user?: AwarenessUser;
  cursor?: AwarenessCursor | null;
  [field: string]: unknown;
}

/** Another session's state. `userId` is the identity the relay verified, not what the session claims. */
export type PeerState = AwarenessState & { readonly userId?: string };

/** Which sessions changed. */
export interface AwarenessChange {
  readonly added: number[];
  readonly updated: number[];
  readonly removed: number[];
}

/** What awareness tells. */
export interface AwarenessEvents {
  /** Somebody else's state changed, came or went; or one's own did. */
  change(change: AwarenessChange): void;
}

/** Least time between two sends: ten a second. */
const SEND_MS_MIN = 100;
/** Other tabs repeat themselves this often, for one that cannot say goodbye. */
const TAB_REPEAT_MS = 15_000;
/** Browsers wake the timers of hidden tabs once a minute: a tab is gone after more than two of them. */
const TAB_GONE_MS = 150_000;
/** The relay drops more. */
const STATE_BYTES_MAX = 1024;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

interface Tab { readonly session: number | null; readonly state: PeerState; readonly json: string; readonly heard: number }

/** Presence on one document. Keyed by the session's number; other tabs without a connection have negative numbers. */
export class Awareness extends Emitter<AwarenessEvents> {
  readonly #replica: Replica;
  readonly #peers = new Map<number, PeerState>();
  readonly #tabs = new Map<number, Tab>();
  #local: AwarenessState | null = null;
  #sent: string | null = null;
  #lastSend = -Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #repeat: ReturnType<typeof setInterval> | undefined;
  #hidden = false;
  #view: ReadonlyMap<number, PeerState> | null = null;

  /** @internal Made by `open()`. */
  constructor(replica: Replica) {
    super();
    this.#replica = replica;
    replica.on("presence", (changes) => this.#presence(changes));
    replica.on("session", (session) => this.#sessionChanged(session));
    replica.on("leaving", () => this.destroy());
    replica.tabs?.onPresence((tab, session, json) => this.#tabPresence(tab, session, json), () => this.#toTabs());
  }

  /** This page's number at the relay, or 0 while there is none. */
  get clientId(): number {
    return this.#replica.link.session ?? 0;
  }

  /** This page's state. */
  getLocalState(): AwarenessState | null {
    return this.#local;
  }

  /** Replaces this page's state; null leaves. */
  setLocalState(state: AwarenessState | null): void {
    this.#local = state;
    this.#sendSoon();
    const id = this.clientId;
    this.#changed({ added: [], updated: [id], removed: [] });
  }

  /** Sets one field of this page's state. */
  setLocalStateField<K extends keyof AwarenessState & string>(field: K, value: AwarenessState[K]): void {
    this.setLocalState({ ...this.#local, [field]: value });
  }

  /** Everybody else's state, by number. */
  getStates(): ReadonlyMap<number, PeerState> {
    if (this.#view) return this.#view;
    const view = new Map<number, PeerState>(this.#peers);
    for (const [tab, { session, state }] of this.#tabs) {
      // A connected tab is known through the relay as well: shown once.
      if (session === null) view.set(-1 - tab, state);
      else if (!view.has(session)) view.set(session, state);
    }
    this.#view = view;
    return view;
  }

  /** Tells others this page left, but keeps the state for {@link resume}. */
  suspend(): void {
    this.#hidden = true;
    this.#send();
  }

  /** Undoes {@link suspend}. */
  resume(): void {
    if (!this.#hidden) return;
    this.#hidden = false;
    this.#sendSoon();
  }

  /** Leaves for good. Idempotent. */
  destroy(): void {
    clearTimeout(this.#timer);
    clearInterval(this.#repeat);
    if (this.#local && !this.#hidden) this.suspend();
    this.#local = null;
    this.#replica.tabs?.onPresence(null, null);
    this.clearListeners();
  }

  #sendSoon(): void {
    if (this.#timer !== undefined || this.#replica.destroyed) return;
    const wait = Math.max(0, this.#lastSend + SEND_MS_MIN - instant());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#send();
    }, wait);
  }

  #send(): void {
    const json = this.#local && !this.#hidden ? encodeState(this.#local) : null;
    if (json === this.#sent) return;
    const bytes = json === null ? undefined : encoder.encode(json);
    this.#sent = json;
    this.#lastSend = instant();
    if (!this.#replica.destroyed && !this.#replica.link.over) this.#replica.run((client, channel, now) => client.setPresence(channel, bytes, now));
    this.#toTabs();
    this.#keepRepeating(json !== null);
  }

  #toTabs(): void {
    this.#replica.tabs?.postPresence(this.#replica.link.session, this.#sent);
  }

  #keepRepeating(on: boolean): void {
    if (!this.#replica.tabs || on === (this.#repeat !== undefined)) return;
    clearInterval(this.#repeat);
    this.#repeat = on ? setInterval(() => { this.#toTabs(); this.#dropSilentTabs(); }, TAB_REPEAT_MS) : undefined;
    (this.#repeat as { unref?: () => void } | undefined)?.unref?.();
  }

  #presence(changes: readonly PresenceChange[]): void {
    const before = this.getStates();
    for (const { session, data, user } of changes) {
      const state = data && decodeState(data, user);
      if (state) this.#peers.set(session, state);
      else this.#peers.delete(session);
    }
    this.#compare(before);
  }

  #sessionChanged(session: number | null): void {
    if (session === null) {
      // Nobody can be vouched for without the relay; tabs of this browser still can.
      const before = this.getStates();
      this.#peers.clear();
      this.#compare(before);
    }
    this.#toTabs();
  }

  #tabPresence(tab: number, session: number | null, json: string | null): void {
    const before = this.getStates();
    const known = this.#tabs.get(tab);
    if (json === null) this.#tabs.delete(tab);
    else if (known?.json === json) this.#tabs.set(tab, { ...known, session, heard: instant() });
    else {
      const state = parseState(json, null);
      if (state) this.#tabs.set(tab, { session, state, json, heard: instant() });
    }
    this.#compare(before);
  }

  #dropSilentTabs(): void {
    const before = this.getStates();
    const oldest = instant() - TAB_GONE_MS;
    for (const [tab, { heard }] of this.#tabs) if (heard < oldest) this.#tabs.delete(tab);
    this.#compare(before);
  }

  #compare(before: ReadonlyMap<number, PeerState>): void {
    this.#view = null;
    const after = this.getStates();
    const added = [...after.keys()].filter((id) => !before.has(id));
    const removed = [...before.keys()].filter((id) => !after.has(id));
    const updated = [...after].filter(([id, state]) => before.has(id) && before.get(id) !== state).map(([id]) => id);
    this.#changed({ added, updated, removed });
  }

  #changed(change: AwarenessChange): void {
    if (change.added.length + change.updated.length + change.removed.length > 0) this.emit("change", change);
  }
}

/** The state as it travels. A place too deep to fit is left out: a name without a caret beats none. */
function encodeState(state: AwarenessState): string | null {
  const fits = (json: string): boolean => encoder.encode(json).length <= STATE_BYTES_MAX;
  const whole = JSON.stringify(state);
  if (fits(whole)) return whole;
  const placeless = JSON.stringify({ ...state, cursor: null });
  if (fits(placeless)) return placeless;
  guarded(() => { throw new RangeError(`An awareness state of ${whole.length} characters: at most ${STATE_BYTES_MAX} bytes reach others.`); });
  return null;
}

function decodeState(data: Uint8Array, user: string | null): PeerState | null {
  try {
    return parseState(decoder.decode(data), user);
  } catch {
    return null;
  }
}

/** Another session's claim: an object, or nothing. Its fields are checked where they are used. */
function parseState(json: string, user: string | null): PeerState | null {
  try {
    const value: unknown = JSON.parse(json);
    if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
    return user === null ? { ...value } : { ...value, userId: user };
  } catch {
    return null;
  }
}
