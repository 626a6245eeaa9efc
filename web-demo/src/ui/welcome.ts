/** What an empty sheet says: three things worth knowing, gone with the first letter. */

import { h } from "../dom.ts";

export interface Welcome {
  readonly element: HTMLElement;
  show(visible: boolean): void;
}

const LINES = [
  "Every word is kept on this device the moment you type it, and shared as soon as there is a connection.",
  "Share the link, and write together. You see each other’s cursors.",
  "Switch to offline, close the window, come back: nothing is lost, and everything is merged.",
];

export function welcome(): Welcome {
  const element = h("div", { className: "welcome" }, h("div", { className: "welcome-inner" }, h("ul", {}, ...LINES.map((line) => h("li", {}, h("span", { textContent: line }))))));
  element.hidden = true;
  return {
    element,
    show(visible) {
      element.hidden = !visible;
    },
  };
}
