import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Plugin } from "vite";

const SERVICE_WORKER = "sw.js";

/**
 * Names every file of this build in the service worker, under one version that is the hash of them all.
 */
function keepOffline(): Plugin {
  let publicDir = "";
  return {
    name: "selvedge:keep-offline",
    apply: "build",
    configResolved(config) {
      publicDir = config.publicDir;
    },
    generateBundle: {
      order: "post",
      handler(_options, bundle) {
        for (const [family, folder] of [["newsreader", "@fontsource-variable/newsreader"], ["inter", "@fontsource-variable/inter"]]) {
          const source = readFileSync(join("node_modules", folder!, "LICENSE"), "utf8");
          this.emitFile({ type: "asset", fileName: `licences/${family}.txt`, source });
        }
        const hash = createHash("sha256");
        const files: string[] = [];
        for (const [name, file] of Object.entries(bundle).sort(([a], [b]) => (a < b ? -1 : 1))) {
          if (name === SERVICE_WORKER || name.startsWith("licences/") || ofRegions(name)) continue;
          files.push(`/${name}`);
          hash.update(name).update(file.type === "chunk" ? file.code : file.source);
        }
        for (const name of readdirSync(publicDir).sort()) {
          files.push(`/${name}`);
          hash.update(name).update(readFileSync(join(publicDir, name)));
        }
        const worker = bundle[SERVICE_WORKER];
        if (worker?.type !== "chunk") throw new Error("the service worker is missing from the bundle");
        hash.update(worker.code);
        worker.code = worker.code
          .replaceAll("__PRECACHE__", JSON.stringify(files))
          .replaceAll("__BUILD__", JSON.stringify(hash.digest("hex").slice(0, 16)));
      },
    },
  };
}

/** The page of two regions works with its control alone: nobody needs it offline. */
function ofRegions(name: string): boolean {
  return name === "regions.html" || /^assets\/regions-/.test(name);
}

/** The page of the build says what it may load; the development server needs more than that. */
function contentSecurityPolicy(): Plugin {
  const policy = [
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    // The editor puts its styles into the page as it starts.
    "style-src 'self' 'unsafe-inline'",
    "font-src 'self'",
    "img-src 'self' data:",
    // Relays besides this page's own: by WebSocket, by WebTransport, and on this machine by what they say of themselves.
    "connect-src 'self' ws: wss: https: http://127.0.0.1:*",
    "manifest-src 'self'",
    "worker-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  return {
    name: "selvedge:content-security-policy",
    apply: "build",
    transformIndexHtml: () => [
      { tag: "meta", attrs: { "http-equiv": "Content-Security-Policy", content: policy }, injectTo: "head-prepend" },
    ],
  };
}

export default defineConfig({
  plugins: [keepOffline(), contentSecurityPolicy()],
  // The package lies outside this folder and must meet the same CodeMirror as the demo.
  resolve: { dedupe: ["@codemirror/state", "@codemirror/view"] },
  server: {
    fs: { allow: [".."] },
    proxy: { "/v1": { target: "http://127.0.0.1:4400", ws: true } },
  },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: { main: "index.html", regions: "regions.html", "service-worker": "src/service-worker.ts" },
      output: {
        entryFileNames: (chunk) => (chunk.name === "service-worker" ? SERVICE_WORKER : "assets/[name]-[hash].js"),
      },
    },
  },
});
