/**
 * Keeps the demo's own files, so that a text opens with the whole origin away.
 *
 * It answers for exactly the files of one build and for nothing else: the relay's API, its socket and its health pages
 * always go to the network. A new build is a new cache; the old one is dropped once the new worker has taken over.
 */

/// <reference lib="webworker" />

declare const self: ServiceWorkerGlobalScope;

/** Both are filled in when the bundle is written. */
declare const __PRECACHE__: readonly string[];
declare const __BUILD__: string;

const PREFIX = "selvedge-files-";
const CACHE = PREFIX + __BUILD__;
const FILES: ReadonlySet<string> = new Set(__PRECACHE__);
const PAGE = "/index.html";

self.addEventListener("install", (event) => {
  event.waitUntil(keepFiles());
});

self.addEventListener("activate", (event) => {
  event.waitUntil(takeOver());
});

self.addEventListener("message", (event) => {
  if (event.data === "take-over") void self.skipWaiting();
});

self.addEventListener("fetch", (event) => {
  const file = ownFile(event.request);
  if (file !== null) event.respondWith(fromCache(file, event.request));
});

/** Files whose names carry a hash may come from the HTTP cache, the others must be asked for anew. */
async function keepFiles(): Promise<void> {
  const cache = await caches.open(CACHE);
  const requests = __PRECACHE__.map(
    (path) => new Request(path, { cache: path.startsWith("/assets/") ? "default" : "no-cache" }),
  );
  await cache.addAll(requests);
}

async function takeOver(): Promise<void> {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(PREFIX) && name !== CACHE).map((name) => caches.delete(name)));
  await self.clients.claim();
}

/** The path of the kept file that answers this request, or null where the network must. */
function ownFile(request: Request): string | null {
  if (request.method !== "GET") return null;
  const url = new URL(request.url);
  if (url.origin !== self.location.origin) return null;
  if (url.pathname === "/") return PAGE;
  return FILES.has(url.pathname) ? url.pathname : null;
}

async function fromCache(file: string, request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  return (await cache.match(file)) ?? fetch(request);
}
