/** Starts the wasm module, once per page, and not before somebody asks. */

import { SelvedgeError } from "../errors.js";
import type * as Facade from "./selvedge.js";
import type { InitInput, Started } from "./selvedge.js";

export type { InitInput } from "./selvedge.js";

/** What the module offers. */
export type Module = typeof Facade;

let starting: Promise<Module> | null = null;
let started: Module | null = null;
let instance: Started | null = null;
/** Where the module comes from when the caller names no source. */
export type DefaultSource = () => Promise<InitInput>;

/** Fetches and starts the module. Safe to call many times; the first call's source counts. */
export async function start(input: InitInput | Promise<InitInput> | undefined, source: DefaultSource): Promise<void> {
  starting ??= load(input, source).catch((error: unknown) => {
    starting = null; // a failed fetch may be tried again
    throw error;
  });
  await starting;
}

/** Whether the module runs. */
export const isReady = (): boolean => started !== null;

/** The running module. */
export function facade(): Module {
  if (!started) throw new SelvedgeError("not-initialized", "Call `await init()` or `await open(...)` first.");
  return started;
}

/** The running module's memory. */
export function memory(): WebAssembly.Memory {
  if (!instance) throw new SelvedgeError("not-initialized", "Call `await init()` or `await open(...)` first.");
  return instance.memory;
}

/**
 * Outside a page bytes are started without the classes of fetching: Node loads these when they are first named, which takes longer than
 * all the rest. In a page a module of this size must not be instantiated at once.
 */
async function instantiate(module: Module, input: InitInput): Promise<Started> {
  const inPage = typeof window !== "undefined";
  if (inPage || !(isBytes(input) || input instanceof WebAssembly.Module)) return module.default({ module_or_path: input });
  return module.initSync({ module: isBytes(input) ? await WebAssembly.compile(input) : input });
}

async function load(input: InitInput | Promise<InitInput> | undefined, source: DefaultSource): Promise<Module> {
  try {
    const module = await import("./selvedge.js");
    instance = await instantiate(module, await (input ?? source()));
    started = module;
    return module;
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new SelvedgeError("wasm", `The wasm module did not start: ${message}`, { cause, retryable: true });
  }
}

function isBytes(input: InitInput): input is BufferSource {
  return input instanceof ArrayBuffer || ArrayBuffer.isView(input);
}
