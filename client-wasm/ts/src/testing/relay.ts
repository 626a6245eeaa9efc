/** A relay program for tests: started on a free port with a data folder of its own. */

import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The built relay: `SELVEDGE_RELAY_BIN`, or the debug build of this repository. Null if there is none. */
export function relayProgram(): string | null {
  const target = process.env["CARGO_TARGET_DIR"] ?? fileURLToPath(new URL("../../../../target", import.meta.url));
  const program = process.env["SELVEDGE_RELAY_BIN"] ?? join(target, "debug", "selvedge-relay");
  return existsSync(program) ? program : null;
}

/** One relay; it keeps its port and data when it is started again. */
export class Relay {
  readonly url: string;
  readonly #program: string;
  readonly #folder = mkdtempSync(join(tmpdir(), "selvedge-relay-"));
  readonly #ports: readonly [number, number];
  readonly #flags: readonly string[];
  #process: ChildProcess | null = null;

  private constructor(program: string, ports: readonly [number, number], flags: readonly string[]) {
    this.#program = program;
    this.#ports = ports;
    this.#flags = flags;
    this.url = `http://127.0.0.1:${ports[0]}`;
  }

  /** Starts one; `flags` are added to its command line. */
  static async start(program: string, flags: readonly string[] = []): Promise<Relay> {
    const relay = new Relay(program, [await freePort(), await freePort()], flags);
    await relay.restart();
    return relay;
  }

  /** Ends it and takes its data away. */
  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Starts it again and waits until it answers. */
  async restart(): Promise<void> {
    const [port, admin] = this.#ports;
    const args = ["serve", "--data", this.#folder, "--listen", `127.0.0.1:${port}`, "--admin", `127.0.0.1:${admin}`, ...this.#flags];
    this.#process = spawn(this.#program, args, { stdio: "ignore", env: { ...process.env, RUST_BACKTRACE: "0" } });
    for (let i = 0; i < 400; i++) {
      const ready = await fetch(`${this.url}/readyz`).then((response) => response.ok, () => false);
      if (ready) return;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error("the relay did not become ready");
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (!child || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
