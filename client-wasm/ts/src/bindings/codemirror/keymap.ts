/** Undo and redo of this page's own edits. */

import { Facet } from "@codemirror/state";
import type { EditorView, KeyBinding } from "@codemirror/view";
import type { UndoManager } from "../../undo.js";

/** The undo manager behind an editor. */
export const undoManager = Facet.define<UndoManager, UndoManager | null>({ combine: (managers) => managers[0] ?? null });

function step(view: EditorView, type: "undo" | "redo"): boolean {
  const manager = view.state.facet(undoManager);
  if (!manager) return false;
  manager[type]();
  return true; // also with nothing to undo: the editor's own history must not answer instead
}

/** Takes the last own edit back. */
export const undo = (view: EditorView): boolean => step(view, "undo");
/** Takes the last undo back. */
export const redo = (view: EditorView): boolean => step(view, "redo");

/** The usual keys. Part of `collab` already. */
export const collabKeymap: readonly KeyBinding[] = [
  { key: "Mod-z", run: undo, preventDefault: true },
  { key: "Mod-y", mac: "Mod-Shift-z", run: redo, preventDefault: true },
  { key: "Mod-Shift-z", run: redo, preventDefault: true },
];
