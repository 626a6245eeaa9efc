/** The wasm file beside this one, as every bundler understands it. */

import type { InitInput } from "./load.js";

interface NodeProcess { getBuiltinModule?(name: "node:fs/promises"): { readFile(path: URL): Promise<Uint8Array<ArrayBuffer>> } | undefined }

/** The file's address; in Node, which cannot fetch files, its bytes. */
export async function fileSource(): Promise<InitInput> {
  const url = new URL("./selvedge_bg.wasm", import.meta.url);
  if (url.protocol !== "file:") return url;
  const { process } = globalThis as { process?: NodeProcess };
  const files = process?.getBuiltinModule?.("node:fs/promises");
  return files ? files.readFile(url) : url;
}
