/** A store that forgets with the page: for servers, tests, and browsers that refuse storage. */

import { decodeVector, dominates } from "../protocol/vector.js";
import { isNewer, type OutboxEntry, type Store, type StoredDocument, type StoredEndpoints, type StoredFrame, type StoredState, type StoredSummary, type StoreTransaction, type TransactionOutcome } from "./store.js";

interface Kept {
  state: StoredState | null;
  readonly outbox: Map<string, OutboxEntry>;
  readonly frames: Map<string, StoredFrame>;
}

/** Whether `next` may replace `stored`. */
export function mayReplace(stored: StoredState | null, next: StoredState): boolean {
  if (!stored) return true;
  // Generation 0: no server was asked yet, it may be any.
  const comparable = stored.generation === next.generation || stored.generation === 0 || next.generation === 0;
  if (!comparable) return stored.generation < next.generation;
  return dominates(decodeVector(next.vector), decodeVector(stored.vector));
}

/** `next` as it is written over `stored`: what is known of the generation is kept. */
export function written(stored: { readonly generation: number } | null, next: StoredState): StoredState {
  return stored && stored.generation > next.generation ? { ...next, generation: stored.generation } : next;
}

/** Keeps documents in memory. Several documents may share one. */
export class MemoryStore implements Store {
  readonly #documents = new Map<string, Kept>();
  readonly #endpoints = new Map<string, StoredEndpoints>();
  #principal: string | null = null;

  async load(document: string): Promise<StoredDocument> {
    const kept = this.#documents.get(document);
    return { state: kept?.state ?? null, outbox: await this.outbox(document), frames: [...(kept?.frames.values() ?? [])] };
  }

  async outbox(document: string): Promise<OutboxEntry[]> {
    return [...(this.#documents.get(document)?.outbox.values() ?? [])].sort(bySiteAndCounter);
  }

  async transact(document: string, { putOutbox, deleteOutbox, putFrames, deleteFrames, state, replace }: StoreTransaction): Promise<TransactionOutcome> {
    const kept = this.#documents.get(document) ?? { state: null, outbox: new Map<string, OutboxEntry>(), frames: new Map<string, StoredFrame>() };
    if (state && kept.state && !replace && !mayReplace(kept.state, state)) return { kind: "conflict", stored: kept.state };
    if (state) kept.state = replace ? state : written(kept.state, state);
    for (const entry of putOutbox) kept.outbox.set(`${entry.site}:${entry.first}`, entry);
    for (const { site, first } of deleteOutbox) kept.outbox.delete(`${site}:${first}`);
    for (const frame of putFrames) kept.frames.set(`${frame.site}:${frame.first}`, frame);
    for (const { site, first } of deleteFrames) kept.frames.delete(`${site}:${first}`);
    this.#documents.set(document, kept);
    return { kind: "written" };
  }

  async principal(): Promise<string | null> {
    return this.#principal;
  }

  async adoptPrincipal(candidate: string): Promise<string> {
    this.#principal ??= candidate;
    return this.#principal;
  }

  async endpoints(key: string): Promise<StoredEndpoints | null> {
    return this.#endpoints.get(key) ?? null;
  }

  async keepEndpoints(list: StoredEndpoints): Promise<void> {
    const known = this.#endpoints.get(list.key);
    if (!known || isNewer(list, known)) this.#endpoints.set(list.key, list);
  }

  async list(): Promise<StoredSummary[]> {
    return [...this.#documents].map(([document, { state, outbox }]) => ({
      document,
      bytes: (state?.snapshot.length ?? 0) + [...outbox.values()].reduce((sum, entry) => sum + entry.bytes.length, 0),
      unsent: [...outbox.values()].filter((entry) => entry.acked === "device").length,
    }));
  }

  async clear(document: string): Promise<void> {
    this.#documents.delete(document);
  }

  async persist(): Promise<boolean> {
    return false;
  }

  async close(): Promise<void> {
    // Nothing is held: what was kept stays for whoever has the object.
  }
}

/** The order entries are pushed in. */
export function bySiteAndCounter(a: OutboxEntry, b: OutboxEntry): number {
  return a.site < b.site ? -1 : a.site > b.site ? 1 : a.first - b.first;
}
