/** WebTransport within this process, for tests: sessions, streams and datagrams, and the relay's side of them. */

import type { Peer, PeerConnection } from "../transport/contract.js";
import type { StreamLike, WebTransportConstructor, WebTransportLike } from "../transport/webtransport.js";
import { FrameGatherer, frameAt, framesOf } from "../transport/frames.js";

/** Where sessions are accepted. */
export const MEMORY_URL = "https://memory/v1/connect";

/** A network with one relay on it. */
export class MemoryWebTransport {
  readonly constructorOf: WebTransportConstructor;
  /** Every session asked for: its address and its certificates. */
  readonly asked: { readonly url: string; readonly hashes: readonly Uint8Array[] }[] = [];
  readonly #accepted: MemorySession[] = [];
  #waiting: ((session: MemorySession) => void)[] = [];

  constructor() {
    const network = this;
    this.constructorOf = class extends MemorySession {
      constructor(url: string, options: { readonly serverCertificateHashes?: readonly { readonly value: Uint8Array }[] }) {
        super(new URL(url).href === MEMORY_URL);
        network.asked.push({ url, hashes: (options.serverCertificateHashes ?? []).map(({ value }) => value) });
        void this.ready.then(() => network.#accept(this), () => undefined);
      }
    };
  }

  /** The next session, from the relay's side. */
  session(): Promise<MemorySession> {
    const ready = this.#accepted.shift();
    return ready ? Promise.resolve(ready) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The relay's side in the form of the contract. */
  listen(): Peer {
    return {
      url: MEMORY_URL,
      deadUrl: "https://nobody/v1/connect",
      accept: async () => (await this.session()).peer,
      close: () => Promise.resolve(),
    };
  }

  #accept(session: MemorySession): void {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(session);
    else this.#accepted.push(session);
  }
}

/** Both ends of one session. */
export class MemorySession implements WebTransportLike {
  readonly ready: Promise<void>;
  readonly closed: Promise<{ closeCode?: number; reason?: string }>;
  readonly datagrams: WebTransportLike["datagrams"];
  readonly peer: PeerConnection;
  /** What came as datagrams. */
  readonly datagramsReceived: Uint8Array[] = [];
  /** The channels whose streams the client has ended. */
  readonly finished = new Set<number>();
  #end: (info: { closeCode?: number; reason?: string }) => void = () => undefined;
  #lose: (error: Error) => void = () => undefined;
  readonly #toClient = new TransformStream<Uint8Array, Uint8Array>();
  readonly #datagramWriter = this.#toClient.writable.getWriter();
  readonly #streams: { channel: number | null; readonly writer: WritableStreamDefaultWriter<Uint8Array> }[] = [];
  readonly #messages: Uint8Array[] = [];
  #waiting: ((bytes: Uint8Array) => void)[] = [];

  constructor(reachable: boolean) {
    this.closed = new Promise((resolve, reject) => { this.#end = resolve; this.#lose = reject; });
    this.ready = reachable ? Promise.resolve() : Promise.reject(new Error("nobody is there"));
    if (!reachable) this.#lose(new Error("nobody is there"));
    const incoming = new WritableStream<Uint8Array>({ write: (bytes) => { this.datagramsReceived.push(bytes.slice()); } });
    this.datagrams = { readable: this.#toClient.readable, writable: incoming, maxDatagramSize: 1_200 };
    this.peer = {
      gone: this.closed.then(() => undefined, () => undefined),
      send: (bytes) => { for (const frame of framesOf(bytes)) void this.write(frame.channel, frame.bytes); },
      close: (closeCode, reason) => this.#end({ closeCode, reason }),
      receive: () => {
        const ready = this.#messages.shift();
        return ready ? Promise.resolve(ready) : new Promise((resolve) => this.#waiting.push(resolve));
      },
    };
  }

  createBidirectionalStream(): Promise<StreamLike> {
    const [up, down] = [new TransformStream<Uint8Array, Uint8Array>(), new TransformStream<Uint8Array, Uint8Array>()];
    const stream = { channel: this.#streams.length === 0 ? 0 : null as number | null, writer: down.writable.getWriter() };
    this.#streams.push(stream);
    void this.#read(stream, up.readable);
    return Promise.resolve({ readable: down.readable, writable: up.writable });
  }

  close(info: { closeCode?: number; reason?: string } = {}): void {
    this.#end(info);
  }

  /** Sends bytes on a channel's stream, whole frames or not. */
  async write(channel: number, bytes: Uint8Array): Promise<void> {
    const stream = this.#streams.find((one) => one.channel === channel);
    await stream?.writer.write(bytes.slice()).catch(() => undefined);
  }

  /** Ends a channel's stream, by a reset or in order. */
  async endStream(channel: number, how: "reset" | "finish"): Promise<void> {
    const stream = this.#streams.find((one) => one.channel === channel);
    await (how === "reset" ? stream?.writer.abort(new Error("reset")) : stream?.writer.close());
  }

  /** Sends a datagram. */
  async datagram(bytes: Uint8Array): Promise<void> {
    await this.#datagramWriter.write(bytes.slice());
  }

  async #read(stream: { channel: number | null }, readable: ReadableStream<Uint8Array>): Promise<void> {
    const gatherer = new FrameGatherer();
    for await (const chunk of readable) {
      const whole = gatherer.take(chunk);
      if (!whole) continue;
      stream.channel ??= frameAt(whole.bytes, 0)?.channel ?? null;
      for (const frame of whole.frames) this.#got(frame.bytes.slice());
    }
    if (stream.channel !== null) this.finished.add(stream.channel);
  }

  #got(bytes: Uint8Array): void {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(bytes);
    else this.#messages.push(bytes);
  }
}
