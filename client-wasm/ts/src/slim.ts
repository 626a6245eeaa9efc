/** `selvedge/slim`: the same without the wasm file. Pass it to `init`, or as `wasm` to `open`. */

import { SelvedgeError } from "./errors.js";
import { openFrom, type OpenOptions, type Room } from "./open.js";
import { begin } from "./room-start.js";
import type { InitInput } from "./wasm/load.js";

export * from "./api.js";

const noSource = (): Promise<InitInput> =>
  Promise.reject(new SelvedgeError("not-initialized", "selvedge/slim has no wasm: call `init(bytes | URL | Response | Module)` first."));

/** Starts the wasm module from `input`. Safe to call many times. */
export function init(input: InitInput | Promise<InitInput>): Promise<void> {
  return begin(input, noSource);
}

/** Opens a document by name, after {@link init} or with `options.wasm`. */
export function open(name: string, options?: OpenOptions): Promise<Room> {
  return openFrom(noSource, name, options);
}
