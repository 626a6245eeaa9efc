// Compiles the package with its tests and runs them on Node's own runner, through the built wasm module.
//
//   node scripts/test.mjs [name...]      only test files whose path contains one of the names

import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const out = at("build");

rmSync(out, { recursive: true, force: true });
execFileSync(process.execPath, [at("node_modules/typescript/bin/tsc"), "-p", "tsconfig.json"], { cwd: at("."), stdio: "inherit" });
const built = at("../pkg/dist/wasm");
mkdirSync(`${out}/wasm`, { recursive: true });
if (existsSync(built)) for (const name of ["selvedge.js", "selvedge_bg.wasm", "inline.js"]) cpSync(`${built}/${name}`, `${out}/wasm/${name}`);
else {
  console.error("client-wasm/pkg is not built: run `cargo xtask wasm`.");
  process.exit(1);
}

const names = process.argv.slice(2);
const files = readdirSync(out, { recursive: true })
  .filter((file) => file.endsWith(".test.js") && (names.length === 0 || names.some((name) => file.includes(name))))
  .map((file) => `${out}/${file}`)
  .sort();
const { status } = spawnSync(process.execPath, ["--test", "--test-timeout=240000", ...files], { stdio: "inherit" });
process.exit(status ?? 1);
