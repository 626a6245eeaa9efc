/** What views share without showing it: the body behind a document or its text. */

import type { Body } from "./machine/body.js";

const bodies = new WeakMap<object, Body>();

/** Remembers which body `view` shows. */
export function bindBody(view: object, body: Body): void {
  bodies.set(view, body);
}

/** The body behind a document or text of this package. */
export function bodyOf(view: object): Body {
  const body = bodies.get(view);
  if (!body) throw new TypeError("This object was not made by this copy of selvedge: is the package loaded twice?");
  return body;
}
