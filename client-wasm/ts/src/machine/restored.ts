/** What a store had, in the machine's form. */

import type { StoredDocument } from "../store/store.js";
import { facade } from "../wasm/load.js";
import type { Restored } from "../wasm/selvedge.js";

/** State, outbox and kept frames for `Client.open`, or an outbox alone for `Client.adoptOutbox`. The machine consumes it. */
export function restoredOf({ state, outbox, frames }: StoredDocument): Restored {
  const restored = new (facade().Restored)(state?.generation ?? 0, state?.snapshot, state?.position ?? undefined, state?.highest);
  for (const { site, first, last, principal, bytes, acked } of outbox) restored.outbox(site, first, last, principal, bytes, acked);
  for (const { bytes } of frames) restored.frame(bytes);
  return restored;
}
