/** The ways to a relay that a page has, and a head start on them. */

import type { Transport } from "./transport.js";
import { WebSocketTransport } from "./websocket.js";
import { WebTransportTransport } from "./webtransport.js";

/** Which transports to use. */
export type TransportChoice = "auto" | "webtransport" | "websocket";

interface Ways { readonly socket: WebSocketTransport | null; readonly sessions: WebTransportTransport | null }

/** The transports of one connection, best first. */
export class Carriers {
  readonly #choice: TransportChoice;
  readonly #makes: Partial<Ways>;
  /** Made when first asked for: a document that nobody connects needs none. */
  #made: Ways | null = null;
  #wanted = true;

  constructor(choice: TransportChoice, makes: Partial<Ways> = {}) {
    this.#choice = choice;
    this.#makes = makes;
  }

  get all(): readonly Transport[] {
    const { socket, sessions } = this.#ways();
    return [sessions, socket].filter((transport) => transport !== null);
  }

  /** Asks the relay where it listens for WebTransport; where it does not, a socket is opened early. */
  prepare(relay: string): void {
    const { socket, sessions } = this.#ways();
    const early = (): void => { if (this.#wanted && socket?.supported) socket.prepare(relay); };
    if (!sessions?.supported) return early();
    void sessions.prepare(relay).then((listens) => { if (!listens) early(); });
  }

  /** Nobody will connect, or somebody has: a head start comes too late. */
  discard(): void {
    this.#wanted = false;
    this.#made?.socket?.discard();
  }

  #ways(): Ways {
    return (this.#made ??= {
      socket: this.#choice === "webtransport" ? null : this.#makes.socket ?? new WebSocketTransport(),
      sessions: this.#choice === "websocket" ? null : this.#makes.sessions ?? new WebTransportTransport(),
    });
  }
}
