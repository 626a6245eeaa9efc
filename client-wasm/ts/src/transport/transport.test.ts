import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";
import { WebSocket, WebSocketServer } from "ws";
import { MemoryTransport } from "../testing/memory-transport.js";
import { transportContract, type Peer, type PeerConnection } from "./contract.js";
import { WebSocketTransport, websocketUrl, type WebSocketConstructor } from "./websocket.js";

const memory = new MemoryTransport();
transportContract("memory", memory, async () => memory.listen());

transportContract("WebSocket", new WebSocketTransport({ WebSocket: WebSocket as unknown as WebSocketConstructor }), async (): Promise<Peer> => {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", path: "/v1/connect" });
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const accepted: PeerConnection[] = [];
  const waiting: ((connection: PeerConnection) => void)[] = [];
  server.on("connection", (socket) => {
    const connection = peerOf(socket);
    const wants = waiting.shift();
    if (wants) wants(connection);
    else accepted.push(connection);
  });
  return {
    url: `http://127.0.0.1:${port}`,
    deadUrl: "http://127.0.0.1:9",
    accept: () => {
      const ready = accepted.shift();
      return ready ? Promise.resolve(ready) : new Promise((resolve) => waiting.push(resolve));
    },
    close: async () => {
      for (const client of server.clients) client.terminate();
      server.close();
      await once(server, "close");
    },
  };
});

function peerOf(socket: WebSocket): PeerConnection {
  const messages: Uint8Array[] = [];
  const waiting: ((bytes: Uint8Array) => void)[] = [];
  socket.on("message", (data: Buffer) => {
    const wants = waiting.shift();
    if (wants) wants(data);
    else messages.push(data);
  });
  return {
    gone: once(socket, "close").then(() => undefined),
    send: (bytes) => socket.send(bytes),
    close: (code, reason) => socket.close(code, reason),
    receive: () => {
      const ready = messages.shift();
      return ready ? Promise.resolve(ready) : new Promise((resolve) => waiting.push(resolve));
    },
  };
}

describe("a prepared WebSocket", () => {
  class Socket {
    static made: Socket[] = [];
    binaryType = "";
    readyState = 0;
    onopen: (() => void) | null = null;
    onmessage: (() => void) | null = null;
    onclose: ((event: { code: number; reason: string }) => void) | null = null;
    onerror: (() => void) | null = null;
    constructor(readonly url: string) { Socket.made.push(this); }
    send(): void {}
    close(): void { this.readyState = 3; }
  }
  const prepared = (url: string): { transport: WebSocketTransport; socket: Socket } => {
    Socket.made = [];
    const transport = new WebSocketTransport({ WebSocket: Socket as unknown as WebSocketConstructor });
    transport.prepare(url);
    const [socket] = Socket.made;
    assert.ok(socket);
    return { transport, socket };
  };
  const connect = (transport: WebSocketTransport, url: string): { told: string[] } => {
    const told: string[] = [];
    transport.connect(url, { opened: () => told.push("opened"), received: () => told.push("received"), ended: () => told.push("ended") });
    return { told };
  };

  it("is the one the next connection uses, open or not", async () => {
    for (const early of [true, false]) {
      const { transport, socket } = prepared("http://relay");
      if (early) socket.readyState = 1;
      const { told } = connect(transport, "http://relay");
      assert.deepEqual(told, [], "nothing is told while the caller is still connecting");
      socket.readyState = 1;
      if (!early) socket.onopen?.();
      await Promise.resolve();
      assert.deepEqual(told, ["opened"]);
      assert.equal(Socket.made.length, 1);
      connect(transport, "http://relay");
      assert.equal(Socket.made.length, 2, "it is used once");
    }
  });

  it("is left alone when it failed, or goes elsewhere", () => {
    const { transport, socket } = prepared("http://relay");
    connect(transport, "http://other");
    assert.equal(Socket.made.length, 2);
    socket.readyState = 3;
    connect(transport, "http://relay");
    assert.equal(Socket.made.length, 3);
    transport.discard();
  });

  it("is closed when nobody wants it", () => {
    const { transport, socket } = prepared("http://relay");
    transport.discard();
    assert.equal(socket.readyState, 3);
    connect(transport, "http://relay");
    assert.equal(Socket.made.length, 2);
  });
});

describe("websocketUrl", () => {
  const check = (relay: string, expected: string): void => void it(relay, () => assert.equal(websocketUrl(relay), expected));
  check("https://relay.example.com", "wss://relay.example.com/v1/connect");
  check("http://127.0.0.1:4400/", "ws://127.0.0.1:4400/v1/connect");
  check("wss://relay.example.com/v1/connect", "wss://relay.example.com/v1/connect");
  check("https://example.com/relay", "wss://example.com/relay");
  check("https://relay.example.com/#part", "wss://relay.example.com/v1/connect");
});
