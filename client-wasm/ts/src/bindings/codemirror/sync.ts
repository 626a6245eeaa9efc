/**
 * Keeps an editor's document and a shared text equal.
 *
 * The text may be ahead of the editor (a change arrives while the editor updates): what the editor still lacks is kept as
 * one pending change set over the editor's document. An edit made before it is shown is mapped over it, and it over the
 * edit.
 */

import { Annotation, ChangeSet, EditorState, Facet, StateEffect, StateField, Text, Transaction, type Extension } from "@codemirror/state";
import { EditorView, ViewPlugin, type ViewUpdate } from "@codemirror/view";
import { spanOf } from "../../diff.js";
import { bodyOf } from "../../internals.js";
import type { SharedText } from "../../text.js";
import type { TextEvent, TextPatch } from "../../text-event.js";
import { undoManager } from "./keymap.js";

/** Marks transactions that carry the shared text's changes into the editor. */
export const fromText = Annotation.define<boolean>();

/** The shared text behind an editor. */
export const sharedText = Facet.define<SharedText, SharedText | null>({ combine: (texts) => texts[0] ?? null });

const setWritable = StateEffect.define<boolean>();

/** Whether this user may write now. */
function writableField(text: SharedText): StateField<boolean> {
  return StateField.define<boolean>({
    create: () => bodyOf(text).writable,
    update: (writable, transaction) => transaction.effects.reduce((now, effect) => effect.is(setWritable) ? effect.value : now, writable),
    provide: (field) => EditorState.readOnly.from(field, (writable) => !writable),
  });
}

/** Patches as one change set over a document of `length` units. Cost O(n log n). */
export function changesOf(patches: readonly TextPatch[], length: number): ChangeSet {
  let at = length;
  let sets = patches.map((patch) => {
    const set = ChangeSet.of({ from: patch.at, to: patch.at + patch.delete, insert: Text.of(patch.insert.split("\n")) }, at);
    at = set.newLength;
    return set;
  });
  while (sets.length > 1) {
    const pairs: ChangeSet[] = [];
    for (let i = 0; i < sets.length; i += 2) {
      const [first, second] = [sets[i], sets[i + 1]];
      if (first) pairs.push(second ? first.compose(second) : first);
    }
    sets = pairs;
  }
  return sets[0] ?? ChangeSet.empty(length);
}

/** The documents as the shared text writes them: units and line feeds. */
function stringOf(document: Text): string {
  return document.sliceString(0, document.length, "\n");
}

class SyncPlugin {
  readonly #view: EditorView;
  readonly #text: SharedText;
  readonly #stops: (() => void)[];
  /** What the text has and the editor has not, over the editor's document. */
  #pending: ChangeSet | null = null;
  #applying = false;
  /** The text changed in a way that has no place in the edit being applied: compare afterwards. */
  #disturbed = false;
  #flushing = false;
  #gone = false;

  constructor(view: EditorView, text: SharedText) {
    this.#view = view;
    this.#text = text;
    const body = bodyOf(text);
    const tracked = view.state.facet(undoManager)?.trackedOrigins;
    tracked?.add(this);
    this.#stops = [
      () => tracked?.delete(this),
      text.observe((event) => this.#changed(event)),
      body.on("writable", (writable) => this.#setWritable(writable)),
    ];
    this.#compare(view.state.doc);
  }

  update(update: ViewUpdate): void {
    if (!update.docChanged) return;
    for (const transaction of update.transactions) {
      if (transaction.docChanged && !transaction.annotation(fromText)) this.#edited(transaction.changes, transaction.newDoc);
    }
  }

  destroy(): void {
    this.#gone = true;
    for (const stop of this.#stops) stop();
  }

  /** The user changed the editor: the text follows. */
  #edited(changes: ChangeSet, document: Text): void {
    const mapped = this.#pending ? changes.map(this.#pending) : changes;
    this.#pending = this.#pending?.map(changes, true) ?? null;
    this.#applying = true;
    this.#disturbed = false;
    try {
      this.#text.doc.transact(() => mapped.iterChanges((fromA, toA, fromB, _toB, inserted) => {
        this.#text.replace(fromB, fromB + (toA - fromA), stringOf(inserted), this);
      }), this);
    } catch {
      // Read-only or closed meanwhile: the editor goes back to the text. The document's own events say why.
      this.#disturbed = true;
    } finally {
      this.#applying = false;
    }
    if (this.#disturbed) this.#compare(document);
  }

  /** The text changed: the editor follows. */
  #changed(event: TextEvent): void {
    if (event.by === "local" && event.origin === this) return;
    if (this.#applying) {
      this.#disturbed = true;
      return;
    }
    const length = this.#pending?.newLength ?? this.#view.state.doc.length;
    const changes = changesOf(event.changes, length);
    this.#pending = this.#pending?.compose(changes) ?? changes;
    // Local changes may come from inside an update of this editor, which takes no other; those from elsewhere cannot.
    if (event.by === "local" || event.by === "echo") this.#flushSoon();
    else this.#flush();
  }

  /** Takes what differs between the editor's `document` and the text as pending. */
  #compare(document: Text): void {
    if (bodyOf(this.#text).destroyed) return;
    const span = spanOf(stringOf(document), this.#text.toString());
    this.#pending = span ? changesOf([span], document.length) : null;
    if (span) this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    const changes = this.#pending;
    if (!changes || this.#gone) return;
    this.#pending = null;
    this.#view.dispatch({
      changes,
      annotations: [fromText.of(true), Transaction.remote.of(true), Transaction.addToHistory.of(false)],
      filter: false,
    });
  }

  #setWritable(writable: boolean): void {
    queueMicrotask(() => {
      if (!this.#gone) this.#view.dispatch({ effects: setWritable.of(writable) });
    });
  }
}

/** The extension that binds an editor to `text`. */
export function sync(text: SharedText): Extension {
  return [
    sharedText.of(text),
    // Every unit of the text is a unit of the editor: other line ends stay characters.
    EditorState.lineSeparator.of("\n"),
    EditorView.clipboardInputFilter.of((pasted) => pasted.replace(/\r\n?/g, "\n")),
    writableField(text),
    ViewPlugin.define((view) => new SyncPlugin(view, text)),
  ];
}
