/**
 * A light dress for Markdown: headings, emphasis, quotes, code, lists.
 *
 * It looks at the visible lines only and knows no nesting: the text stays plain text, and a document of any length costs
 * as much as the part of it on the screen.
 */

import { type EditorState, type Extension, type Range, RangeSetBuilder } from "@codemirror/state";
import { Decoration, type DecorationSet, type EditorView, ViewPlugin, type ViewUpdate } from "@codemirror/view";

const heading = [1, 2, 3].map((level) => Decoration.line({ class: `md-h md-h${level}` }));
const quote = Decoration.line({ class: "md-quote" });
const mark = Decoration.mark({ class: "md-mark" });
const strong = Decoration.mark({ class: "md-strong" });
const emphasis = Decoration.mark({ class: "md-em" });
const code = Decoration.mark({ class: "md-code" });

/** Longer lines than this are no prose: they stay undressed. */
const LINE_LENGTH_MAX = 4000;

const INLINE = /`([^`\n]+)`|\*\*(?=\S)([^*\n]+?)\*\*|(?<![\w*])\*(?=\S)([^*\n]+?)\*(?!\*)|(?<!\w)_(?=\S)([^_\n]+?)_(?!\w)/g;

export function dressing(): Extension {
  return ViewPlugin.fromClass(
    class {
      decorations: DecorationSet;
      constructor(view: EditorView) {
        this.decorations = dress(view);
      }
      update(update: ViewUpdate): void {
        if (update.docChanged || update.viewportChanged) this.decorations = dress(update.view);
      }
    },
    { decorations: (plugin) => plugin.decorations },
  );
}

function dress(view: EditorView): DecorationSet {
  const builder = new RangeSetBuilder<Decoration>();
  for (const { from, to } of view.visibleRanges) {
    for (const range of dressedLines(view.state, from, to)) builder.add(range.from, range.to, range.value);
  }
  return builder.finish();
}

function dressedLines(state: EditorState, from: number, to: number): Range<Decoration>[] {
  const ranges: Range<Decoration>[] = [];
  for (let at = state.doc.lineAt(from).from; at <= to; ) {
    const line = state.doc.lineAt(at);
    if (line.from >= from && line.length <= LINE_LENGTH_MAX) dressLine(line.text, line.from, ranges);
    at = line.to + 1;
  }
  return ranges;
}

function dressLine(text: string, start: number, ranges: Range<Decoration>[]): void {
  const title = /^(#{1,3})\s+\S/.exec(text);
  if (title !== null) {
    const level = (title[1] ?? "#").length;
    ranges.push((heading[level - 1] as Decoration).range(start), mark.range(start, start + level));
  } else if (/^>\s?/.test(text)) {
    ranges.push(quote.range(start), mark.range(start, start + 1));
  } else {
    const bullet = /^(\s*)([-*+]|\d+[.)])\s/.exec(text);
    if (bullet !== null) {
      const at = start + (bullet[1] ?? "").length;
      ranges.push(mark.range(at, at + (bullet[2] ?? "").length));
    }
  }
  for (const match of text.matchAll(INLINE)) {
    const at = start + match.index;
    const end = at + match[0].length;
    const edge = match[2] !== undefined ? 2 : 1;
    const inner = match[1] !== undefined ? code : match[2] !== undefined ? strong : emphasis;
    ranges.push(mark.range(at, at + edge), inner.range(at + edge, end - edge), mark.range(end - edge, end));
  }
}
