/** Shows where others are, and tells them where this user is. */

import { RangeSet, type Extension, type Range } from "@codemirror/state";
import { Decoration, EditorView, ViewPlugin, WidgetType, type DecorationSet, type ViewUpdate } from "@codemirror/view";
import type { Awareness, AwarenessCursor, PeerState } from "../../awareness.js";
import { positionFromJSON } from "../../position.js";
import type { SharedText } from "../../text.js";

/** What is shown for a user without a colour. */
export const USER_COLORS: readonly string[] = ["#30bced", "#6eeb83", "#d99000", "#8ac926", "#ee6352", "#9ac2c9", "#c879ff", "#1be7ff"];
/** Colours come from other people: only what is plainly one is used. */
const COLOR = /^(#[0-9a-f]{3,8}|[a-z]{3,24}|(rgb|hsl)a?\([0-9.,%\s/]{1,40}\))$/i;
const NAME_UNITS_MAX = 40;

class CaretWidget extends WidgetType {
  readonly #color: string;
  readonly #name: string;

  constructor(color: string, name: string) {
    super();
    this.#color = color;
    this.#name = name;
  }

  override eq(other: CaretWidget): boolean {
    return other.#color === this.#color && other.#name === this.#name;
  }

  override toDOM(): HTMLElement {
    const caret = document.createElement("span");
    caret.className = "cm-collab-caret";
    caret.style.backgroundColor = this.#color;
    caret.style.borderColor = this.#color;
    const dot = document.createElement("span");
    dot.className = "cm-collab-caret-dot";
    const name = document.createElement("span");
    name.className = "cm-collab-name";
    name.textContent = this.#name;
    // Word joiners keep the line from breaking at the caret.
    caret.append("\u2060", dot, "\u2060", name, "\u2060");
    return caret;
  }

  override get estimatedHeight(): number {
    return -1;
  }

  override ignoreEvent(): boolean {
    return true;
  }
}

/** How one user looks. */
export function looksOf(id: number, state: PeerState, colors: readonly string[]): { name: string; color: string; light: string } {
  const user: unknown = state.user;
  const fields: Partial<Record<string, unknown>> = typeof user === "object" && user !== null ? { ...user } : {};
  const pick = (value: unknown, otherwise: string): string => typeof value === "string" && COLOR.test(value) ? value : otherwise;
  const color = pick(fields["color"], colors[Math.abs(id) % colors.length] ?? "#30bced");
  const light = pick(fields["colorLight"], /^#[0-9a-f]{6}$/i.test(color) ? `${color}33` : color);
  const name = typeof fields["name"] === "string" && fields["name"] !== "" ? fields["name"].slice(0, NAME_UNITS_MAX) : "Anonymous";
  return { name, color, light };
}

/** Where a peer's selection is in the text, or null for one that has none, or none this text can place. */
function rangeOf(text: SharedText, cursor: unknown, length: number): { anchor: number; head: number } | null {
  if (typeof cursor !== "object" || cursor === null) return null;
  const { anchor, head } = cursor as Partial<AwarenessCursor>;
  if (typeof anchor !== "string" || typeof head !== "string") return null;
  try {
    const place = (json: string): number => Math.min(text.indexOf(positionFromJSON(json)), length);
    return { anchor: place(anchor), head: place(head) };
  } catch {
    return null;
  }
}

class CursorsPlugin {
  decorations: DecorationSet = Decoration.none;
  readonly #view: EditorView;
  readonly #text: SharedText;
  readonly #awareness: Awareness;
  readonly #colors: readonly string[];
  readonly #stop: () => void;
  #redrawing = false;
  #gone = false;
  #told: string | null = null;

  constructor(view: EditorView, text: SharedText, awareness: Awareness, colors: readonly string[]) {
    this.#view = view;
    this.#text = text;
    this.#awareness = awareness;
    this.#colors = colors;
    this.#stop = awareness.on("change", () => this.#redrawSoon());
    this.#draw();
  }

  update(update: ViewUpdate): void {
    if (update.selectionSet || update.docChanged || update.focusChanged) this.#tell(update.view);
    this.#draw();
  }

  destroy(): void {
    this.#gone = true;
    this.#stop();
  }

  /** Presence can change inside an update of this editor: drawn after it. */
  #redrawSoon(): void {
    if (this.#redrawing) return;
    this.#redrawing = true;
    queueMicrotask(() => {
      this.#redrawing = false;
      if (!this.#gone) this.#view.dispatch({});
    });
  }

  #tell(view: EditorView): void {
    const { main } = view.state.selection;
    const place = (at: number): string => this.#text.positionAt(at, at === 0 ? 1 : -1).toJSON();
    let cursor: AwarenessCursor | null = null;
    try {
      if (view.hasFocus && this.#text.length === view.state.doc.length) cursor = { anchor: place(main.anchor), head: place(main.head) };
      else if (view.hasFocus) return; // the editor is about to catch up: told then
    } catch {
      return; // closed meanwhile
    }
    const told = JSON.stringify(cursor);
    if (told === this.#told) return;
    this.#told = told;
    this.#awareness.setLocalStateField("cursor", cursor);
  }

  #draw(): void {
    const { doc } = this.#view.state;
    const ranges: Range<Decoration>[] = [];
    for (const [id, state] of this.#awareness.getStates()) {
      const range = rangeOf(this.#text, state.cursor, doc.length);
      if (!range) continue;
      const { name, color, light } = looksOf(id, state, this.#colors);
      const from = Math.min(range.anchor, range.head);
      const to = Math.max(range.anchor, range.head);
      if (from < to) ranges.push(Decoration.mark({ class: "cm-collab-selection", attributes: { style: `background-color: ${light}` } }).range(from, to));
      ranges.push(Decoration.widget({ widget: new CaretWidget(color, name), side: range.head > range.anchor ? -1 : 1 }).range(range.head));
    }
    this.decorations = ranges.length === 0 ? Decoration.none : RangeSet.of(ranges, true);
  }
}

/** The extension that shows remote carets and selections. */
export function cursors(text: SharedText, awareness: Awareness, colors: readonly string[]): Extension {
  return ViewPlugin.define((view) => new CursorsPlugin(view, text, awareness, colors), { decorations: (plugin) => plugin.decorations });
}
