/** What views share without showing it: the replica behind a document or its text. */

import type { Replica } from "./machine/replica.js";

const replicas = new WeakMap<object, Replica>();

/** Remembers which replica `view` shows. */
export function bindReplica(view: object, replica: Replica): void {
  replicas.set(view, replica);
}

/** The replica behind a document or text of this package. */
export function replicaOf(view: object): Replica {
  const replica = replicas.get(view);
  if (!replica) throw new TypeError("This object was not made by this copy of selvedge: is the package loaded twice?");
  return replica;
}
