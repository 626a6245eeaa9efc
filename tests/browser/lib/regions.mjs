/** Two regions on real services for a suite: the program `regions` starts them, wrongs them and says how they stand. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { freePorts } from "./relay.mjs";
import { regionsBinary, webFolder } from "./places.mjs";

const READY_WITHIN_MS = 240_000;
const DONE_WITHIN_MS = 120_000;
const ENDS_WITHIN_MS = 20_000;
const ASK_EVERY_MS = 200;
const ASK_WITHIN_MS = 10_000;
const OUTPUT_KEPT = 20_000;

export class Regions {
  #child;
  #output = "";
  #origin;

  constructor(child, origin) {
    this.#child = child;
    this.#origin = origin;
    child.stderr.on("data", (chunk) => {
      this.#output = (this.#output + chunk).slice(-OUTPUT_KEPT);
    });
  }

  /** Starts both regions on the services that the environment names; resolves once relays and replicators are ready. */
  static async start() {
    if (!process.env.SELVEDGE_STACK_PORTS) throw new Error("SELVEDGE_STACK_PORTS is not set: run this by `cargo xtask test --only regions`, which starts the services");
    const [port] = await freePorts(1);
    const child = spawn(regionsBinary(), ["--port", String(port), "--web", webFolder()], { stdio: ["ignore", "pipe", "pipe"] });
    const regions = new Regions(child, `http://127.0.0.1:${port}`);
    const ready = await Promise.race([
      once(createInterface({ input: child.stdout }), "line").then(() => "ready"),
      once(child, "exit").then(([code]) => `it ended with ${code}`),
      new Promise((resolve) => setTimeout(resolve, READY_WITHIN_MS, `they were not ready within ${READY_WITHIN_MS} ms`).unref()),
    ]);
    if (ready === "ready") {
      // Programs are ready before the regions have found each other: then each knows how far the other has come.
      await regions.until(({ home, lag_ms: lag }) => home !== null && Object.values(lag).every((ms) => ms !== null), "the link between the regions");
      return regions;
    }
    await regions.dispose();
    throw new Error(`the regions do not start: ${ready}\n${regions.#output}`);
  }

  /** How they stand. */
  async state() {
    const response = await fetch(`${this.#origin}/regions/state`);
    return response.json();
  }

  /** The address of the first relay of a region, which serves the page, too. */
  async origin(region) {
    const { regions } = await this.state();
    return regions.find(({ name }) => name === region).relays[0];
  }

  /** The page that shows them, with a text of that name. */
  page(name) {
    return `${this.#origin}/regions.html#${name}`;
  }

  /**
   * Resolves with the epoch once the replicators and relays of these regions, asked themselves, name one epoch, this home, and
   * sign it in the list they hand to clients.
   */
  async agreed(names, home) {
    const deadline = Date.now() + DONE_WITHIN_MS;
    for (;;) {
      const { regions } = await this.state();
      const living = regions.filter(({ name }) => names.includes(name));
      const words = await Promise.all(living.flatMap(({ replicator, relays }) => [
        json(`${replicator}/v1/control`).then(({ epoch, holder }) => `${epoch} ${holder}`),
        ...relays.map((relay) => json(`${relay}/v1/endpoints`).then(({ list }) => `${list?.epoch} ${list?.home}`)),
      ])).catch((error) => [`nobody: ${error.message}`]);
      const [epoch, holder] = words[0].split(" ");
      if (holder === home && words.every((each) => each === words[0])) return Number(epoch);
      if (Date.now() > deadline) throw new Error(`no agreement on ${home} within ${DONE_WITHIN_MS} ms: ${JSON.stringify(words)}`);
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    }
  }

  /** The connections that a region's relays have open, by transport, as their metrics say. */
  async carried(name) {
    const { regions } = await this.state();
    const counts = { webtransport: 0, websocket: 0 };
    for (const relay of regions.find((region) => region.name === name).relays) {
      const admin = new URL(relay);
      admin.port = String(Number(admin.port) + 1);
      const metrics = await fetch(new URL("/metrics", admin)).then((response) => response.text());
      for (const [, transport, count] of metrics.matchAll(/^selvedge_relay_connections\{transport="(\w+)"\} (\d+)$/gm)) {
        counts[transport.toLowerCase()] = (counts[transport.toLowerCase()] ?? 0) + Number(count);
      }
    }
    return { webtransport: counts.webtransport, websocket: counts.websocket };
  }

  /** Sees to it that this region is the home, as it may not be after other tests. */
  async settle(home) {
    if ((await this.state()).home !== home) await this.act("switchover", home);
    await this.until((state) => state.home === home, `${home} to be the home`);
    return this;
  }

  /** Does something to them, and resolves when it is done. */
  async act(action, region) {
    const body = JSON.stringify(region === undefined ? { action } : { action, region });
    const response = await fetch(`${this.#origin}/regions/act`, { method: "POST", headers: { "content-type": "application/json" }, body });
    if (response.status !== 202) throw new Error(`${action}: ${response.status} ${await response.text()}`);
    const { failed } = await this.until(({ busy }) => busy === null, action);
    if (failed) throw new Error(failed);
  }

  /** Resolves with the first state that is as wanted. */
  async until(wanted, what) {
    const deadline = Date.now() + DONE_WITHIN_MS;
    for (;;) {
      const state = await this.state();
      if (wanted(state)) return state;
      if (Date.now() > deadline) throw new Error(`${what}: not within ${DONE_WITHIN_MS} ms; the regions are ${JSON.stringify(state)}\n${this.#output}`);
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    }
  }

  /** The text of a document as a region has it. */
  async text(region, name) {
    const response = await fetch(`${await this.origin(region)}/v1/docs/default/${encodeURIComponent(name)}/text`);
    if (!response.ok) throw new Error(`GET text of ${name} in ${region}: ${response.status} ${await response.text()}`);
    return response.text();
  }

  /** Ends relays and replicators; the services belong to whoever started them. */
  async dispose() {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGINT");
    const timer = setTimeout(() => child.kill("SIGKILL"), ENDS_WITHIN_MS);
    await ended;
    clearTimeout(timer);
  }
}

async function json(url) {
  const response = await fetch(url, { signal: AbortSignal.timeout(ASK_WITHIN_MS) });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response.json();
}
