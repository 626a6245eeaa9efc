/** Says how safe the text is: a few words and a thread with one stitch per level; the details open under it. */

import { h, setText } from "../dom.ts";
import type { Step, Wording } from "../safety.ts";
import { popover } from "./popover.ts";

export interface SaveIndicator {
  readonly button: HTMLButtonElement;
  show(wording: Wording): void;
  /** The browser's answer to the wish to keep what is stored, in words. */
  showKeeping(text: string): void;
}

/**
 * How long something has to be safer than the words say before they say so: typing must not make the header flicker. The other
 * way there is no delay: words never claim more than is true.
 */
const CALM_MS = 350;

export function saveIndicator(): SaveIndicator {
  const stitches = h("span", { className: "stitches", attrs: { "aria-hidden": "true" } });
  const words = h("span", { className: "save-words", attrs: { role: "status", "aria-live": "polite" } });
  const button = h("button", { className: "save", type: "button", title: "How safe is my text?" }, stitches, words);

  const headline = h("p", { className: "panel-title" });
  const explanation = h("p", { className: "panel-text" });
  const list = h("ol", { className: "levels" });
  const keeping = h("p", { className: "panel-note" });
  keeping.hidden = true;
  const details = popover(button, [headline, explanation, list, keeping], { label: "How safe your text is", align: "start", onOpen: renderDetails });

  let pending: ReturnType<typeof setTimeout> | null = null;
  let latest: Wording | null = null;
  let shown: Wording | null = null;
  let shownStitches = "";

  function render(): void {
    pending = null;
    if (latest === null) return;
    shown = latest;
    if (button.dataset.tone !== latest.tone) button.dataset.tone = latest.tone;
    setText(words, latest.short);
    const sewn = latest.steps.map((step) => (step.done ? "stitch done" : "stitch"));
    if (sewn.join() !== shownStitches) {
      shownStitches = sewn.join();
      stitches.replaceChildren(...sewn.map((className) => h("i", { className })));
    }
    if (details.isOpen) renderDetails();
  }

  function renderDetails(): void {
    if (latest === null) return;
    setText(headline, latest.short);
    setText(explanation, latest.long);
    list.replaceChildren(...latest.steps.map(level));
  }

  return {
    button,
    show(next) {
      latest = next;
      if (shown !== null && promise(next) > promise(shown)) {
        pending ??= setTimeout(render, CALM_MS);
        return;
      }
      if (pending !== null) clearTimeout(pending);
      render();
    },
    showKeeping(text) {
      keeping.hidden = false;
      setText(keeping, text);
    },
  };
}

/** How much words promise, among those that come and go while somebody types; nothing for others, which are shown at once. */
function promise({ tone, steps }: Wording): number {
  if (tone !== "safe" && tone !== "moving") return NaN;
  return steps.filter(({ done }) => done).length + (tone === "safe" ? 1 : 0);
}

function level(step: Step): HTMLLIElement {
  return h(
    "li",
    { className: step.done ? "level done" : "level" },
    h("span", { className: "level-name", textContent: step.name }),
    h("span", { className: "level-text", textContent: step.text }),
  );
}
