/** The woven edge beside the sheet: a stitch in their colour for everyone else, at the height of the text where they are. */

import type { EditorView } from "@codemirror/view";
import { h } from "../dom.ts";
import type { Other } from "./people.ts";

export interface Edge {
  readonly element: HTMLElement;
  /** Sews the stitches anew, once per frame at most. */
  update(): void;
}

interface EdgeOptions {
  readonly view: () => EditorView;
  readonly others: () => readonly Other[];
  readonly placeOf: (id: string) => number | null;
  readonly onGoTo: (id: string) => void;
}

/** Room at both ends, in percent, so that no stitch hides in a corner. */
const MARGIN = 1.5;

export function edge({ view, others, placeOf, onGoTo }: EdgeOptions): Edge {
  // The list of people offers the same by keyboard.
  const element = h("div", { className: "edge", attrs: { "aria-hidden": "true" } });
  const sewn = new Map<string, HTMLButtonElement>();
  let waiting = false;

  function sew(): void {
    waiting = false;
    const left = new Set(sewn.keys());
    for (const other of others()) {
      const place = placeOf(other.id);
      if (place === null) continue;
      left.delete(other.id);
      const button = sewn.get(other.id) ?? begin(other.id);
      button.title = other.person.name;
      button.style.setProperty("--thread", other.person.color);
      button.style.top = `${height(view(), place).toFixed(1)}%`;
    }
    for (const id of left) {
      sewn.get(id)?.remove();
      sewn.delete(id);
    }
  }

  function begin(id: string): HTMLButtonElement {
    const button = h("button", { className: "edge-stitch", type: "button", tabIndex: -1 });
    button.addEventListener("click", () => onGoTo(id));
    sewn.set(id, button);
    element.append(button);
    return button;
  }

  return {
    element,
    update() {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(sew);
    },
  };
}

/** How far down the text `place` is, in percent of the edge. */
function height(view: EditorView, place: number): number {
  const block = view.lineBlockAt(Math.min(place, view.state.doc.length));
  const whole = Math.max(view.contentHeight, view.scrollDOM.clientHeight, 1);
  return MARGIN + (100 - 2 * MARGIN) * Math.min(1, (block.top + block.height / 2 + view.documentPadding.top) / whole);
}
