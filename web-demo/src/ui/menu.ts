/** Everything that is not needed at every moment: other texts, taking this one along, light and dark. */

import { keepTheme, recentTexts, theme, type Theme } from "../device.ts";
import { h } from "../dom.ts";
import { copyIcon, downloadIcon, menuIcon, plusIcon } from "./icons.ts";
import { popover } from "./popover.ts";

interface MenuOptions {
  readonly current: string;
  readonly onNew: () => void;
  readonly onOpen: (name: string) => void;
  readonly onCopy: () => void;
  readonly onDownload: () => void;
  /** One line about the connection, for those who want to know. */
  readonly about: () => string;
}

export function menuButton(options: MenuOptions): HTMLButtonElement {
  const button = h("button", { className: "button quiet square", type: "button", ariaLabel: "Menu", title: "Menu" }, menuIcon());
  const recent = h("div", { className: "menu-group" });
  const about = h("p", { className: "panel-note" });

  const menu = popover(
    button,
    [
      item(plusIcon(), "New text", () => options.onNew()),
      item(copyIcon(), "Copy all text", () => options.onCopy()),
      item(downloadIcon(), "Save as a file", () => options.onDownload()),
      recent,
      themeChoice(),
      about,
    ],
    { label: "Menu", onOpen: refresh },
  );

  function item(picture: Node | null, label: string, run: () => void): HTMLButtonElement {
    const entry = h("button", { className: "menu-item", type: "button" }, picture, h("span", { className: "menu-label", textContent: label }));
    entry.addEventListener("click", () => {
      menu.close();
      run();
    });
    return entry;
  }

  function refresh(): void {
    const others = recentTexts().filter((text) => text.name !== options.current);
    recent.hidden = others.length === 0;
    recent.replaceChildren(
      h("p", { className: "panel-label", textContent: "Opened lately on this device" }),
      ...others.slice(0, 5).map((text) => item(null, text.title, () => options.onOpen(text.name))),
    );
    about.textContent = options.about();
  }

  return button;
}

function themeChoice(): HTMLElement {
  const choices: readonly (readonly [Theme, string])[] = [
    ["system", "System"],
    ["light", "Light"],
    ["dark", "Dark"],
  ];
  const group = h("div", { className: "segments", attrs: { role: "radiogroup", "aria-label": "Appearance" } });
  for (const [value, label] of choices) {
    const radio = h("input", { type: "radio", name: "theme", value, checked: theme() === value });
    radio.addEventListener("change", () => keepTheme(value));
    group.append(h("label", { className: "segment" }, radio, h("span", { textContent: label })));
  }
  return h("div", { className: "menu-group" }, h("p", { className: "panel-label", textContent: "Appearance" }), group);
}
