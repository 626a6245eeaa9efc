// Puts the npm package together in client-wasm/pkg: the optimised wasm module, the TypeScript as ES modules with types, and a
// package.json without what only building needs. `generated/` must hold the module's bindings (`cargo xtask wasm`).
//
//   node scripts/build.mjs [--quick]     --quick: no optimiser (seconds faster, a larger file)

import { execFileSync } from "node:child_process";
import { constants, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { brotliCompressSync, gzipSync } from "node:zlib";

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const generated = at("generated");
const pkg = at("../pkg");
const wasmDir = `${pkg}/dist/wasm`;
const { values } = parseArgs({ options: { quick: { type: "boolean", default: false } } });

/** Bytes of the module and of the script after gzip that a change must not pass unnoticed. */
const BUDGET = { "module (gzip)": 256_000, "script (gzip)": 28_000 };

/** A function with one caller stays one unless it is tiny: put into the caller it saves bytes, but what has more locals packs worse. */
const OPTIMISER = ["-Oz", "--one-caller-inline-max-function-size=10", "--converge"];

function bin(name, args) {
  execFileSync(process.execPath, [at(`node_modules/${name}`), ...args], { cwd: at("."), stdio: ["ignore", "inherit", "inherit"] });
}

if (!existsSync(`${generated}/selvedge_bg.wasm`)) {
  console.error("client-wasm/ts/generated has no wasm module: run `cargo xtask wasm`.");
  process.exit(1);
}

rmSync(`${pkg}/dist`, { recursive: true, force: true });
mkdirSync(wasmDir, { recursive: true });

// The generated glue would fetch the module by its own default address; every entry of the package says where it is instead.
const glue = readFileSync(`${generated}/selvedge.js`, "utf8");
const bound = /module_or_path = new URL\('selvedge_bg\.wasm', import\.meta\.url\);/;
if (!bound.test(glue)) throw new Error("the bindings no longer contain the default address this script takes out");
writeFileSync(`${wasmDir}/selvedge.js`, glue.replace(bound, "throw new Error('no source for the wasm module');"));

const optimised = `${wasmDir}/selvedge_bg.wasm`;
if (values.quick) cpSync(`${generated}/selvedge_bg.wasm`, optimised, { mode: constants.COPYFILE_FICLONE });
else bin("binaryen/bin/wasm-opt", [...OPTIMISER, `${generated}/selvedge_bg.wasm`, "-o", optimised]);
const module = readFileSync(optimised);
writeFileSync(`${wasmDir}/inline.js`, `export const base64 = "${module.toString("base64")}";\n`);

bin("typescript/bin/tsc", ["-p", "tsconfig.facade.json"]);
bin("typescript/bin/tsc", ["-p", "tsconfig.dist.json"]);
for (const name of ["selvedge.d.ts", "inline.d.ts"]) cpSync(at(`src/wasm/${name}`), `${wasmDir}/${name}`);

const { devDependencies, scripts, ...published } = JSON.parse(readFileSync(at("package.json"), "utf8"));
writeFileSync(`${pkg}/package.json`, `${JSON.stringify(published, null, 2)}\n`);
cpSync(at("README.md"), `${pkg}/README.md`);
for (const licence of ["LICENSE-MIT", "LICENSE-APACHE"]) cpSync(at(`../../${licence}`), `${pkg}/${licence}`);

const { build } = await import("esbuild");
const bundled = async (entry) => {
  const { outputFiles } = await build({
    entryPoints: [`${pkg}/dist/${entry}`], bundle: true, minify: true, format: "esm", write: false,
    external: ["@codemirror/*", "*/inline.js"], logLevel: "error", splitting: true, outdir: "out",
  });
  return Buffer.concat(outputFiles.map((file) => file.contents));
};
const rows = [
  ["module", module],
  ["script: selvedge", await bundled("index.js")],
  ["script: selvedge/codemirror", await bundled("bindings/codemirror/index.js")],
];
console.log("what".padEnd(30), "bytes".padStart(9), "gzip".padStart(9), "brotli".padStart(9));
for (const [name, bytes] of rows) {
  const [gzip, brotli] = [gzipSync(bytes, { level: 9 }).length, brotliCompressSync(bytes).length];
  console.log(name.padEnd(30), String(bytes.length).padStart(9), String(gzip).padStart(9), String(brotli).padStart(9));
}
const sizes = { "module (gzip)": gzipSync(module, { level: 9 }).length, "script (gzip)": gzipSync(rows[1][1], { level: 9 }).length };
for (const [name, limit] of Object.entries(BUDGET)) {
  if (sizes[name] > limit) console.warn(`warning: ${name} has ${sizes[name]} bytes, more than the budget of ${limit}`);
}
