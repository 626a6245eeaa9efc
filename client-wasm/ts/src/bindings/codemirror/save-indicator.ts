/** A panel below the editor that says how safe the text is. */

import type { Extension } from "@codemirror/state";
import { showPanel, type EditorView, type Panel } from "@codemirror/view";
import type { RelayProvider } from "../../provider/relay-provider.js";
import { saveWords } from "../../save-words.js";

/** A panel with the truth about the text: on this device, in a region, in two. */
export function saveIndicator(relay: RelayProvider): Extension {
  return showPanel.of((_view: EditorView): Panel => {
    const dom = document.createElement("div");
    dom.className = "cm-collab-saved";
    dom.setAttribute("role", "status");
    const show = (): void => {
      const { kind, text } = saveWords(relay.saved, relay.status);
      dom.dataset["state"] = kind;
      if (dom.textContent !== text) dom.textContent = text;
    };
    show();
    const stops = [relay.on("saved", show), relay.on("status", show), relay.on("closed", show)];
    return { dom, destroy: () => { for (const stop of stops) stop(); } };
  });
}
