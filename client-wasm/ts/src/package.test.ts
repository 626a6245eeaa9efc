import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build, transform } from "esbuild";

const here = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));
const run = promisify(execFile);

/** Every entry and what its users are promised to find there. */
const ENTRIES: { readonly [entry: string]: readonly string[] } = {
  ".": ["open", "init", "isReady", "Doc", "SharedText", "Awareness", "UndoManager", "RelayProvider", "SelvedgeError", "positionFromJSON", "saveWords", "UpdateEncoder", "UpdateDecoder"],
  "./slim": ["open", "init"],
  "./inline": ["open", "init"],
  "./standalone": ["StandaloneDoc", "init", "isReady", "SharedText", "UndoManager", "UpdateEncoder", "UpdateDecoder", "SelvedgeError"],
  "./provider": ["RelayProvider", "WebTransportTransport", "WebSocketTransport"],
  "./indexeddb": ["IndexedDbStore", "MemoryStore"],
  "./codemirror": ["collab", "saveIndicator", "collabKeymap", "collabTheme"],
  "./textarea": ["bindTextarea", "bindInput"],
  "./protocol": ["decodeFrames", "decodeVector", "CLOSE_CODES"],
};

/** An application that installed the package as it is published. */
describe("the published package", () => {
  const app = mkdtempSync(join(tmpdir(), "selvedge-app-"));
  const modules = join(app, "node_modules");
  const installed = join(modules, "selvedge");
  before(() => {
    mkdirSync(modules);
    cpSync(here("../pkg"), installed, { recursive: true });
    for (const peer of ["@codemirror", "@marijn", "style-mod", "w3c-keyname", "crelt"]) {
      if (existsSync(here(`node_modules/${peer}`))) symlinkSync(here(`node_modules/${peer}`), join(modules, peer));
    }
    writeFileSync(join(app, "package.json"), JSON.stringify({ type: "module" }));
  });
  after(() => rmSync(app, { recursive: true, force: true }));

  /** Runs a module of the application. */
  const node = async (script: string): Promise<string> => {
    const file = join(app, "main.mjs");
    writeFileSync(file, script);
    return (await run(process.execPath, [file], { cwd: app })).stdout;
  };

  it("has a file for every export, types beside scripts, one wasm file, its licences, and maps with their sources", () => {
    const { exports } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8")) as { exports: { [entry: string]: string | { types: string; default: string } } };
    for (const [entry, target] of Object.entries(exports)) {
      for (const file of typeof target === "string" ? [target] : [target.types, target.default]) assert.ok(existsSync(join(installed, file)), `${entry}: ${file}`);
    }
    assert.deepEqual(Object.keys(ENTRIES).sort(), Object.keys(exports).filter((entry) => typeof exports[entry] !== "string").sort());
    const files = readdirSync(installed, { recursive: true }) as string[];
    assert.equal(files.filter((file) => file.endsWith(".wasm")).length, 1);
    assert.deepEqual(files.filter((file) => file.startsWith("LICENSE")).sort(), ["LICENSE-APACHE", "LICENSE-MIT"]);
    assert.ok(!files.some((file) => /test|contract|testing/.test(file)), "no tests");
    const map = JSON.parse(readFileSync(join(installed, "dist/index.js.map"), "utf8")) as { sourcesContent?: string[] };
    assert.ok(map.sourcesContent?.[0]?.includes("openFrom"));
  });

  it("has a module that names no folder of the machine it was built on", () => {
    const module = readFileSync(join(installed, "dist/wasm/selvedge_bg.wasm"), "latin1");
    for (const folder of [join(homedir(), ".cargo"), here("../.."), "/registry/src/", "/lib/rustlib/"]) assert.ok(!module.includes(folder), folder);
    assert.ok(module.includes("/crates/"), "but where in the sources a panic is");
  });

  it("gives what each entry promises, and fetches nothing by being imported", async () => {
    const out = await node(`
      globalThis.fetch = () => { throw new Error("fetched"); };
      globalThis.WebAssembly.instantiate = globalThis.WebAssembly.compile = () => { throw new Error("compiled"); };
      const names = {};
      for (const entry of ${JSON.stringify(Object.keys(ENTRIES))}) names[entry] = Object.keys(await import("selvedge" + entry.slice(1)));
      console.log(JSON.stringify(names));
    `);
    const names = JSON.parse(out) as { [entry: string]: string[] };
    for (const [entry, promised] of Object.entries(ENTRIES)) {
      assert.deepEqual(promised.filter((name) => !names[entry]?.includes(name)), [], entry);
    }
  });

  it("awaits nothing at the top of a module: that would hold up whoever imports it, and bundlers refuse it", async () => {
    // In a script that is no module, esbuild has no place for such an await.
    const awaits = (code: string): Promise<boolean> => transform(code, { format: "iife", logLevel: "silent" }).then(() => false, (error: Error) => {
      assert.match(error.message, /Top-level await/);
      return true;
    });
    assert.ok(await awaits("export const ready = await open();"), "it would be seen");
    assert.ok(!(await awaits("export async function open() { await 0; }")));
    const scripts = (readdirSync(installed, { recursive: true }) as string[]).filter((file) => file.endsWith(".js"));
    assert.ok(scripts.includes(join("dist", "index.js")) && scripts.includes(join("dist", "wasm", "selvedge.js")));
    for (const file of scripts) assert.ok(!(await awaits(readFileSync(join(installed, file), "utf8"))), file);
  });

  const program = (entry: string, options = ""): string => `
    import { open } from "${entry}";
    const room = await open("notes", { persist: false, crossTab: false${options} });
    room.text.insert(0, "works");
    console.log(room.text.toString());
    await room.close();
  `;

  it("works in Node from its file, inside the script, and from bytes of one's own", async () => {
    assert.equal(await node(program("selvedge")), "works\n");
    assert.equal(await node(program("selvedge/inline")), "works\n");
    const bytes = `, wasm: (await import("node:fs")).readFileSync(new URL(import.meta.resolve("selvedge/selvedge_bg.wasm")))`;
    assert.equal(await node(program("selvedge/slim", bytes)), "works\n");
  });

  it("works bundled by esbuild, with the file beside the bundle or inside it", async () => {
    for (const entry of ["selvedge", "selvedge/inline"]) {
      const out = join(app, entry.replace("/", "-"));
      const source = join(app, "entry.mjs");
      writeFileSync(source, program(entry));
      await build({ entryPoints: [source], bundle: true, format: "esm", platform: "node", outfile: join(out, "bundle.mjs"), logLevel: "error" });
      if (entry === "selvedge") cpSync(join(installed, "dist/wasm/selvedge_bg.wasm"), join(out, "selvedge_bg.wasm"));
      assert.equal((await run(process.execPath, [join(out, "bundle.mjs")])).stdout, "works\n", entry);
    }
  });
});
