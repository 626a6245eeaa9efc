/**
 * What a page loads of each subject, minified and through gzip: the script with all it imports, and the module beside it.
 */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const PACKAGES = "node_modules";
/** Entry and module. Plain scripts are there to be seen, and compared with nobody. */
const PARTS = {
  selvedge: { script: "../../../client-wasm/pkg/dist/index.js", module: "../../../client-wasm/pkg/dist/wasm/selvedge_bg.wasm" },
  ywasm: { script: `${PACKAGES}/ywasm/ywasm.js`, module: `${PACKAGES}/ywasm/ywasm_bg.wasm` },
  loro: { script: `${PACKAGES}/loro-crdt/web/index.js`, module: `${PACKAGES}/loro-crdt/web/loro_wasm_bg.wasm` },
  automerge: { script: `${PACKAGES}/@automerge/automerge/dist/mjs/entrypoints/slim.js`, module: `${PACKAGES}/@automerge/automerge/dist/automerge.wasm` },
  "reference-yjs": { script: `${PACKAGES}/yjs/dist/yjs.mjs` },
};

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

/** Bytes by subject: `{script, module}`, the second only where there is one. */
export async function sizes() {
  // The tool the package itself is built with.
  const { build } = createRequire(at("../../../client-wasm/ts/package.json"))("esbuild");
  const found = {};
  for (const [name, { script, module }] of Object.entries(PARTS)) {
    const { outputFiles } = await build({
      entryPoints: [at(script)], bundle: true, minify: true, format: "esm", platform: "node", write: false, logLevel: "error",
    });
    found[name] = { script: packed(outputFiles[0].contents) };
    if (module) found[name].module = packed(readFileSync(at(module)));
  }
  return found;
}

function packed(bytes) {
  return gzipSync(bytes, { level: 9 }).length;
}
