/** A transport within this process, for tests: the twin of the real ones. */

import type { Peer, PeerConnection } from "../transport/contract.js";
import type { Transport, TransportConnection, TransportListener } from "../transport/transport.js";

const URL = "memory://relay";

/** Connects to whoever listens in this process. */
export class MemoryTransport implements Transport {
  readonly name = "websocket";
  readonly supported = true;
  readonly #accepted: MemoryConnection[] = [];
  #waiting: ((connection: PeerConnection) => void)[] = [];

  connect(url: string, listener: TransportListener): TransportConnection {
    const connection = new MemoryConnection(listener);
    if (url !== URL) queueMicrotask(() => connection.end(1006, ""));
    else {
      queueMicrotask(() => {
        if (!connection.open()) return;
        const waiting = this.#waiting.shift();
        if (waiting) waiting(connection.peer);
        else this.#accepted.push(connection);
      });
    }
    return connection;
  }

  /** The other end. */
  listen(): Peer {
    return {
      url: URL,
      deadUrl: "memory://nobody",
      accept: () => {
        const ready = this.#accepted.shift();
        return ready ? Promise.resolve(ready.peer) : new Promise((resolve) => this.#waiting.push(resolve));
      },
      close: () => Promise.resolve(),
    };
  }
}

class MemoryConnection implements TransportConnection {
  readonly #listener: TransportListener;
  readonly #messages: Uint8Array[] = [];
  #waiting: ((bytes: Uint8Array) => void)[] = [];
  #state: "new" | "open" | "closing" | "ended" = "new";
  #gone: () => void = () => undefined;
  readonly peer: PeerConnection;

  constructor(listener: TransportListener) {
    this.#listener = listener;
    const gone = new Promise<void>((resolve) => { this.#gone = resolve; });
    this.peer = {
      gone,
      send: (bytes) => {
        const copy = bytes.slice();
        queueMicrotask(() => { if (this.#state === "open") this.#listener.received(copy); });
      },
      close: (code, reason) => queueMicrotask(() => this.end(code, reason)),
      receive: () => {
        const ready = this.#messages.shift();
        return ready ? Promise.resolve(ready) : new Promise((resolve) => this.#waiting.push(resolve));
      },
    };
  }

  open(): boolean {
    if (this.#state !== "new") return false;
    this.#state = "open";
    this.#listener.opened();
    return true;
  }

  send(bytes: Uint8Array): void {
    if (this.#state !== "open") return;
    const waiting = this.#waiting.shift();
    if (waiting) waiting(bytes.slice());
    else this.#messages.push(bytes.slice());
  }

  close(code = 1000, reason = ""): void {
    if (this.#state === "ended") return;
    this.#state = "closing";
    queueMicrotask(() => this.end(code, reason));
  }

  end(code: number, reason: string): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#listener.ended(code, reason);
    this.#gone();
  }
}
