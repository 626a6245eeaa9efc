/** The runs a stream spoke of, by which paths are told: `PROTOCOL.md`, section 8. */

import { MalformedError } from "./reader.js";

/** A place on a path. The digit is null where it is the hash of a dot and so was not written. */
export interface PathElement { readonly digit: bigint | null; readonly site: bigint; readonly k: bigint }

/** A character of a run. */
export interface Atom { readonly run: Run; readonly counter: bigint }

/** Characters of one site at one place. */
export interface Run {
  /** What it stands below; null: the root. */
  readonly parent: Atom | null;
  readonly digit: bigint | null;
  readonly site: bigint;
  readonly direction: "after" | "before";
  readonly first: bigint;
  last: bigint;
}

interface Remembered extends Run { generation: number; copy: Remembered | null }

export const PATH_LEVELS_MAX = 64;
/** Young runs beyond which the old ones are forgotten. */
const GENERATION_RUNS = 4000;

/** Both generations of them, in the order of their numbers. */
export class Runs {
  #slots: Remembered[] = [];
  #young = 0;
  #generation = 1;

  get length(): number {
    return this.#slots.length;
  }

  /** Called where a delta begins. Whether the old ones were forgotten. */
  turn(): boolean {
    if (this.#slots.length - this.#young <= GENERATION_RUNS) return false;
    this.#slots = this.#slots.slice(this.#young);
    this.#young = this.#slots.length;
    this.#generation += 1;
    return true;
  }

  /** Where a run is now; null if it is forgotten. */
  now(run: Run): Run | null {
    const now = this.#now(run);
    return now.generation < this.#generation - 1 ? null : now;
  }

  /** The run that is `back` before the newest. */
  at(back: bigint): Run {
    return this.numbered(BigInt(this.#slots.length - 1) - back);
  }

  /** The run of a number, or the one it was copied to. */
  numbered(number: bigint): Run {
    const run = number < 0n ? undefined : this.#slots[Number(number)];
    if (!run) throw new MalformedError("a run nobody spoke of");
    return run.copy ?? run;
  }

  /** Remembers a run; what it stands below becomes young. */
  push(run: Run): Run {
    const parent = run.parent && { run: this.refresh(run.parent.run), counter: run.parent.counter };
    const added = { ...run, parent, generation: this.#generation, copy: null };
    this.#slots.push(added);
    return added;
  }

  /** The run, young: copied with all it stands below if it was old. */
  refresh(run: Run): Run {
    const now = this.#now(run);
    if (now.generation === this.#generation) return now;
    now.copy = this.#now(this.push(now));
    return now.copy;
  }

  /** The elements from the root down to a character. */
  path(atom: Atom | null): PathElement[] {
    const path: PathElement[] = [];
    for (let next = atom; next; next = next.run.parent) {
      if (path.length === PATH_LEVELS_MAX) throw new MalformedError("a path that is too long");
      const { digit, site, direction } = next.run;
      path.push({ digit, site, k: direction === "after" ? next.counter : -next.counter });
    }
    return path.reverse();
  }

  /**
   * The runs of a state: first the young ones, then the old ones. `read` reads one, or of an old one the number of its copy
   * among the young; `above` gives it the run that is so many before in its generation.
   */
  static restored(old: number, young: number, read: (above: (back: number) => Run | undefined) => Run | number): Runs {
    const runs = new Runs();
    const copies: Remembered[] = [];
    for (let i = 0; i < young; i++) {
      const run = read((back) => copies[i - back]);
      if (typeof run === "number") throw new MalformedError("a new run that was copied");
      copies.push({ ...run, generation: runs.#generation, copy: null });
    }
    for (let i = 0; i < old; i++) {
      const run = read((back) => { const above = runs.#slots[i - back]; return above?.copy ?? above; });
      const copy = typeof run === "number" ? copies[run] : null;
      const known = typeof run === "number" ? copies[run] : run;
      if (copy === undefined || known === undefined) throw new MalformedError("a run copied to nowhere");
      runs.#slots.push({ ...known, generation: runs.#generation - 1, copy });
    }
    runs.#young = old;
    runs.#slots.push(...copies);
    return runs;
  }

  #now(run: Run): Remembered {
    const known = run as Remembered;
    return known.copy ?? known;
  }
}
