/** WebSocket: binary messages of whole frames at `/v1/connect`. */

import type { Transport, TransportConnection, TransportListener } from "./transport.js";

/** The code browsers give a connection that ended without one. */
const ABNORMAL = 1006;

/** The part of the browser's `WebSocket` used here, so that another implementation can be passed. */
export interface WebSocketLike {
  binaryType: string;
  readonly readyState: number;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
}

/** Constructor of a {@link WebSocketLike}. */
export type WebSocketConstructor = new (url: string) => WebSocketLike;

/** The WebSocket address of a relay given as an http(s) or ws(s) URL. A bare origin gets the standard path. */
export function websocketUrl(relay: string): string {
  const base = typeof location === "undefined" ? undefined : location.href;
  const url = new URL(relay, base);
  url.protocol = url.protocol === "https:" || url.protocol === "wss:" ? "wss:" : "ws:";
  if (url.pathname === "/" || url.pathname === "") url.pathname = "/v1/connect";
  url.hash = "";
  return url.href;
}

/** The transport every browser has. */
export class WebSocketTransport implements Transport {
  readonly name = "websocket";
  readonly #socketClass: WebSocketConstructor | undefined;

  constructor(options: { WebSocket?: WebSocketConstructor | undefined } = {}) {
    this.#socketClass = options.WebSocket
      ?? (typeof WebSocket === "undefined" ? undefined : (WebSocket as unknown as WebSocketConstructor));
  }

  get supported(): boolean {
    return this.#socketClass !== undefined;
  }

  connect(url: string, listener: TransportListener): TransportConnection {
    return new WebSocketConnection(this.#socketClass, url, listener);
  }
}

class WebSocketConnection implements TransportConnection {
  readonly #listener: TransportListener;
  #socket: WebSocketLike | null = null;
  #open = false;
  #ended = false;

  constructor(constructor: WebSocketConstructor | undefined, url: string, listener: TransportListener) {
    this.#listener = listener;
    try {
      if (!constructor) throw new Error("no WebSocket here");
      this.#start(new constructor(websocketUrl(url)));
    } catch (error) {
      queueMicrotask(() => this.#end(ABNORMAL, error instanceof Error ? error.message : "cannot connect"));
    }
  }

  send(bytes: Uint8Array): void {
    if (this.#open && this.#socket?.readyState === 1) this.#socket.send(bytes as Uint8Array<ArrayBuffer>);
  }

  close(code = 1000, reason = ""): void {
    if (this.#ended) return;
    this.#open = false;
    const socket = this.#socket;
    try {
      // Browsers allow 1000 and 3000-4999 only.
      if (code === 1000 || (code >= 3000 && code <= 4999)) socket?.close(code, reason);
      else socket?.close();
    } catch { /* a socket that cannot even be closed is over: said below */ }
    // The closing handshake may take a dead network's whole timeout: the end is told now.
    queueMicrotask(() => this.#end(code, reason));
  }

  #start(socket: WebSocketLike): void {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      if (this.#ended) return;
      this.#open = true;
      this.#listener.opened();
    };
    socket.onmessage = (event: { data: unknown }) => {
      if (this.#ended || !this.#open) return;
      if (event.data instanceof ArrayBuffer) this.#listener.received(new Uint8Array(event.data));
      else this.close(4400, "a text message");
    };
    socket.onclose = (event: { code: number; reason: string }) => this.#end(event.code, event.reason);
    // `close` always follows an error; the handler keeps it from being thrown where the platform would.
    socket.onerror = () => undefined;
  }

  #end(code: number, reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#open = false;
    if (this.#socket) {
      const socket = this.#socket;
      socket.onopen = socket.onmessage = socket.onclose = null;
    }
    this.#listener.ended(code, reason);
  }
}
