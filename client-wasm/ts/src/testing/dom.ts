/** A document for editors in Node. */

import { Window } from "happy-dom";

/** Makes the globals an editor needs. Called before the editor is loaded. */
export function startDom(): void {
  const window = new Window();
  const names = [
    "document", "HTMLElement", "Node", "Range", "MutationObserver", "DOMParser", "KeyboardEvent", "Event", "getSelection", "getComputedStyle",
    "requestAnimationFrame", "cancelAnimationFrame", "HTMLTextAreaElement", "InputEvent",
  ] as const;
  for (const name of names) Object.defineProperty(globalThis, name, { value: window[name], configurable: true, writable: true });
  Object.defineProperty(globalThis, "window", { value: window, configurable: true });
}
