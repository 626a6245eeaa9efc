/** A transport whose messages from the relay can be held back: the network is slow just then. */

import { decodeFrames, decodeMessage } from "../protocol/index.js";
import type { Transport, TransportConnection, TransportListener } from "../transport/transport.js";

/** Carries everything as the one it wraps, except that what comes in may wait. */
export class HeldTransport implements Transport {
  readonly #inner: Transport;
  #waiting: { readonly names: readonly string[]; readonly hand: () => void }[] | null = null;

  constructor(inner: Transport) {
    this.#inner = inner;
  }

  get name(): Transport["name"] { return this.#inner.name; }
  get supported(): boolean { return this.#inner.supported; }

  /** From now on, what comes in waits. */
  hold(): void {
    this.#waiting ??= [];
  }

  /** Whether a message of this name waits. */
  holds(name: string): boolean {
    return this.#waiting?.some(({ names }) => names.includes(name)) ?? false;
  }

  /** Hands over what waited, in order, and everything after it at once. */
  release(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = null;
    for (const { hand } of waiting) hand();
  }

  connect(url: string, listener: TransportListener, certificates?: Uint8Array): TransportConnection {
    const soon = (hand: () => void, names: readonly string[] = []): void => { if (this.#waiting) this.#waiting.push({ names, hand }); else hand(); };
    return this.#inner.connect(url, {
      opened: () => soon(() => listener.opened()),
      // The bytes are the carrier's again after the call.
      received: (bytes) => { const copy = bytes.slice(); soon(() => listener.received(copy), namesIn(copy)); },
      ended: (code, reason) => soon(() => listener.ended(code, reason)),
    }, certificates);
  }
}

function namesIn(bytes: Uint8Array): string[] {
  return decodeFrames(bytes).flatMap(({ kind, payload }) => decodeMessage(kind, payload)?.name ?? []);
}
