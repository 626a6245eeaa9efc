/** Where the programs and files under test are: from the environment, else from where a build of this repository puts them. */

import { existsSync } from "node:fs";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "../../..");

const CHROMIUM_NAMES = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/** The relay's program. */
export function relayBinary() {
  const target = process.env.CARGO_TARGET_DIR ?? join(ROOT, "target");
  return mustExist(process.env.SELVEDGE_RELAY_BIN ?? join(target, "debug/selvedge-relay"), "the relay (cargo build -p selvedge-relay, or SELVEDGE_RELAY_BIN)");
}

/** The program that starts two regions. */
export function regionsBinary() {
  const target = process.env.CARGO_TARGET_DIR ?? join(ROOT, "target");
  return mustExist(process.env.SELVEDGE_REGIONS_BIN ?? join(target, "debug/regions"), "the program of two regions (cargo build -p selvedge-tests --bin regions, or SELVEDGE_REGIONS_BIN)");
}

/** The built demo. */
export function webFolder() {
  return mustExist(process.env.SELVEDGE_WEB ?? join(ROOT, "web-demo/dist"), "the built demo (npm run build in web-demo, or SELVEDGE_WEB)");
}

/** A file of the built npm package, for its independent reading of the wire. */
export function packageFile(name) {
  return mustExist(join(ROOT, "client-wasm/pkg/dist", name), "the npm package (cargo xtask wasm)");
}

/** A Chromium or Chrome. */
export function browserBinary() {
  const named = process.env.SELVEDGE_CHROMIUM;
  if (named) return mustExist(named, "the browser named by SELVEDGE_CHROMIUM");
  for (const folder of (process.env.PATH ?? "").split(":")) {
    for (const name of CHROMIUM_NAMES) {
      const path = join(folder, name);
      if (folder !== "" && existsSync(path)) return path;
    }
  }
  throw new Error(`no ${CHROMIUM_NAMES.join(", ")} in PATH: install one, or name it by SELVEDGE_CHROMIUM`);
}

function mustExist(path, what) {
  if (!existsSync(path)) throw new Error(`${what} is not at ${path}`);
  return path;
}
