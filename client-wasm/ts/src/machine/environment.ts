/** What the machine has from where it runs: a clock, and chance. */

/** The machine's clock: whole milliseconds, never back. */
export function instant(): number {
  return Math.floor(performance.now());
}

/** Drawn together: a draw of a few bytes costs as much as one of these. */
const seeds = new BigUint64Array(64);
let taken = seeds.length;

/** Random 64 bits for a seed, never given twice. */
export function randomSeed(): bigint {
  if (taken === seeds.length) {
    crypto.getRandomValues(seeds);
    taken = 0;
  }
  return seeds[taken++] ?? 0n;
}
