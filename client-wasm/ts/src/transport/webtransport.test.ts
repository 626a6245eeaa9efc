import assert from "node:assert/strict";
import { describe, it, mock } from "node:test";
import { MemoryWebTransport, MEMORY_URL, type MemorySession } from "../testing/memory-webtransport.js";
import { frame, transportContract } from "./contract.js";
import { addressIn, Discovery, hashesIn } from "./discovery.js";
import { FrameGatherer, framesOf, KIND } from "./frames.js";
import type { TransportConnection } from "./transport.js";
import { WebTransportTransport } from "./webtransport.js";

const network = new MemoryWebTransport();
transportContract("WebTransport", new WebTransportTransport({ WebTransport: network.constructorOf }), async () => network.listen());

const HASH = "ab".repeat(32);
const answer = (...addresses: unknown[]): unknown => ({ endpoints: [{ relay: "r", region: "eu", addresses }] });

interface Open {
  readonly session: MemorySession;
  readonly connection: TransportConnection;
  readonly received: number[][];
  readonly ended: Promise<[number, string]>;
}

/** A session with the relay, and what it tells. */
async function open(): Promise<Open> {
  const network = new MemoryWebTransport();
  const received: number[][] = [];
  const transport = new WebTransportTransport({ WebTransport: network.constructorOf });
  let connection: TransportConnection | undefined;
  const ended = new Promise<[number, string]>((resolve) => {
    connection = transport.connect(MEMORY_URL, {
      opened: () => undefined,
      received: (bytes) => received.push([...bytes]),
      ended: (code, reason) => resolve([code, reason]),
    });
  });
  const session = await network.session();
  await turn();
  assert.ok(connection);
  return { session, connection, received, ended };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
const presence = (channel: number, ...data: number[]): Uint8Array => Uint8Array.of(channel, KIND.presence, data.length + 3, 0, 1, data.length, ...data);
const goodbye = (channel: number): Uint8Array => Uint8Array.of(channel, KIND.presence, 3, 0, 0, 0);

describe("a stream's frames", () => {
  it("are whole however they were cut", () => {
    const bytes = Uint8Array.of(...frame(1, 1, 2), ...frame(300 & 0x7f, 5), ...frame(2));
    for (let step = 1; step <= bytes.length; step++) {
      const gatherer = new FrameGatherer();
      const out: number[] = [];
      for (let at = 0; at < bytes.length; at += step) {
        const whole = gatherer.take(bytes.slice(at, at + step));
        if (whole) out.push(...whole.bytes);
      }
      assert.deepEqual(out, [...bytes]);
      assert.equal(gatherer.partial, false);
    }
  });

  it("may be as long as the protocol allows, and no longer", () => {
    const long = new Uint8Array(64 * 1024);
    long.set([1, 0x7f, 0xfb, 0xff, 0x03]); // 65,531 bytes after a header of five
    assert.equal([...framesOf(long)].length, 1);
    assert.throws(() => new FrameGatherer().take(Uint8Array.of(1, 0x7f, 0xfc, 0xff, 0x03)), /a frame of/);
    assert.throws(() => new FrameGatherer().take(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff)), /32 bits/);
    assert.throws(() => [...framesOf(Uint8Array.of(1, 0x7f, 9))], /outside its message/);
  });
});

