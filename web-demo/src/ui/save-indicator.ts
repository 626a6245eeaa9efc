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

/** How long a passing state must last before it is worth words: typing must not make the header flicker. */
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
  let shownStitches = "";

  function render(): void {
    pending = null;
    if (latest === null) return;
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
      const calm = latest?.tone === "safe" && next.tone === "moving";
      latest = next;
      if (pending !== null && !calm) {
        // A passing state that lasted, or one that has already passed: what is true now is shown.
        if (next.tone === "moving") return;
        clearTimeout(pending);
        render();
      } else if (calm) {
        pending ??= setTimeout(render, CALM_MS);
      } else {
        render();
      }
    },
    showKeeping(text) {
      keeping.hidden = false;
      setText(keeping, text);
    },
  };
}

function level(step: Step): HTMLLIElement {
  return h(
    "li",
    { className: step.done ? "level done" : "level" },
    h("span", { className: "level-name", textContent: step.name }),
    h("span", { className: "level-text", textContent: step.text }),
  );
}
