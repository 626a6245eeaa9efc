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
  // Only what the editor reads: the package itself must still see that this is no page.
  Object.defineProperty(globalThis, "innerWidth", { value: 1024, configurable: true });
  Object.defineProperty(globalThis, "innerHeight", { value: 768, configurable: true });
}
