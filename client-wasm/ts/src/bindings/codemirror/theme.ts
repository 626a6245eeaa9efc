/** How remote carets and the save indicator look. Override by the same class names. */

import { EditorView } from "@codemirror/view";
import type { Extension } from "@codemirror/state";

/** The default look. */
export const collabTheme: Extension = EditorView.baseTheme({
  ".cm-collab-caret": {
    position: "relative",
    borderLeft: "1px solid",
    borderRight: "1px solid",
    marginLeft: "-1px",
    marginRight: "-1px",
    boxSizing: "border-box",
    display: "inline",
  },
  ".cm-collab-caret-dot": {
    borderRadius: "50%",
    position: "absolute",
    width: ".4em",
    height: ".4em",
    top: "-.2em",
    left: "-.2em",
    backgroundColor: "inherit",
    transition: "transform .3s ease-in-out",
    boxSizing: "border-box",
  },
  ".cm-collab-caret:hover > .cm-collab-caret-dot": { transformOrigin: "bottom center", transform: "scale(0)" },
  ".cm-collab-name": {
    position: "absolute",
    top: "-1.25em",
    left: "-1px",
    fontSize: ".75em",
    fontFamily: "system-ui, sans-serif",
    lineHeight: "normal",
    userSelect: "none",
    color: "#111",
    paddingLeft: "3px",
    paddingRight: "3px",
    borderRadius: "3px",
    zIndex: "101",
    opacity: "0",
    pointerEvents: "none",
    whiteSpace: "nowrap",
    backgroundColor: "inherit",
    transition: "opacity .3s ease-in-out",
  },
  ".cm-collab-caret:hover > .cm-collab-name": { opacity: "1" },
  ".cm-collab-saved": { padding: "2px 8px", fontSize: "85%", fontFamily: "system-ui, sans-serif", color: "inherit" },
});
