/** The sheet: CodeMirror bound to the shared text. */

import { defaultKeymap } from "@codemirror/commands";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { EditorState, type Extension } from "@codemirror/state";
import { drawSelection, dropCursor, EditorView, keymap, placeholder } from "@codemirror/view";
import type { Room } from "selvedge";
import { collab } from "selvedge/codemirror";
import { dressing } from "./dressing.ts";

interface EditorOptions {
  readonly room: Room;
  readonly parent: HTMLElement;
  /** Called after the text changed, from wherever. */
  readonly onText: (view: EditorView) => void;
}

const PLACEHOLDER = "Start writing…";

export function editor({ room, parent, onText }: EditorOptions): EditorView {
  return new EditorView({
    doc: room.text.toString(),
    parent,
    extensions: [
      collab(room.text, room.awareness, { undoManager: room.undo }),
      drawSelection(),
      dropCursor(),
      EditorView.lineWrapping,
      placeholder(PLACEHOLDER),
      search({ top: true }),
      highlightSelectionMatches({ minSelectionLength: 3 }),
      keymap.of([...defaultKeymap, ...searchKeymap]),
      writingAids(),
      dressing(),
      EditorView.updateListener.of((update) => {
        if (update.docChanged) onText(update.view);
      }),
    ],
  });
}

function writingAids(): Extension {
  return [
    EditorState.lineSeparator.of("\n"),
    EditorView.contentAttributes.of({
      "aria-label": "Text",
      id: "writing",
      spellcheck: "true",
      autocorrect: "on",
      autocapitalize: "sentences",
    }),
  ];
}
