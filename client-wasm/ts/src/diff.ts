/** The smallest edits that turn one text into another, for editors that only give their whole value. */

import type { TextPatch } from "./text-event.js";

/** Edit distance beyond which a plain replacement is given instead of a minimal one. */
const DISTANCE_MAX = 500;

const isHigh = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff;
const isLow = (unit: number): boolean => unit >= 0xdc00 && unit <= 0xdfff;

/** Whether `index` lies between the two halves of a surrogate pair. */
function splitsPair(text: string, index: number): boolean {
  return index > 0 && index < text.length && isHigh(text.charCodeAt(index - 1)) && isLow(text.charCodeAt(index));
}

/** One replacement that turns `from` into `to`, or null if they are equal. `hint` is where the change ends in `to` if known (a caret). */
export function spanOf(from: string, to: string, hint?: number): TextPatch | null {
  if (from === to) return null;
  const shorter = Math.min(from.length, to.length);
  // A caret tells which of several equal letters was typed: nothing after it changed.
  let tail = 0;
  if (hint !== undefined) {
    const most = Math.min(shorter, to.length - hint);
    while (tail < most && from.charCodeAt(from.length - 1 - tail) === to.charCodeAt(to.length - 1 - tail)) tail++;
  }
  let head = 0;
  while (head < shorter - tail && from.charCodeAt(head) === to.charCodeAt(head)) head++;
  while (tail < shorter - head && from.charCodeAt(from.length - 1 - tail) === to.charCodeAt(to.length - 1 - tail)) tail++;
  while (splitsPair(from, head) || splitsPair(to, head)) head--;
  while (splitsPair(from, from.length - tail) || splitsPair(to, to.length - tail)) tail--;
  return { at: head, delete: from.length - tail - head, insert: to.slice(head, to.length - tail) };
}

/** Patches that turn `from` into `to`, to be applied in order. Minimal while the texts are within 500 edits of each other (or `timeoutMs`). */
export function diff(from: string, to: string, timeoutMs = 50): TextPatch[] {
  const span = spanOf(from, to);
  if (!span) return [];
  if (span.delete === 0 || span.insert === "") return [span];
  const removed = Array.from(from.slice(span.at, span.at + span.delete));
  const added = Array.from(span.insert);
  const script = myers(removed, added, performance.now() + timeoutMs);
  return script ? patchesOf(script, removed, added, span.at) : [span];
}

/** Myers' greedy O(ND) walk; the furthest x per diagonal at each distance, or null when the texts are too far apart. */
function myers(a: readonly string[], b: readonly string[], deadline: number): Map<number, number>[] | null {
  const trace: Map<number, number>[] = [];
  let furthest = new Map<number, number>([[1, 0]]);
  for (let d = 0; d <= DISTANCE_MAX; d++) {
    if (performance.now() > deadline) return null;
    const next = new Map<number, number>();
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && (furthest.get(k - 1) ?? -1) < (furthest.get(k + 1) ?? -1));
      let x = down ? (furthest.get(k + 1) ?? 0) : (furthest.get(k - 1) ?? 0) + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      next.set(k, x);
      if (x >= a.length && x - k >= b.length) {
        trace.push(next);
        return trace;
      }
    }
    trace.push(next);
    furthest = next;
  }
  return null;
}

/** Walks the trace back and joins neighbouring steps into patches, given in text order with shifted positions. */
function patchesOf(trace: readonly Map<number, number>[], a: readonly string[], b: readonly string[], base: number): TextPatch[] {
  interface Step { x: number; y: number; remove: number; add: number }
  const steps: Step[] = [];
  let x = a.length;
  let y = b.length;
  for (let d = trace.length - 1; d > 0; d--) {
    const before = trace[d - 1];
    if (!before) break;
    const k = x - y;
    const down = k === -d || (k !== d && (before.get(k - 1) ?? -1) < (before.get(k + 1) ?? -1));
    const fromK = down ? k + 1 : k - 1;
    const fromX = before.get(fromK) ?? 0;
    const fromY = fromX - fromK;
    steps.push({ x: fromX, y: fromY, remove: down ? 0 : 1, add: down ? 1 : 0 });
    x = fromX;
    y = fromY;
  }
  steps.reverse();
  const joined: Step[] = [];
  for (const step of steps) {
    const last = joined[joined.length - 1];
    if (last && last.x + last.remove === step.x && last.y + last.add === step.y) {
      last.remove += step.remove;
      last.add += step.add;
    } else joined.push({ ...step });
  }
  const unitsOf = (points: readonly string[]): number => points.reduce((sum, point) => sum + point.length, 0);
  // Positions count in the new text up to each step: everything before it is new already.
  let y0 = 0;
  let units = base;
  return joined.map((step) => {
    units += unitsOf(b.slice(y0, step.y));
    y0 = step.y;
    return { at: units, delete: unitsOf(a.slice(step.x, step.x + step.remove)), insert: b.slice(step.y, step.y + step.add).join("") };
  });
}