describe("WebTransport", () => {
  it("gives every channel a stream of its own, and ends it with the document", async () => {
    const { session, connection, received, ended } = await open();
    connection.send(frame(1, 1));
    connection.send(Uint8Array.of(2, KIND.bye, 0));
    connection.send(frame(2, 9)); // after its end: nobody reads it
    assert.deepEqual([...(await session.peer.receive())], [...frame(1, 1)]);
    assert.deepEqual([...(await session.peer.receive())], [2, KIND.bye, 0]);
    await turn();
    assert.deepEqual([...session.finished], [2]);
    await session.write(1, Uint8Array.of(1, KIND.closed, 0));
    await turn();
    assert.deepEqual([...session.finished].sort(), [1, 2], "a document that the relay closed has nothing more to say");
    await session.endStream(1, "reset");
    await turn();
    connection.send(frame(3, 7));
    assert.deepEqual([...(await session.peer.receive())], [...frame(3, 7)], "the others go on");
    assert.deepEqual(received, [[1, KIND.closed, 0]]);
    connection.close();
    assert.deepEqual(await ended, [1000, ""]);
  });

  it("gives up a connection whose streams are not what they should be", async () => {
    const cases: [string, (session: MemorySession) => Promise<void>, number][] = [
      ["a frame on another channel's stream", (session) => session.write(1, frame(2, 1)), 4400],
      ["a frame beyond the limit", (session) => session.write(1, Uint8Array.of(1, 0x7f, 0xff, 0xff, 0x7f)), 4400],
      ["an end within a frame", async (session) => { await session.write(1, Uint8Array.of(1, 0x7f, 9, 1)); await session.endStream(1, "finish"); }, 4400],
      ["a reset without a word", (session) => session.endStream(1, "reset"), 1006],
    ];
    for (const [what, fault, code] of cases) {
      const { session, connection, ended } = await open();
      connection.send(frame(1, 1));
      await session.peer.receive();
      await fault(session);
      assert.equal((await ended)[0], code, what);
      await session.peer.gone;
    }
  });

  it("sends presence by datagram, and once more on the stream when it has come to rest", async () => {
    const { session, connection } = await open();
    connection.send(frame(1, 1));
    await session.peer.receive();
    mock.timers.enable({ apis: ["setTimeout"] });
    try {
      connection.send(presence(1, 1));
      connection.send(presence(1, 2));
      mock.timers.tick(299);
      connection.send(presence(1, 3));
      mock.timers.tick(299);
      await turn();
      assert.deepEqual(session.datagramsReceived.map((bytes) => bytes.at(-1)), [1, 2, 3]);
      mock.timers.tick(1);
      assert.deepEqual([...(await session.peer.receive())], [...presence(1, 3)]);
      connection.send(presence(1, 4));
      connection.send(goodbye(1));
      mock.timers.tick(1_000);
      assert.deepEqual([...(await session.peer.receive())], [...goodbye(1)], "a goodbye cannot be overtaken by its own presence");
      connection.send(presence(1, ...new Array<number>(120).fill(7)));
    } finally {
      mock.timers.reset();
    }
    assert.equal(session.datagramsReceived.length, 5);
  });

  it("takes presence from datagrams of documents that are open, and nothing else", async () => {
    const { session, connection, received } = await open();
    connection.send(frame(1, 1));
    await session.peer.receive();
    await session.datagram(presence(1, 1)); // before the relay has said a word about the document
    await session.write(1, frame(1, 2));
    await turn();
    for (const bytes of [presence(1, 3), presence(9, 1), frame(1, 4), Uint8Array.of(1), Uint8Array.of(...presence(1, 5), 0)]) await session.datagram(bytes);
    await turn();
    assert.deepEqual(received, [[...frame(1, 2)], [...presence(1, 3)]]);
    connection.close();
  });

  it("takes the certificates it is given, and asks the relay where only its origin is known", async () => {
    const network = new MemoryWebTransport();
    const asked: string[] = [];
    const discovery = new Discovery((url) => {
      asked.push(url);
      return Promise.resolve(Response.json(answer({ transport: "websocket", url: "ws://memory" }, { transport: "webtransport", url: MEMORY_URL, certificates: [HASH] })));
    });
    const transport = new WebTransportTransport({ WebTransport: network.constructorOf, discovery });
    const quiet = { opened: () => undefined, received: () => undefined, ended: () => undefined };
    transport.connect(MEMORY_URL, quiet, new Uint8Array(64).fill(5));
    await network.session();
    assert.equal(await transport.prepare("http://127.0.0.1:4400"), true);
    for (let i = 0; i < 2; i++) {
      transport.connect("http://127.0.0.1:4400", quiet);
      await network.session();
    }
    assert.deepEqual(network.asked.map(({ hashes }) => hashes.map((hash) => hash.length)), [[32, 32], [32], [32]]);
    assert.deepEqual(asked, Array(2).fill("http://127.0.0.1:4400/v1/endpoints"), "an answer asked for early is used once");
  });

  it("asks a relay of this machine for its certificates where only an address is known, and no other", async () => {
    const network = new MemoryWebTransport();
    const asked: string[] = [];
    const discovery = new Discovery((url) => {
      asked.push(url);
      return Promise.resolve(Response.json(answer({ transport: "webtransport", url: "https://127.0.0.1:9/v1/connect", certificates: [HASH] })));
    });
    const transport = new WebTransportTransport({ WebTransport: network.constructorOf, discovery });
    for (const url of ["https://127.0.0.1:4431/v1/connect", "https://localhost:4431/v1/connect", "https://relay.example/v1/connect"]) {
      // Nobody is there, which it finds when it has all it needs.
      await new Promise((resolve) => transport.connect(url, { opened: () => undefined, received: () => undefined, ended: resolve }));
    }
    assert.deepEqual(network.asked.map(({ hashes }) => hashes.length), [1, 1, 0]);
    assert.deepEqual(asked, ["http://127.0.0.1:4431/v1/endpoints", "http://localhost:4431/v1/endpoints"]);
  });

  it("ends at once where the relay does not listen for it", async () => {
    for (const response of [() => Response.json(answer({ transport: "websocket", url: "ws://x" })), () => new Response("", { status: 404 }), () => new Response("no json")]) {
      const transport = new WebTransportTransport({ WebTransport: network.constructorOf, discovery: new Discovery(() => Promise.resolve(response())) });
      const ended = await new Promise<number>((resolve) => {
        transport.connect("http://127.0.0.1:4400", { opened: () => undefined, received: () => undefined, ended: resolve });
      });
      assert.equal(ended, 1006);
    }
  });
});

describe("a relay's answer", () => {
  const check = (what: string, value: unknown, url: string | undefined): void => void it(what, () => assert.equal(addressIn(value)?.url, url));
  check("names its own address first", { endpoints: [...(answer({ transport: "webtransport", url: "https://a/", certificates: [] }) as { endpoints: unknown[] }).endpoints, { addresses: [] }] }, "https://a/");
  check("is nothing without the transport", answer({ transport: "quic", url: "quic://a" }), undefined);
  check("is nothing with a hash that is none", answer({ transport: "webtransport", url: "https://a/", certificates: ["xyz"] }), undefined);
  check("is nothing where it is no list", { endpoints: "none" }, undefined);
  check("is nothing where it is nothing", null, undefined);
  it("has hashes of 32 bytes", () => {
    assert.deepEqual(hashesIn(new Uint8Array(64)).map(({ length }) => length), [32, 32]);
    assert.equal(hashesIn(new Uint8Array(31)).length, 0);
  });
});
