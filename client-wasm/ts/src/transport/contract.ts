/** What every transport must do. Run on the in-memory twin and on WebSocket. */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
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

  #tell(what: Told): void {
    this.told.push(what);
    for (const wake of this.#wake.splice(0)) wake();
  }
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

    it("carries messages both ways, in order, with their bounds", async () => {
      const { listener, connection, other } = await connect();
      connection.send(Uint8Array.of(1));
      connection.send(Uint8Array.of(2, 3));
      assert.deepEqual([...(await other.receive())], [1]);
      assert.deepEqual([...(await other.receive())], [2, 3]);
      other.send(Uint8Array.of(4));
      other.send(Uint8Array.of(5, 6));
      assert.deepEqual(await listener.until(3), [["opened"], ["received", [4]], ["received", [5, 6]]]);
      connection.close();
      await other.gone;
    });

    it("takes what is sent as it is at that moment", async () => {
      const { connection, other } = await connect();
      const bytes = Uint8Array.of(1, 2);
      connection.send(bytes);
      bytes[0] = 9;
      assert.deepEqual([...(await other.receive())], [1, 2]);
      connection.close();
    });

    it("tells the code and reason the other end closed with, once and last", async () => {
      const { listener, other } = await connect();
      other.send(Uint8Array.of(1));
      other.close(4503, "draining");
      await listener.until(3);
      other.send(Uint8Array.of(2));
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.deepEqual(listener.told, [["opened"], ["received", [1]], ["ended", 4503, "draining"]]);
    });

    it("ends when it is closed, twice is once", async () => {
      const { listener, connection, other } = await connect();
      connection.close(4400, "no");
      connection.close();
      connection.send(Uint8Array.of(1));
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
