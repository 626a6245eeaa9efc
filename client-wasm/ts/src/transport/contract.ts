/** What every transport must do. Run on the in-memory twins and on WebSocket; messages are whole frames. */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { framesOf } from "./frames.js";
import type { Transport, TransportConnection, TransportListener } from "./transport.js";

/** The other end, for the suite. */
export interface Peer {
  readonly url: string;
  /** An address where nobody listens. */
  readonly deadUrl: string;
  /** The next connection accepted. */
  accept(): Promise<PeerConnection>;
  close(): Promise<void>;
}

/** One accepted connection. */
export interface PeerConnection {
  send(bytes: Uint8Array): void;
  close(code: number, reason: string): void;
  /** The next message. */
  receive(): Promise<Uint8Array>;
  /** Resolves when the client is gone. */
  readonly gone: Promise<void>;
}

type Told = ["opened"] | ["received", number[]] | ["ended", number, string];

class Listener implements TransportListener {
  readonly told: Told[] = [];
  #wake: (() => void)[] = [];

  opened(): void { this.#tell(["opened"]); }
  received(bytes: Uint8Array): void { this.#tell(["received", [...bytes]]); }
  ended(code: number, reason: string): void { this.#tell(["ended", code, reason]); }

  async until(count: number): Promise<Told[]> {
    while (this.told.length < count) await new Promise<void>((resolve) => this.#wake.push(resolve));
    return this.told;
  }

  /** The first `count` frames received. */
  async receives(count: number): Promise<number[][]> {
    for (let told = 1; ; told++) {
      const messages = (await this.until(told)).flatMap(([what, bytes]) => what === "received" ? [Uint8Array.from(bytes)] : []);
      const frames = messages.flatMap((message) => [...framesOf(message)].map(({ bytes }) => [...bytes]));
      if (frames.length >= count) return frames;
    }
  }

  #tell(what: Told): void {
    this.told.push(what);
    for (const wake of this.#wake.splice(0)) wake();
  }
}

/** A frame of a kind that no transport knows. */
export function frame(channel: number, ...payload: number[]): Uint8Array {
  return Uint8Array.of(channel, 0x7f, payload.length, ...payload);
}

/** Registers the suite. */
export function transportContract(name: string, transport: Transport, listen: () => Promise<Peer>): void {
  describe(`transport: ${name}`, () => {
    let peer: Peer;
    before(async () => { peer = await listen(); });
    after(() => peer.close());

    const connect = async (): Promise<{ listener: Listener; connection: TransportConnection; other: PeerConnection }> => {
      const listener = new Listener();
      const connection = transport.connect(peer.url, listener);
      const other = await peer.accept();
      await listener.until(1);
      return { listener, connection, other };
    };

    it("says it is supported", () => assert.equal(transport.supported, true));

    it("carries whole frames both ways, in order", async () => {
      const { listener, connection, other } = await connect();
      connection.send(frame(0, 1));
      connection.send(frame(0, 2, 3));
      assert.deepEqual([...(await other.receive())], [...frame(0, 1)]);
      assert.deepEqual([...(await other.receive())], [...frame(0, 2, 3)]);
      other.send(frame(0, 4));
      other.send(frame(0, 5, 6));
      assert.deepEqual(await listener.receives(2), [[...frame(0, 4)], [...frame(0, 5, 6)]]);
      connection.close();
      await other.gone;
    });

    it("carries several channels, each in order, and messages of several frames", async () => {
      const { listener, connection, other } = await connect();
      connection.send(Uint8Array.of(...frame(0, 1), ...frame(1, 2), ...frame(1, 3), ...frame(2, 4)));
      connection.send(frame(1, 5));
      const got: number[][] = [];
      while (got.length < 5) for (const one of framesOf(await other.receive())) got.push([...one.bytes]);
      const of = (channel: number): number[][] => got.filter(([first]) => first === channel);
      assert.deepEqual(of(1), [frame(1, 2), frame(1, 3), frame(1, 5)].map((one) => [...one]));
      assert.deepEqual([...of(0), ...of(2)], [frame(0, 1), frame(2, 4)].map((one) => [...one]));
      other.send(frame(1, 6));
      other.send(frame(2, 7));
      other.send(frame(1, 8));
      const back = await listener.receives(3);
      assert.deepEqual(back.filter(([first]) => first === 1), [[...frame(1, 6)], [...frame(1, 8)]]);
      assert.ok(back.some(([first]) => first === 2));
      connection.close();
      await other.gone;
    });

    it("carries what is sent right before the close", async () => {
      const { connection, other } = await connect();
      connection.send(frame(0, 1));
      connection.close();
      assert.deepEqual([...(await other.receive())], [...frame(0, 1)]);
      await other.gone;
    });

    it("takes what is sent as it is at that moment", async () => {
      const { connection, other } = await connect();
      const bytes = frame(0, 1, 2);
      connection.send(bytes);
      bytes[3] = 9;
      assert.deepEqual([...(await other.receive())], [...frame(0, 1, 2)]);
      connection.close();
    });

    it("tells the code and reason the other end closed with, once and last", async () => {
      const { listener, other } = await connect();
      other.send(frame(0, 1));
      await listener.until(2);
      other.close(4503, "draining");
      await listener.until(3);
      other.send(frame(0, 2));
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.deepEqual(listener.told, [["opened"], ["received", [...frame(0, 1)]], ["ended", 4503, "draining"]]);
    });

    it("ends when it is closed, twice is once", async () => {
      const { listener, connection, other } = await connect();
      connection.close(4400, "no");
      connection.close();
      connection.send(frame(0, 1));
      assert.deepEqual(await listener.until(2), [["opened"], ["ended", 4400, "no"]]);
      await other.gone;
      assert.equal(listener.told.length, 2);
    });

    it("ends without opening where nobody listens, or the address is none", async () => {
      for (const url of [peer.deadUrl, "not an address:"]) {
        const listener = new Listener();
        transport.connect(url, listener);
        const [told] = await listener.until(1);
        assert.equal(told?.[0], "ended");
        assert.equal(listener.told.length, 1);
      }
    });

    it("never opens when it is closed before", async () => {
      const listener = new Listener();
      transport.connect(peer.url, listener).close();
      await listener.until(1);
      await new Promise((resolve) => setTimeout(resolve, 30));
      assert.deepEqual(listener.told.map(([what]) => what), ["ended"]);
    });
  });
}
