/**
 * WebTransport: frames on streams that the client opens. The first stream is the connection's; every document has one of its
 * own, so that a large text holds up nobody else. Presence travels by datagram where it fits, and once more on the stream
 * when it has come to rest, so that a lost one heals.
 */

import { frameAt, FrameGatherer, framesOf, KIND, type WholeFrame } from "./frames.js";
import { Discovery, hashesIn, type WebTransportAddress } from "./discovery.js";
import { ABNORMAL, type Transport, type TransportConnection, type TransportListener } from "./transport.js";

/** How long a presence sent by datagram must stand before it is sent on the stream too. */
const REST_MS = 300;
/** How long what was sent last may take to leave, at a close. */
const FAREWELL_MS = 300;
/** How long a session whose streams broke may take to say that it was closed, and why. */
const LAST_WORD_MS = 300;
const MALFORMED = 4400;
const CONNECTION = 0;

/** The part of the browser's stream used here. */
export interface StreamLike {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}

/** The part of the browser's `WebTransport` used here, so that another implementation can be passed. */
export interface WebTransportLike {
  readonly ready: Promise<unknown>;
  readonly closed: Promise<{ readonly closeCode?: number; readonly reason?: string }>;
  readonly datagrams: { readonly readable: ReadableStream<Uint8Array>; readonly writable: WritableStream<Uint8Array>; readonly maxDatagramSize: number };
  createBidirectionalStream(): Promise<StreamLike>;
  close(info?: { closeCode?: number; reason?: string }): void;
}

/** Constructor of a {@link WebTransportLike}. */
export type WebTransportConstructor = new (url: string, options: {
  readonly serverCertificateHashes?: readonly { readonly algorithm: string; readonly value: Uint8Array }[];
  readonly congestionControl?: "low-latency";
}) => WebTransportLike;

/** Options of {@link WebTransportTransport}. */
export interface WebTransportOptions {
  /** The browser's own by default. */
  readonly WebTransport?: WebTransportConstructor | undefined;
  /** Use it in Safari too, whose streams stall after long sessions (WebKit bug 319818): false. */
  readonly safari?: boolean;
  /** The only certificates to accept, SHA-256 of each, for a relay that does not publish them itself. */
  readonly serverCertificateHashes?: readonly Uint8Array[];
  readonly discovery?: Discovery;
}

/** The transport of choice where there is UDP. */
export class WebTransportTransport implements Transport {
  readonly name = "webtransport";
  readonly supported: boolean;
  readonly #sessionClass: WebTransportConstructor | undefined;
  readonly #discovery: Discovery;
  readonly #hashes: readonly Uint8Array[];

  constructor(options: WebTransportOptions = {}) {
    const { WebTransport: own } = globalThis as unknown as { WebTransport?: WebTransportConstructor };
    this.#sessionClass = options.WebTransport ?? own;
    this.#discovery = options.discovery ?? new Discovery();
    this.#hashes = options.serverCertificateHashes ?? [];
    this.supported = this.#sessionClass !== undefined && (options.safari === true || !isSafari());
  }

  connect(url: string, listener: TransportListener, certificates: Uint8Array = new Uint8Array(0)): TransportConnection {
    return new WebTransportConnection(() => this.#begin(url, certificates), listener);
  }

  /** Asks the relay where it listens before anybody connects. Resolves with whether it does. */
  prepare(url: string): Promise<boolean> {
    return this.#discovery.ask(url);
  }

  /** Opens a session with the relay; null: it listens nowhere. */
  async #begin(relay: string, certificates: Uint8Array): Promise<WebTransportLike | null> {
    const given = certificates.length > 0 ? { url: relay, certificates: hashesIn(certificates) } : await this.#discovery.find(relay);
    if (!given || !this.#sessionClass) return null;
    return new this.#sessionClass(given.url, { congestionControl: "low-latency", ...this.#accepted(given) });
  }

  #accepted({ certificates }: WebTransportAddress): { serverCertificateHashes?: { algorithm: string; value: Uint8Array }[] } {
    const hashes = certificates.length > 0 ? certificates : this.#hashes;
    return hashes.length === 0 ? {} : { serverCertificateHashes: hashes.map((value) => ({ algorithm: "sha-256", value })) };
  }
}

