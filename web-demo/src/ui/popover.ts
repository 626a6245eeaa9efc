/** Panels that open under a button, close on Escape or a click elsewhere, and give the focus back. */

import { h } from "../dom.ts";

export interface Popover {
  readonly panel: HTMLElement;
  close(): void;
  readonly isOpen: boolean;
}

interface PopoverOptions {
  readonly label: string;
  readonly align?: "start" | "end";
  /** Called before it shows, to bring its content up to date. */
  readonly onOpen?: () => void;
}

const GAP = 8;

export function popover(button: HTMLButtonElement, content: readonly Node[], options: PopoverOptions): Popover {
  const panel = h("div", { className: "panel", attrs: { popover: "auto", role: "dialog", "aria-label": options.label } }, ...content);
  document.body.append(panel);
  button.setAttribute("aria-haspopup", "dialog");
  button.setAttribute("aria-expanded", "false");
  button.popoverTargetElement = panel;

  panel.addEventListener("beforetoggle", (event) => {
    if ((event as ToggleEvent).newState === "open") options.onOpen?.();
  });
  panel.addEventListener("toggle", (event) => {
    const open = (event as ToggleEvent).newState === "open";
    button.setAttribute("aria-expanded", String(open));
    if (open) place(panel, button, options.align ?? "end");
  });
  addEventListener("resize", () => {
    if (panel.matches(":popover-open")) place(panel, button, options.align ?? "end");
  });

  return {
    panel,
    close: () => panel.hidePopover(),
    get isOpen() {
      return panel.matches(":popover-open");
    },
  };
}

function place(panel: HTMLElement, button: HTMLElement, align: "start" | "end"): void {
  const anchor = button.getBoundingClientRect();
  const width = panel.offsetWidth;
  const wanted = align === "start" ? anchor.left : anchor.right - width;
  const left = Math.max(GAP, Math.min(wanted, innerWidth - width - GAP));
  panel.style.left = `${left}px`;
  panel.style.top = `${anchor.bottom + GAP}px`;
  panel.style.maxHeight = `${innerHeight - anchor.bottom - 2 * GAP}px`;
}
