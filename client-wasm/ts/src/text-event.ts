/** How a change of the text is told. */

import type { SharedText } from "./text.js";

/** One replacement in UTF-16 units. Several are applied in order, each to the outcome of those before it. */
export interface TextPatch {
  readonly at: number;
  readonly delete: number;
  readonly insert: string;
}

/** A change in the form Quill made common. */
export type Delta = readonly ({ readonly retain: number } | { readonly insert: string } | { readonly delete: number })[];

/**
 * Who changed the text: `local` this page, `undo` this page's undo or redo, `remote` another session, `tab` another tab
 * of this browser, `restore` what the device or a state transfer brought, `echo` a correction of a local edit (text
 * that Unicode does not allow was replaced): unlike `local`, its author must apply an echo too.
 */
export type ChangeSource = "local" | "undo" | "remote" | "tab" | "restore" | "echo";

/** One change of the text, told after it happened. */
export interface TextEvent {
  readonly target: SharedText;
  /** Replacements, to be applied in order. */
  readonly changes: readonly TextPatch[];
  /** The same as retains, inserts and deletes over the text as it was. */
  readonly delta: Delta;
  readonly by: ChangeSource;
  /** Whether this page made it. */
  readonly local: boolean;
  /** What the author passed as origin; for changes from elsewhere, `by`. */
  readonly origin: unknown;
}

interface Piece { retain: number; delete: number; insert: string }

/** Folds patches into one delta. Cost O(p q), p = patches, q = distinct places they touch. */
export function deltaOf(patches: readonly TextPatch[]): Delta {
  // Each piece: text kept, then text removed from the old document, then text inserted.
  let pieces: Piece[] = [];
  for (const patch of patches) pieces = compose(pieces, patch);
  const delta: ({ retain: number } | { insert: string } | { delete: number })[] = [];
  for (const piece of pieces) {
    if (piece.retain > 0) delta.push({ retain: piece.retain });
    if (piece.insert !== "") delta.push({ insert: piece.insert });
    if (piece.delete > 0) delta.push({ delete: piece.delete });
  }
  return delta;
}

function compose(pieces: readonly Piece[], patch: TextPatch): Piece[] {
  const out: Piece[] = [];
  const push = (retain: number, remove: number, insert: string): void => {
    const last = out[out.length - 1];
    if (last && retain === 0) {
      last.delete += remove;
      last.insert += insert;
    } else if (retain > 0 || remove > 0 || insert !== "") out.push({ retain, delete: remove, insert });
  };
  let at = patch.at; // new-text units still to skip
  let remove = patch.delete; // new-text units still to remove
  let placed = false;
  const place = (): void => {
    if (!placed && at === 0) {
      placed = true;
      push(0, 0, patch.insert);
    }
  };
  for (const piece of pieces) {
    let retain = piece.retain;
    const skip = Math.min(at, retain);
    if (skip > 0) push(skip, 0, "");
    at -= skip;
    retain -= skip;
    if (retain > 0) {
      place();
      const gone = Math.min(remove, retain);
      if (gone > 0) push(0, gone, "");
      remove -= gone;
      retain -= gone;
      if (retain > 0) push(retain, 0, "");
    }
    const kept = Math.min(at, piece.insert.length);
    push(0, piece.delete, piece.insert.slice(0, kept));
    at -= kept;
    if (kept < piece.insert.length) {
      place();
      const gone = Math.min(remove, piece.insert.length - kept);
      remove -= gone;
      push(0, 0, piece.insert.slice(kept + gone));
    }
  }
  if (at > 0) push(at, 0, "");
  at = 0;
  place();
  if (remove > 0) push(0, remove, "");
  return out;
}