/** WebKit by its maker: Chromium and Firefox on Apple's phones are WebKit too. */
function isSafari(): boolean {
  return typeof navigator !== "undefined" && (navigator as { vendor?: string }).vendor === "Apple Computer, Inc.";
}

/** One channel's stream. Writing begins before it is open. */
interface Stream {
  readonly writer: Promise<WritableStreamDefaultWriter<Uint8Array>>;
  /** Nothing more is sent on it. */
  finished: boolean;
  /** The last write, done when the transport has taken it. */
  last: Promise<unknown>;
  /** Whether the other end has spoken on it. */
  heard: boolean;
  /** The latest presence that only a datagram carried. */
  presence: { readonly bytes: Uint8Array; readonly timer: ReturnType<typeof setTimeout> } | null;
}

class WebTransportConnection implements TransportConnection {
  readonly #listener: TransportListener;
  readonly #streams = new Map<number, Stream>();
  #session: WebTransportLike | null = null;
  #datagrams: WritableStreamDefaultWriter<Uint8Array> | null = null;
  #open = false;
  #ended = false;
  #closing: { readonly code: number; readonly reason: string } | null = null;

  constructor(begin: () => Promise<WebTransportLike | null>, listener: TransportListener) {
    this.#listener = listener;
    void this.#run(begin);
  }

  send(bytes: Uint8Array): void {
    if (!this.#open || this.#closing) return;
    for (const frame of framesOf(bytes)) {
      if (frame.kind === KIND.presence) this.#sendPresence(frame);
      else this.#sendOnStream(frame);
    }
  }

  close(code = 1000, reason = ""): void {
    if (this.#closing || this.#ended) return;
    this.#closing = { code, reason };
    void this.#leave(code, reason);
  }

  /** From the first step to the end of the session. */
  async #run(begin: () => Promise<WebTransportLike | null>): Promise<void> {
    try {
      const session = await begin();
      if (!session) return this.#end(ABNORMAL, "the relay does not listen for WebTransport");
      session.closed.catch(() => undefined);
      if (this.#closing) {
        session.ready.catch(() => undefined);
        session.close();
        return this.#end(this.#closing.code, this.#closing.reason);
      }
      this.#session = session;
      void session.closed.then(
        ({ closeCode, reason }) => this.#end(closeCode || ABNORMAL, reason ?? ""),
        (error: unknown) => this.#end(ABNORMAL, wordsOf(error)),
      );
      await session.ready;
      this.#datagrams = session.datagrams.writable.getWriter();
      void this.#readDatagrams(session);
      await this.#stream(CONNECTION).writer;
      if (this.#closing || this.#ended) return;
      this.#open = true;
      this.#listener.opened();
    } catch (error) {
      this.#end(ABNORMAL, wordsOf(error));
    }
  }

  /** The stream of a channel, opened with its first frame. */
  #stream(channel: number): Stream {
    const known = this.#streams.get(channel);
    if (known) return known;
    const opening = this.#session?.createBidirectionalStream() ?? Promise.reject(new Error("no session"));
    const stream: Stream = {
      writer: opening.then(({ readable, writable }) => {
        void this.#read(channel, readable);
        return writable.getWriter();
      }),
      finished: false, last: opening, heard: false, presence: null,
    };
    stream.writer.catch((error: unknown) => this.#broken(error));
    this.#streams.set(channel, stream);
    return stream;
  }

  #sendOnStream({ channel, kind, bytes }: WholeFrame): void {
    const stream = this.#stream(channel);
    if (stream.finished) return;
    const copy = bytes.slice();
    this.#write(stream, (writer) => writer.write(copy));
    if (kind === KIND.bye) this.#finish(stream);
  }

  /** What is written on one stream keeps its order. */
  #write(stream: Stream, act: (writer: WritableStreamDefaultWriter<Uint8Array>) => Promise<void>): void {
    stream.last = stream.writer.then(act).catch(() => undefined); // a reset stream is told by its reader
  }

