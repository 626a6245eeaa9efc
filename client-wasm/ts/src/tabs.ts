/**
 * The other tabs of this browser profile, by BroadcastChannel: deltas the device has stored, presence, a greeting that
 * brings a new tab what is not in the store yet, and a goodbye that leaves this tab's outbox to the others. Works with the
 * relay away.
 */

import type { Replica } from "./machine/replica.js";

/** What tabs say to each other. `tab` is the sender's own random number. */
export type TabMessage =
  | { readonly kind: "hello"; readonly tab: number; readonly vector: Uint8Array }
  | { readonly kind: "delta"; readonly tab: number; readonly bytes: Uint8Array }
  | { readonly kind: "state"; readonly tab: number; readonly diff: Uint8Array }
  | { readonly kind: "bye"; readonly tab: number }
  | { readonly kind: "presence"; readonly tab: number; readonly session: number | null; readonly state: string | null };

/** Told of presence in other tabs. */
export type TabPresenceListener = (tab: number, session: number | null, state: string | null) => void;

/** The channel's name carries the format's version: tabs of an older package are not spoken to. */
const CHANNEL_PREFIX = "selvedge:1:";

/** One document's line to the other tabs. */
export class Tabs {
  /** This tab's number in its messages. */
  readonly tab: number = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
  readonly #channel: BroadcastChannel;
  #replica: Replica | null = null;
  #early: TabMessage[] = [];
  #presence: TabPresenceListener | null = null;
  #greet: (() => void) | null = null;
  #greeted = -Infinity;
  #closed = false;

  constructor(document: string) {
    this.#channel = new BroadcastChannel(CHANNEL_PREFIX + document);
    this.#channel.onmessage = (event: MessageEvent<unknown>) => {
      const message = decodeTabMessage(event.data);
      if (message && message.tab !== this.tab) this.#receive(message);
    };
    // Node keeps a process alive for an open channel; a document alone is no reason to.
    (this.#channel as { unref?: () => void }).unref?.();
  }

  /** Starts serving `replica`; what came while it was being restored follows at once. Returns the way to stop. */
  listen(replica: Replica): () => void {
    this.#replica = replica;
    const early = this.#early;
    this.#early = [];
    queueMicrotask(() => {
      for (const message of early) this.#receive(message);
      this.#hello();
    });
    return () => { this.#replica = null; };
  }

  /** Gives the others a stored delta. */
  post(bytes: Uint8Array): void {
    this.#send({ kind: "delta", tab: this.tab, bytes });
  }

  /** Tells the others where this tab's user is; null on leaving. */
  postPresence(session: number | null, state: string | null): void {
    this.#send({ kind: "presence", tab: this.tab, session, state });
  }

  /** Sets who hears of presence, and who answers a newcomer with this tab's own. */
  onPresence(listener: TabPresenceListener | null, greet: (() => void) | null): void {
    this.#presence = listener;
    this.#greet = greet;
  }

  /** Leaves; the others take up what this tab leaves in the store. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#send({ kind: "bye", tab: this.tab });
    this.#replica = null;
    this.#channel.onmessage = null;
    this.#channel.close();
  }

  #send(message: TabMessage): void {
    try { this.#channel.postMessage(message); } catch { /* closed meanwhile: nobody to tell */ }
  }

  #hello(): void {
    const replica = this.#replica;
    if (!replica || replica.destroyed || replica.link.over) return;
    this.#greeted = performance.now();
    this.#send({ kind: "hello", tab: this.tab, vector: replica.askClient((client, channel) => client.vector(channel)) });
  }

  #receive(message: TabMessage): void {
    const replica = this.#replica;
    if (message.kind === "presence") return this.#presence?.(message.tab, message.session, message.state);
    if (!replica) {
      if (message.kind === "delta") this.#early.push(message);
      return;
    }
    if (replica.destroyed || replica.link.over) return;
    try {
      this.#apply(replica, message);
    } catch {
      // Another version's bytes, or garbage: this tab goes on without them; the relay brings what they held.
    }
  }

  #apply(replica: Replica, message: Exclude<TabMessage, { kind: "presence" }>): void {
    switch (message.kind) {
      case "hello": {
        const diff = replica.askClient((client, channel) => client.newsFor(channel, message.vector));
        if (diff) this.#send({ kind: "state", tab: this.tab, diff });
        this.#greet?.();
        return;
      }
      case "delta":
        // One before it is missing: ask for the state, but not once per delta.
        if (!replica.apply(message.bytes) && performance.now() - this.#greeted > 1000) this.#hello();
        return;
      case "bye":
        replica.takeUpSoon();
        return;
      case "state":
        return replica.run((client, channel, now) => client.applyState(channel, message.diff, now));
    }
  }
}

/** Checks what came from another tab, which may run another version of the app. */
function decodeTabMessage(data: unknown): TabMessage | null {
  if (typeof data !== "object" || data === null) return null;
  const message = data as Partial<Record<string, unknown>>;
  const { kind, tab } = message;
  if (typeof tab !== "number") return null;
  if (kind === "hello" && message["vector"] instanceof Uint8Array) return { kind, tab, vector: message["vector"] };
  if (kind === "delta" && message["bytes"] instanceof Uint8Array) return { kind, tab, bytes: message["bytes"] };
  if (kind === "state" && message["diff"] instanceof Uint8Array) return { kind, tab, diff: message["diff"] };
  if (kind === "bye") return { kind, tab };
  if (kind === "presence") {
    const session = typeof message["session"] === "number" ? message["session"] : null;
    const state = typeof message["state"] === "string" ? message["state"] : null;
    return { kind, tab, session, state };
  }
  return null;
}
