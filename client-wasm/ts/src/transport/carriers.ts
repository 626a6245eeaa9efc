/** The ways to a relay that a page has, and a head start on them. */

import type { Transport } from "./transport.js";
import { WebSocketTransport } from "./websocket.js";
import { WebTransportTransport } from "./webtransport.js";

/** Which transports to use. */
export type TransportChoice = "auto" | "webtransport" | "websocket";

/** The transports of one connection, best first. */
export class Carriers {
  readonly all: readonly Transport[];
  readonly #socket: WebSocketTransport | null;
  readonly #sessions: WebTransportTransport | null;
  #wanted = true;

  constructor(choice: TransportChoice, makes: { socket?: WebSocketTransport; sessions?: WebTransportTransport } = {}) {
    this.#socket = choice === "webtransport" ? null : makes.socket ?? new WebSocketTransport();
    this.#sessions = choice === "websocket" ? null : makes.sessions ?? new WebTransportTransport();
    this.all = [this.#sessions, this.#socket].filter((transport) => transport !== null);
  }

  /** Asks the relay where it listens for WebTransport; where it does not, a socket is opened early. */
  prepare(relay: string): void {
    const socket = (): void => { if (this.#wanted && this.#socket?.supported) this.#socket.prepare(relay); };
    if (!this.#sessions?.supported) return socket();
    void this.#sessions.prepare(relay).then((listens) => { if (!listens) socket(); });
  }

  /** Nobody will connect, or somebody has: a head start comes too late. */
  discard(): void {
    this.#wanted = false;
    this.#socket?.discard();
  }
}
