/** WebSocket: binary messages of whole frames at `/v1/connect`. */

import { ABNORMAL, type Transport, type TransportConnection, type TransportListener } from "./transport.js";

/** How long a prepared socket may wait: relays close one that says nothing for 5 s. */
const PREPARED_MS_MAX = 3_000;

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
  #used = false;
  #prepared: { readonly address: string; readonly socket: WebSocketLike; readonly timer: ReturnType<typeof setTimeout> } | null = null;

  constructor(options: { WebSocket?: WebSocketConstructor | undefined } = {}) {
    this.#socketClass = options.WebSocket
      ?? (typeof WebSocket === "undefined" ? undefined : (WebSocket as unknown as WebSocketConstructor));
  }

  get supported(): boolean {
    return this.#socketClass !== undefined;
  }

  connect(url: string, listener: TransportListener): TransportConnection {
    this.#used = true;
    return new WebSocketConnection(() => this.#take(url) ?? this.#begin(url), listener);
  }

  /** Begins to connect before anybody has something to say: the first {@link connect} to `url` goes on from there. */
  prepare(url: string): void {
    if (this.#used) return;
    this.discard();
    try {
      const socket = this.#begin(url);
      socket.onerror = () => undefined;
      this.#prepared = { address: websocketUrl(url), socket, timer: setTimeout(() => this.discard(), PREPARED_MS_MAX) };
    } catch { /* the connection itself will say why */ }
  }

  /** Closes what {@link prepare} opened and nobody took. */
  discard(): void {
    const prepared = this.#prepared;
    if (!prepared) return;
    this.#prepared = null;
    clearTimeout(prepared.timer);
    try { prepared.socket.close(); } catch { /* it is over already */ }
  }

  /** The prepared socket, if it goes to `url` and has not failed. */
  #take(url: string): WebSocketLike | null {
    const prepared = this.#prepared;
    if (prepared?.address !== websocketUrl(url) || prepared.socket.readyState > 1) return null;
    this.#prepared = null;
    clearTimeout(prepared.timer);
    return prepared.socket;
  }

  #begin(url: string): WebSocketLike {
    if (!this.#socketClass) throw new Error("no WebSocket here");
    return new this.#socketClass(websocketUrl(url));
  }
}

class WebSocketConnection implements TransportConnection {
  readonly #listener: TransportListener;
  #socket: WebSocketLike | null = null;
  #open = false;
  #ended = false;

  constructor(begin: () => WebSocketLike, listener: TransportListener) {
    this.#listener = listener;
    try {
      this.#start(begin());
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
    const opened = (): void => {
      if (this.#ended || this.#open) return;
      this.#open = true;
      this.#listener.opened();
    };
    socket.onopen = opened;
    // One prepared before may have opened: its event is over, the caller still has to be told later.
    if (socket.readyState === 1) queueMicrotask(opened);
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
