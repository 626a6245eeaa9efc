/** The document's small map: title, language, schema number. The last writer of a key wins. */

import type { Body } from "./machine/body.js";

/** What a key can hold. */
export type MetaValue = string | number | boolean | null | readonly MetaValue[] | { readonly [key: string]: MetaValue };

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** A small last-writer-wins map beside the text. */
export class SharedMeta {
  readonly #body: Body;

  /** @internal Made by `Doc`. */
  constructor(body: Body) {
    this.#body = body;
  }

  /** The value of `key`, or undefined: also for bytes another program wrote that are no JSON. */
  get(key: string): MetaValue | undefined {
    const bytes = this.#body.ask((document) => document.meta(key));
    if (!bytes) return undefined;
    try {
      return JSON.parse(decoder.decode(bytes)) as MetaValue;
    } catch {
      return undefined;
    }
  }

  /** Sets `key`. */
  set(key: string, value: MetaValue): void {
    this.#body.setMeta(key, encoder.encode(JSON.stringify(value)));
  }

  /** Removes `key`. */
  delete(key: string): void {
    this.#body.setMeta(key, undefined);
  }

  /** The keys that have a value. */
  keys(): string[] {
    return this.#body.ask((document) => document.metaKeys());
  }

  /** The whole map. */
  toJSON(): { [key: string]: MetaValue } {
    const out: { [key: string]: MetaValue } = {};
    for (const key of this.keys()) {
      const value = this.get(key);
      if (value !== undefined) out[key] = value;
    }
    return out;
  }

  /** Calls `fn` after the map changed, from wherever, until the returned function is called. */
  observe(fn: () => void): () => void {
    return this.#body.on("meta", fn);
  }
}
