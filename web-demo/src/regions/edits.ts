/** The last edits of one writer, and how safe each of them is. */

import type { Room, TextPatch } from "selvedge";
import type { Level } from "../safety.ts";

/** One sitting of typing: edits that followed each other closely. */
export interface Edit {
  /** What was done, for the eye. */
  readonly words: string;
  /** When its newest character reached each level, in milliseconds after it was typed. */
  readonly reached: ReadonlyMap<Level, number>;
}

const LEVELS: readonly Level[] = ["device", "region", "replicated"];
/** How many are followed. */
export const EDITS_MAX = 5;
/** Edits closer together than this, in one place, are one line. */
const TOGETHER_MS = 1_200;
const WORDS_UNITS_MAX = 60;

interface Row {
  words: string;
  at: number;
  end: number;
  reached: Map<Level, number>;
  /** Grows with every edit that joins: what an earlier one waited for does not count any more. */
  edits: number;
}

/** Follows a room's own edits; `told` is called whenever one of the last changes. */
export function followEdits(room: Room, told: (edits: readonly Edit[]) => void): void {
  let rows: Row[] = [];

  room.text.observe(({ changes, by }) => {
    if (by !== "local") {
      // Others write before it, too: where it goes on moves with that.
      const [last] = rows;
      if (last) last.end = changes.reduce(moved, last.end);
      return;
    }
    for (const { at, delete: removed, insert } of changes) {
      const row = rowFor(rows[0], at, removed) ?? { words: "", at: 0, end: at, reached: new Map<Level, number>(), edits: 0 };
      if (row !== rows[0]) rows.unshift(row);
      row.words = clipped(insert === "" ? `− ${removed} ${removed === 1 ? "character" : "characters"}` : row.words + insert);
      row.end = at + insert.length;
      row.at = performance.now();
      row.edits += 1;
      watch(row);
    }
    rows = rows.slice(0, EDITS_MAX);
    told(rows);
  });

  /** Notes when everything written so far has reached each level. */
  function watch(row: Row): void {
    const edits = row.edits;
    queueMicrotask(() => {
      for (const level of LEVELS) {
        room.relay.whenSaved(level).then(() => {
          if (row.edits !== edits) return;
          row.reached.set(level, performance.now() - row.at);
          told(rows);
        }, () => undefined); // closed meanwhile
      }
    });
  }
}

/** The last row, if an edit there goes on with it: then the row has reached only what its newest edit has. */
function rowFor(last: Row | undefined, at: number, removed: number): Row | null {
  if (!last || removed !== 0 || at !== last.end || performance.now() - last.at >= TOGETHER_MS) return null;
  last.reached.clear();
  return last;
}

/** Where a place is after a change. */
function moved(place: number, { at, delete: removed, insert }: TextPatch): number {
  return at >= place ? place : Math.max(at, place - removed) + insert.length;
}

/** The end of a text, on one line. */
function clipped(text: string): string {
  const line = text.replace(/\s+/g, " ");
  return line.length > WORDS_UNITS_MAX ? `…${line.slice(1 - WORDS_UNITS_MAX)}` : line;
}
