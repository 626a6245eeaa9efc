/**
 * `selvedge`: edit text together, offline first.
 *
 *     const room = await open("notes-42", { relays: "https://relay.example.com" });
 *     room.text.observe(() => show(room.text.toString()));
 *     room.text.insert(0, "Hello");
 *
 * The wasm module lies beside this file and is fetched by `open()` or `init()`, not before.
 */

import { openFrom, type OpenOptions, type Room } from "./open.js";
import { fileSource } from "./wasm/file-source.js";
import { begin } from "./room-start.js";
import type { InitInput } from "./wasm/load.js";

export * from "./api.js";

/** Fetches and starts the wasm module. `open()` does it by itself; call it earlier to save the wait. Safe to call many times. */
export function init(input?: InitInput | Promise<InitInput>): Promise<void> {
  return begin(input, fileSource);
}

/** Opens a document by name: `name` or `tenant/name`. Resolves with the device's copy; the relay's follows. */
export function open(name: string, options?: OpenOptions): Promise<Room> {
  return openFrom(fileSource, name, options);
}
