/** What the link needs of a connection to a relay. The contract suite is `contract.ts`. */

/** The code browsers give a connection that ended without one. */
export const ABNORMAL = 1006;

/** Called by a transport. `opened` comes at most once and before `received`; `ended` comes exactly once, and last. */
export interface TransportListener {
  opened(): void;
  /** Whole frames, those of one channel in the order they were sent. */
  received(bytes: Uint8Array): void;
  /** The connection is over, or never came to be. Codes are those of WebSocket; 1006 where none was given. */
  ended(code: number, reason: string): void;
}

/** One connection, from the moment it is asked for. */
export interface TransportConnection {
  /** Sends whole frames. Those of one channel keep their order. Ignored before `opened` and after the end. */
  send(bytes: Uint8Array): void;
  /** Ends the connection. Idempotent; `ended` still follows. */
  close(code?: number, reason?: string): void;
}

/** A way to reach a relay. */
export interface Transport {
  /** The name the protocol has for it. */
  readonly name: "websocket" | "webtransport";
  /** Whether it works here. */
  readonly supported: boolean;
  /**
   * Begins to connect; never throws, failures come by `ended`. `certificates`: SHA-256 of the only ones to accept, one after
   * the other; none: those that are trusted anyway.
   */
  connect(url: string, listener: TransportListener, certificates?: Uint8Array): TransportConnection;
}
