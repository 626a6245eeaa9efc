/** What the writer must know and cannot overlook: one strip above the text, always with a way to take the text along. */

import { h } from "../dom.ts";
import { closeIcon, warnIcon } from "./icons.ts";

export interface NoticeAction {
  readonly label: string;
  readonly run: () => void;
}

export interface Notice {
  readonly kind: "info" | "alarm";
  readonly title: string;
  readonly text: string;
  readonly actions: readonly NoticeAction[];
  readonly dismissible?: boolean;
}

export interface NoticeStrip {
  readonly element: HTMLElement;
  show(notice: Notice | null): void;
}

export function noticeStrip(): NoticeStrip {
  const element = h("div", { className: "notice", attrs: { role: "alert" } });
  element.hidden = true;
  return {
    element,
    show(notice) {
      element.hidden = notice === null;
      element.replaceChildren();
      if (notice === null) return;
      element.dataset.kind = notice.kind;
      const buttons = notice.actions.map((action) => {
        const button = h("button", { className: "button", type: "button", textContent: action.label });
        button.addEventListener("click", action.run);
        return button;
      });
      element.append(
        warnIcon(),
        h("p", {}, h("strong", { textContent: notice.title }), " ", notice.text),
        h("div", { className: "notice-actions" }, ...buttons),
      );
      if (notice.dismissible === true) {
        const close = h("button", { className: "button quiet square", type: "button", ariaLabel: "Dismiss" }, closeIcon());
        close.addEventListener("click", () => (element.hidden = true));
        element.append(close);
      }
    },
  };
}
