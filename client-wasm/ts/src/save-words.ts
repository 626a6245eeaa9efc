/** Says in words how safe a text is, and never more than is true. */

import type { SaveState, Status } from "./status.js";

/** How safe the text is: `kind` for a style, `text` for people. */
export interface SaveWords {
  readonly kind: "replicated" | "region" | "saving" | "device" | "unsaved" | "readonly" | "closed";
  readonly text: string;
}

function edits(count: number): string {
  return count === 1 ? "1 edit" : `${count} edits`;
}

/** The words for a state. */
export function saveWords(saved: SaveState, status: Status): SaveWords {
  if (saved.deviceError !== null && saved.region.ops > 0) return { kind: "unsaved", text: `Not saved: ${saved.deviceError}` };
  if (saved.device.ops > 0 && saved.region.ops > 0) return { kind: "saving", text: "Saving…" };
  if (saved.region.ops > 0) {
    const connected = status === "connected" || status === "syncing";
    return connected
      ? { kind: "saving", text: `Saved on this device, sending ${edits(saved.region.ops)}…` }
      : { kind: "device", text: `Saved on this device, ${edits(saved.region.ops)} waiting for a connection` };
  }
  if (status === "closed") return { kind: "closed", text: "Closed by the server" };
  if (status === "readonly") return { kind: "readonly", text: "Read only" };
  if (saved.highest === "device") return { kind: "device", text: "Saved on this device" };
  if (saved.highest === "replicated") {
    return saved.replicated.ops > 0 ? { kind: "region", text: "Saved in the region, copying to the other…" } : { kind: "replicated", text: "Saved in two regions" };
  }
  return { kind: "region", text: "Saved in the region" };
}
