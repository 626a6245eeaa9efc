/** Sharing by link. */

import { h } from "../dom.ts";
import { copyIcon, linkIcon } from "./icons.ts";
import { popover } from "./popover.ts";

export function shareButton(link: () => string, onCopied: (copied: boolean) => void): HTMLButtonElement {
  const button = h("button", { className: "button primary", type: "button" }, linkIcon(), h("span", { className: "wide", textContent: "Share" }));
  button.setAttribute("aria-label", "Share");
  const field = h("input", { className: "field", type: "text", readOnly: true, ariaLabel: "Link to this text" });
  field.addEventListener("focus", () => field.select());
  const copy = h("button", { className: "button primary", type: "button" }, copyIcon(), "Copy link");
  copy.addEventListener("click", () => {
    void copyText(field.value).then(onCopied);
  });
  popover(
    button,
    [
      h("p", { className: "panel-title", textContent: "Write together" }),
      h("p", { className: "panel-text", textContent: "Whoever has this link and can reach the server can read this text and write in it." }),
      h("div", { className: "row" }, field, copy),
    ],
    { label: "Share", onOpen: () => (field.value = link()) },
  );
  return button;
}

/** Copies, by the old way where the page is not served securely; resolves to whether it worked. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text: string): boolean {
  const area = h("textarea", { value: text, className: "visually-hidden" });
  // Inside the open panel, if there is one: elsewhere the panel would close.
  (document.querySelector(".panel:popover-open") ?? document.body).append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  return copied;
}
