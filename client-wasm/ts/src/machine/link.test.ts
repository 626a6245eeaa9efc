import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SelvedgeError } from "../errors.js";
import type { Client } from "../wasm/selvedge.js";
import type { DocumentEffect } from "./effects.js";
import { Link } from "./link.js";

/** A machine of which only what a test needs is there. */
function machine(methods: Partial<Client>): Client {
  const rest: Partial<Client> = { drain: () => undefined, deadline: () => undefined, goOffline: () => undefined, free: () => undefined, open: () => 1 };
  return { ...rest, ...methods } as Client;
}

describe("Link", () => {
  it("executes effects in order, also those that come while it executes", () => {
    const told: string[] = [];
    let first = true;
    const client = machine({
      drain: (shell) => {
        if (!first) return;
        first = false;
        shell.synced(1);
        shell.rights(1, "read");
      },
    });
    const link = new Link({ client, transports: [], token: null, onEmpty: () => undefined });
    link.open({ document: "default/x", principal: "anon:1", store: false }, () => ({
      handle: (effect: DocumentEffect) => {
        told.push(effect.kind);
        if (effect.kind === "synced") link.run(() => undefined);
      },
      sessionChanged: () => undefined,
    }));
    link.pump();
    assert.deepEqual(told, ["synced", "rights"]);
  });

  it("says that an attempt failed for which there is no transport", () => {
    const failed: number[] = [];
    let first = true;
    const client = machine({
      drain: (shell) => {
        if (first) shell.connect(7, "https://relay.example", "webtransport", new Uint8Array(0));
        first = false;
      },
      connectFailed: (attempt) => failed.push(attempt),
    });
    new Link({ client, transports: [], token: null, onEmpty: () => undefined }).pump();
    assert.deepEqual(failed, [7]);
  });

  it("asks the token function again each time, and hands on what it gives", async () => {
    const given: (string | undefined)[] = [];
    let times = 2;
    const client = machine({
      drain: (shell) => { if (times-- > 0) shell.tokenNeeded(undefined); },
      provideToken: (_channel, token) => given.push(token),
    });
    let count = 0;
    const link = new Link({ client, transports: [], token: () => Promise.resolve(`token ${++count}`), onEmpty: () => undefined });
    link.pump();
    await new Promise((resolve) => setTimeout(resolve, 5));
    assert.deepEqual(given, ["token 1", "token 2"]);
  });

  it("has lists of endpoints verified and kept, and hands the machine only what was", async () => {
    const told: string[] = [];
    let signed = ["genuine", "forged"];
    const client = machine({
      drain: (shell) => {
        const [list, ...more] = signed;
        signed = more;
        if (list) shell.verifyEndpoints(list);
        else if (told.length === 2) shell.keepEndpoints("genuine", 7, 9);
      },
      endpointsVerified: (list) => told.push(`verified ${list}`),
      endpointsForged: () => told.push("forged"),
    });
    const endpoints = {
      verify: (text: string): Promise<Uint8Array | null> => Promise.resolve(text === "genuine" ? Uint8Array.of(7) : null),
      keep: (...kept: unknown[]): Promise<void> => {
        if (told.length < 3) told.push(`kept ${kept.join(" ")}`);
        return Promise.resolve();
      },
    };
    const link = new Link({ client, transports: [], token: null, endpoints, onEmpty: () => undefined });
    link.pump();
    await new Promise((resolve) => setTimeout(resolve, 5));
    assert.deepEqual(told, ["verified 7", "forged", "kept genuine 7 9"]);
  });

  it("warns that a list was refused, and that one could not be kept, and goes on", async (context) => {
    const warned = context.mock.method(console, "warn", () => undefined);
    let first = true;
    const client = machine({
      drain: (shell) => {
        if (!first) return;
        first = false;
        shell.endpointsRefused("older");
        shell.keepEndpoints("genuine", 7, 9);
      },
    });
    const endpoints = { verify: () => Promise.resolve(null), keep: () => Promise.reject(new Error("no room")) };
    const link = new Link({ client, transports: [], token: null, endpoints, onEmpty: () => undefined });
    link.pump();
    await new Promise((resolve) => setTimeout(resolve, 5));
    const codes = warned.mock.calls.map(({ arguments: [error] }) => (error as unknown) instanceof SelvedgeError && (error as SelvedgeError).code);
    assert.deepEqual(codes, ["endpoints", "store"]);
    assert.equal(link.over, false);
  });

  it("closes its documents when the module stops, and says so from then on", () => {
    let ended = 0;
    const told: DocumentEffect[] = [];
    const client = machine({ tick: () => { throw new WebAssembly.RuntimeError("unreachable"); } });
    const link = new Link({ client, transports: [], token: null, onEmpty: () => { ended++; } });
    link.open({ document: "default/x", principal: "anon:1", store: false }, () => ({ handle: (effect) => told.push(effect), sessionChanged: () => undefined }));
    assert.throws(() => link.run((machine, now) => machine.tick(now)), SelvedgeError);
    assert.deepEqual(told.map(({ kind }) => kind), ["closed"]);
    assert.throws(() => link.ask(() => 1), (error) => error instanceof SelvedgeError && error.code === "closed");
    assert.equal(ended, 1);
  });
});
