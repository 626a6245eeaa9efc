/** What views share without showing it: the replica behind a document or its text. */

import type { Body } from "./machine/body.js";

const replicas = new WeakMap<object, Body>();

/** Remembers which replica `view` shows. */
export function bindBody(view: object, body: Body): void {
  replicas.set(view, body);
}

/** The replica behind a document or text of this package. */
export function bodyOf(view: object): Body {
  const body = replicas.get(view);
  if (!body) throw new TypeError("This object was not made by this copy of selvedge: is the package loaded twice?");
  return body;
}
