/** A relay of its own for a test: free ports, a data folder that goes with it, killed and started at will. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { relayBinary, webFolder } from "./places.mjs";

const READY_WITHIN_MS = 15_000;
const ENDS_WITHIN_MS = 10_000;
const OUTPUT_KEPT = 20_000;

export class Relay {
  #child = null;
  #output = "";
  #flags;

  constructor(folder, port, adminPort, flags) {
    this.folder = folder;
    this.port = port;
    this.adminPort = adminPort;
    this.#flags = flags;
  }

  /** Starts one; `flags` are added to its command line. */
  static async start({ flags = [] } = {}) {
    const folder = await mkdtemp(join(tmpdir(), "selvedge-relay-"));
    const [port, adminPort] = await freePorts(2);
    const relay = new Relay(folder, port, adminPort, flags);
    await relay.up();
    return relay;
  }

  get origin() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** What the program wrote so far, its end only. */
  get output() {
    return this.#output;
  }

  /** Starts the program on the same ports and data; resolves when it is ready to serve. */
  async up() {
    const args = ["serve", "--data", join(this.folder, "data"), "--listen", `127.0.0.1:${this.port}`, "--admin", `127.0.0.1:${this.adminPort}`, "--web", webFolder(), ...this.#flags];
    const child = spawn(relayBinary(), args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, RUST_BACKTRACE: "0" } });
    this.#child = child;
    const keep = (chunk) => {
      this.#output = (this.#output + chunk).slice(-OUTPUT_KEPT);
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    const deadline = Date.now() + READY_WITHIN_MS;
    while (!(await this.#isReady())) {
      if (child.exitCode !== null) throw new Error(`the relay ended with ${child.exitCode}:\n${this.#output}`);
      if (Date.now() > deadline) throw new Error(`the relay was not ready within ${READY_WITHIN_MS} ms:\n${this.#output}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** SIGKILL: as by a power cut of the process. */
  async kill() {
    await this.#end("SIGKILL");
  }

  /** SIGTERM: it drains and ends. */
  async stop() {
    await this.#end("SIGTERM");
  }

  /** Ends it, and its data with it. */
  async dispose() {
    await this.#end("SIGKILL");
    await rm(this.folder, { recursive: true, force: true });
  }

  /** The text of a document as the relay has it. */
  async text(name) {
    const response = await fetch(`${this.origin}/v1/docs/default/${encodeURIComponent(name)}/text`);
    if (!response.ok) throw new Error(`GET text of ${name}: ${response.status} ${await response.text()}`);
    return response.text();
  }

  async #isReady() {
    try {
      return (await fetch(`${this.origin}/readyz`, { signal: AbortSignal.timeout(1000) })).ok;
    } catch {
      return false;
    }
  }

  async #end(signal) {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    const timer = setTimeout(() => child.kill("SIGKILL"), ENDS_WITHIN_MS);
    await ended;
    clearTimeout(timer);
  }
}

/** Ports of this machine that nobody has. */
export async function freePorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, "127.0.0.1");
      await once(server, "listening");
      return server;
    }),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
