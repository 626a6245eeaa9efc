/** A client's answers for one of its documents. */

import type { Client, Reading } from "../wasm/selvedge.js";

/** Hands each question on, with the document's channel. */
export class ChannelReading implements Reading {
  readonly #client: Client;
  readonly #channel: number;

  constructor(client: Client, channel: number) {
    this.#client = client;
    this.#channel = channel;
  }

  text(): string { return this.#client.text(this.#channel); }
  slice(from: number, to: number): string { return this.#client.slice(this.#channel, from, to); }
  length(): number { return this.#client.length(this.#channel); }
  site(): string | undefined { return this.#client.site(this.#channel); }
  authorAt(at: number): string | undefined { return this.#client.authorAt(this.#channel, at); }
  anchorAt(at: number, after: boolean): Uint8Array { return this.#client.anchorAt(this.#channel, at, after); }
  resolve(anchor: Uint8Array): number { return this.#client.resolve(this.#channel, anchor); }
  vector(): Uint8Array { return this.#client.vector(this.#channel); }
  covers(vector: Uint8Array): boolean { return this.#client.covers(this.#channel, vector); }
  stateDiff(since: Uint8Array | undefined): Uint8Array { return this.#client.stateDiff(this.#channel, since); }
  snapshot(): Uint8Array { return this.#client.snapshot(this.#channel); }
  stats(): Float64Array { return this.#client.stats(this.#channel); }
  meta(key: string): Uint8Array | undefined { return this.#client.meta(this.#channel, key); }
  metaKeys(): string[] { return this.#client.metaKeys(this.#channel); }
  canUndo(): boolean { return this.#client.canUndo(this.#channel); }
  canRedo(): boolean { return this.#client.canRedo(this.#channel); }
}
