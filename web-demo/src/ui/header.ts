/** The strip above the text: its title, how safe it is, who is here, the connection, sharing. */

import { h } from "../dom.ts";
import { brandMark } from "./icons.ts";

export interface Header {
  readonly element: HTMLElement;
  /** Shows the shared title, unless the writer is typing one just now. */
  showTitle(title: string, fallback: string): void;
  showOnline(on: boolean): void;
  setReadOnly(readOnly: boolean): void;
}

interface HeaderOptions {
  readonly save: HTMLElement;
  readonly people: HTMLElement;
  readonly share: HTMLElement;
  readonly menu: HTMLElement;
  readonly onTitle: (title: string) => void;
  /** Enter in the title goes on to the text. */
  readonly onTitleDone: () => void;
  readonly onOnline: (on: boolean) => void;
}

export const TITLE_LENGTH_MAX = 120;

export function header(options: HeaderOptions): Header {
  const title = h("input", {
    className: "title",
    type: "text",
    maxLength: TITLE_LENGTH_MAX,
    ariaLabel: "Title",
    autocomplete: "off",
    placeholder: "Untitled",
  });
  let shared = "";
  title.addEventListener("change", () => {
    shared = title.value.trim();
    options.onTitle(shared);
  });
  title.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Escape") title.value = shared;
    if (event.key === "Enter" || event.key === "Escape") options.onTitleDone();
  });

  const online = h("input", { type: "checkbox", checked: true, className: "switch-box", attrs: { role: "switch" } });
  const onlineWord = h("span", { className: "switch-word", textContent: "Online" });
  const onlineSwitch = h("label", { className: "switch", title: "Work online or offline" }, online, h("span", { className: "switch-track", attrs: { "aria-hidden": "true" } }), onlineWord);
  online.addEventListener("change", () => options.onOnline(online.checked));

  const element = h(
    "header",
    { className: "top" },
    h("div", { className: "top-start" }, h("span", { className: "brand", title: "Selvedge" }, brandMark()), title),
    h("div", { className: "top-state" }, options.save, onlineSwitch),
    h("div", { className: "top-end" }, options.people, options.share, options.menu),
  );

  return {
    element,
    showTitle(next, fallback) {
      shared = next;
      title.placeholder = fallback;
      if (document.activeElement !== title) title.value = next;
    },
    showOnline(on) {
      online.checked = on;
      onlineWord.textContent = on ? "Online" : "Offline";
    },
    setReadOnly(readOnly) {
      title.readOnly = readOnly;
    },
  };
}
