/**
 * `selvedge/codemirror`: a CodeMirror 6 editor on a shared text.
 *
 *     new EditorView({
 *       doc: room.text.toString(), parent: document.body,
 *       extensions: [basicSetup, collab(room.text, room.awareness)],
 *     });
 */

import { Prec, type Extension } from "@codemirror/state";
import { keymap } from "@codemirror/view";
import type { Awareness } from "../../awareness.js";
import type { SharedText } from "../../text.js";
import { UndoManager } from "../../undo.js";
import { cursors, USER_COLORS } from "./cursors.js";
import { collabKeymap, undoManager } from "./keymap.js";
import { sync } from "./sync.js";
import { collabTheme } from "./theme.js";

export { collabKeymap, redo, undo } from "./keymap.js";
export { saveIndicator } from "./save-indicator.js";
export { fromText as collabOrigin } from "./sync.js";
export { collabTheme } from "./theme.js";

/** Options of {@link collab}. */
export interface CollabOptions {
  /** Answers undo and redo keys: one of the text's own by default. `false`: the keys stay the editor's. */
  readonly undoManager?: UndoManager | false;
  /** Show others' carets, and show them this one: true where there is awareness. */
  readonly cursors?: boolean;
  /** Colours for users that bring none. */
  readonly userColors?: readonly string[];
}

/**
 * Binds an editor to `text`, whatever its document was: the text wins. Edits go both ways, undo takes back own edits alone,
 * and the editor is read-only while its user may not write.
 */
export function collab(text: SharedText, awareness: Awareness | null = null, options: CollabOptions = {}): Extension {
  const extensions: Extension[] = [sync(text), collabTheme];
  if (options.undoManager !== false) {
    extensions.push(undoManager.of(options.undoManager ?? new UndoManager(text)), Prec.high(keymap.of([...collabKeymap])));
  }
  if (awareness && options.cursors !== false) extensions.push(cursors(text, awareness, options.userColors ?? USER_COLORS));
  return extensions;
}
