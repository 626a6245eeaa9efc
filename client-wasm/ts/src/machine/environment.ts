/** What the machine has from where it runs: a clock, and chance. */

/** The machine's clock: whole milliseconds, never back. */
export function instant(): number {
  return Math.floor(performance.now());
}

/** Random 64 bits for a seed. */
export function randomSeed(): bigint {
  return crypto.getRandomValues(new BigUint64Array(1))[0] ?? 0n;
}
