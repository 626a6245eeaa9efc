/** Effects that wait to be executed, in order. */

import type { Effect } from "./effects.js";

/** From so many executed ones on the list is cut: rarely enough that it costs each effect O(1). */
const EXECUTED_MIN = 1024;

/** First in, first out. A drain may bring hundreds of thousands; `Array.shift` would move all of them each time. */
export class EffectQueue {
  #effects: Effect[] = [];
  #next = 0;

  /** How many wait. */
  get length(): number {
    return this.#effects.length - this.#next;
  }

  /** Adds effects at the end. */
  push(effects: readonly Effect[]): void {
    if (this.#next === this.#effects.length) this.clear();
    // One by one: the arguments of one call have to fit the stack.
    for (const effect of effects) this.#effects.push(effect);
  }

  /** Takes the first one. */
  shift(): Effect | undefined {
    const effect = this.#effects[this.#next];
    if (effect === undefined) return undefined;
    this.#next += 1;
    if (this.#next >= EXECUTED_MIN && this.#next * 2 >= this.#effects.length) {
      this.#effects.splice(0, this.#next);
      this.#next = 0;
    }
    return effect;
  }

  /** Takes those that `wanted` picks, wherever they stand. O(n). */
  take(wanted: (effect: Effect) => boolean): Effect[] {
    const waiting = this.#effects.slice(this.#next);
    const taken = waiting.filter(wanted);
    if (taken.length === 0) return taken;
    this.#effects = waiting.filter((effect) => !wanted(effect));
    this.#next = 0;
    return taken;
  }

  /** Forgets everything. */
  clear(): void {
    this.#effects.length = 0;
    this.#next = 0;
  }
}