  #finish(stream: Stream): void {
    if (stream.finished) return;
    stream.finished = true;
    if (stream.presence) clearTimeout(stream.presence.timer);
    stream.presence = null;
    this.#write(stream, (writer) => writer.close());
  }

  #sendPresence(frame: WholeFrame): void {
    const stream = this.#stream(frame.channel);
    if (stream.presence) clearTimeout(stream.presence.timer);
    stream.presence = null;
    const fits = frame.bytes.length <= (this.#session?.datagrams.maxDatagramSize ?? 0);
    if (!fits || isGoodbye(frame) || !this.#datagrams || stream.finished) return this.#sendOnStream(frame);
    const bytes = frame.bytes.slice();
    this.#datagrams.write(bytes).catch(() => undefined);
    const timer = setTimeout(() => {
      stream.presence = null;
      if (!this.#closing) this.#sendOnStream({ ...frame, bytes });
    }, REST_MS);
    stream.presence = { bytes, timer };
  }

  async #read(channel: number, readable: ReadableStream<Uint8Array>): Promise<void> {
    const gatherer = new FrameGatherer();
    const reader = readable.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done || this.#ended) break;
        const whole = gatherer.take(value);
        if (whole) this.#received(channel, whole.bytes, whole.frames);
      }
      // The end of the connection's own stream is the end of the session, which says why by itself.
      if (gatherer.partial) this.#fail(MALFORMED, "a stream that ends within a frame");
    } catch (error) {
      if (this.#streams.get(channel)?.finished) return;
      if (isMalformed(error)) this.#fail(MALFORMED, wordsOf(error));
      else await this.#broken(error);
    }
  }

  /**
   * A stream broke. When the session has ended, its streams break before it says why: it has the word for a moment. A stream
   * that breaks alone is reset by a relay that has not said `closed` on it: the connection is not what it seems.
   */
  async #broken(error: unknown): Promise<void> {
    const told = this.#session?.closed.then(() => undefined, () => undefined);
    await Promise.race([told, new Promise((resolve) => setTimeout(resolve, LAST_WORD_MS))]);
    this.#fail(ABNORMAL, wordsOf(error));
  }

  #received(channel: number, bytes: Uint8Array, frames: readonly WholeFrame[]): void {
    if (frames.some((frame) => frame.channel !== channel)) return this.#fail(MALFORMED, "a frame on another channel's stream");
    const stream = this.#streams.get(channel);
    if (stream) stream.heard = true;
    if (this.#ended || this.#closing) return;
    this.#listener.received(bytes);
    if (stream && frames.some((frame) => frame.kind === KIND.closed)) this.#finish(stream);
  }

  async #readDatagrams(session: WebTransportLike): Promise<void> {
    const reader = session.datagrams.readable.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done || this.#ended) return;
        const frame = presenceIn(value);
        // A datagram may overtake the stream it belongs to, or outlive it.
        const stream = frame && this.#streams.get(frame.channel);
        if (stream?.heard && !stream.finished && !this.#closing) this.#listener.received(value);
      }
    } catch { /* the session's end is told elsewhere */ }
  }

  /** Ends a session that is not what it should be. */
  #fail(code: number, reason: string): void {
    if (this.#ended) return;
    try { this.#session?.close({ closeCode: code, reason }); } catch { /* it is over already */ }
    this.#end(code, reason);
  }

  /** Closes after what was sent has left. */
  async #leave(code: number, reason: string): Promise<void> {
    if (!this.#session) {
      // Still looking for the relay: what comes of it is closed then.
      queueMicrotask(() => this.#end(code, reason));
      return;
    }
    if (this.#open) {
      const streams = [...this.#streams.values()];
      for (const stream of streams) this.#finish(stream);
      await Promise.race([Promise.all(streams.map(({ last }) => last)), new Promise((resolve) => setTimeout(resolve, FAREWELL_MS))]);
    }
    this.#fail(code, reason);
  }

  #end(code: number, reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#open = false;
    for (const { presence } of this.#streams.values()) if (presence) clearTimeout(presence.timer);
    const { code: told, reason: why } = this.#closing ?? { code, reason };
    this.#listener.ended(told, why);
  }
}

/** A presence without data: its session, which a client leaves 0, and `none`. It must not be overtaken by what it ends. */
function isGoodbye({ bytes, payloadAt }: WholeFrame): boolean {
  return bytes[payloadAt] === 0 && bytes[payloadAt + 1] === 0;
}

/** The presence that a datagram is; null for what is none. */
function presenceIn(datagram: Uint8Array): WholeFrame | null {
  try {
    const frame = frameAt(datagram, 0);
    return frame?.kind === KIND.presence && frame.bytes.length === datagram.length ? frame : null;
  } catch {
    return null;
  }
}

function isMalformed(error: unknown): boolean {
  return error instanceof Error && error.name === "MalformedError";
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
