/** Short messages that pass by, with at most one thing to do. */

import { h } from "../dom.ts";

export interface ToastAction {
  readonly label: string;
  readonly run: () => void;
}

const SHOWN_MS = 4000;

let shelf: HTMLElement | null = null;

/** Shows `text`; one with an action stays until it is used or replaced. */
export function toast(text: string, action?: ToastAction): void {
  shelf ??= document.body.appendChild(h("div", { className: "toasts", attrs: { role: "status", "aria-live": "polite" } }));
  const message = h("div", { className: "toast" }, h("span", { textContent: text }));
  if (action !== undefined) {
    const button = h("button", { className: "toast-action", type: "button", textContent: action.label });
    button.addEventListener("click", () => {
      message.remove();
      action.run();
    });
    message.append(button);
  } else {
    setTimeout(() => message.remove(), SHOWN_MS);
  }
  shelf.replaceChildren(message);
}
