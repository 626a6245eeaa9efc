/** `selvedge/inline`: the same with the wasm inside the JavaScript, for places that cannot serve a file beside it. */

import { openFrom, type OpenOptions, type Room } from "./open.js";
import { begin } from "./room-start.js";
import type { InitInput } from "./wasm/load.js";

export * from "./api.js";

async function inlineSource(): Promise<InitInput> {
  const { base64 } = await import("./wasm/inline.js");
  return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
}

/** Starts the wasm module. `open()` does it by itself. Safe to call many times. */
export function init(input?: InitInput | Promise<InitInput>): Promise<void> {
  return begin(input, inlineSource);
}

/** Opens a document by name. */
export function open(name: string, options?: OpenOptions): Promise<Room> {
  return openFrom(inlineSource, name, options);
}
