/** `selvedge/textarea`: a plain field on a shared text. */

import { spanOf } from "../diff.js";
import { bodyOf } from "../internals.js";
import type { SharedText } from "../text.js";
import type { TextEvent, TextPatch } from "../text-event.js";

/** The part of a field used here. */
export type TextField = Pick<HTMLTextAreaElement,
  "value" | "selectionStart" | "selectionEnd" | "selectionDirection" | "setSelectionRange" | "readOnly" | "addEventListener" | "removeEventListener">;

/**
 * Keeps `field` and `text` equal until the returned function is called. The text wins at the start. The caret stays where it was
 * in the words. The field itself is the origin of what is typed into it, and is tracked by undo.
 */
export function bindTextarea(field: TextField, text: SharedText): () => void {
  const binding = new FieldBinding(field, text);
  return () => binding.stop();
}

/** The same for a one-line field, whose text should have one line. */
export const bindInput = bindTextarea;

class FieldBinding {
  readonly #field: TextField;
  readonly #text: SharedText;
  readonly #stops: (() => void)[];
  /** What the field showed last; the text with the field's line ends. */
  #shown = "";
  #composing = false;
  /** What the text did while the user composed. */
  #missed: TextPatch[] = [];

  constructor(field: TextField, text: SharedText) {
    this.#field = field;
    this.#text = text;
    const body = bodyOf(text);
    field.readOnly = !body.writable;
    body.trackedOrigins?.add(field);
    this.#stops = [
      text.observe((event) => this.#changed(event)),
      body.on("writable", (writable) => { field.readOnly = !writable; }),
      () => body.trackedOrigins?.delete(field),
    ];
    this.#listen("input", () => this.#typed());
    this.#listen("compositionstart", () => { this.#composing = true; });
    this.#listen("compositionend", () => { this.#composing = false; this.#typed(); });
    this.#show([]);
  }

  stop(): void {
    for (const stop of this.#stops.splice(0)) stop();
  }

  #listen(event: "input" | "compositionstart" | "compositionend", fn: () => void): void {
    this.#field.addEventListener(event, fn);
    this.#stops.push(() => this.#field.removeEventListener(event, fn));
  }

  /** The user changed the field: the text follows. During a composition the field is not ours to touch, nor final. */
  #typed(): void {
    if (this.#composing) return;
    const span = spanOf(this.#shown, this.#field.value, this.#field.selectionEnd ?? undefined);
    const missed = this.#missed;
    this.#missed = [];
    let undone = false;
    if (span) {
      this.#shown = this.#field.value;
      const from = moved(span.at, missed);
      const to = Math.max(from, moved(span.at + span.delete, missed));
      try {
        this.#text.replace(from, to, span.insert, this.#field);
      } catch {
        undone = true; // read-only or closed meanwhile: the field goes back to the text
      }
    }
    if (undone || missed.length > 0) this.#show(missed);
  }

  /** The text changed: the field follows, its caret in place. */
  #changed(event: TextEvent): void {
    if (event.by === "local" && event.origin === this.#field) return;
    if (this.#composing) this.#missed.push(...event.changes);
    else this.#show(event.changes);
  }

  #show(changes: readonly TextPatch[]): void {
    if (bodyOf(this.#text).destroyed) return;
    const field = this.#field;
    const value = this.#text.toString();
    if (value === field.value) {
      this.#shown = value;
      return;
    }
    const start = moved(field.selectionStart ?? 0, changes);
    const end = moved(field.selectionEnd ?? 0, changes);
    const direction = field.selectionDirection ?? "none";
    field.value = value;
    this.#shown = field.value; // as the field writes it: it may have its own line ends
    field.setSelectionRange(start, end, direction);
  }
}

/** Where a caret is after changes: text inserted at it goes after it. */
function moved(caret: number, changes: readonly TextPatch[]): number {
  let at = caret;
  for (const change of changes) {
    const end = change.at + change.delete;
    if (at > end || (at === end && change.delete > 0)) at += change.insert.length - change.delete;
    else if (at > change.at) at = change.at + Math.min(at - change.at, change.insert.length);
  }
  return at;
}
