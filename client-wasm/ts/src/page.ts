/** What the page's life means for its link: activity, sleep, the end. Does nothing where there is no page. */

import type { Link } from "./machine/link.js";

/** Pings are frequent only while somebody works: this long after the last key or touch. */
const ACTIVE_MS = 30_000;

/** Told when the page goes and comes. */
export interface PageListener {
  /** The page is hidden for good (`forever`), or may come back from the browser's cache. */
  hidden(forever: boolean): void;
  shown(): void;
}

/** Ties `link` to the page. Returns the way to stop. */
export function watchPage(link: Link, listener: PageListener): () => void {
  if (typeof window === "undefined" || typeof window.addEventListener !== "function") return () => undefined;
  const stop = new AbortController();
  const { signal } = stop;
  let active = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const setActive = (next: boolean): void => {
    clearTimeout(timer);
    if (next) timer = setTimeout(() => setActive(false), ACTIVE_MS);
    if (next === active) return;
    active = next;
    link.run((client, now) => client.setActive(next, now));
  };
  for (const event of ["keydown", "pointerdown"] as const) {
    window.addEventListener(event, () => setActive(true), { signal, passive: true, capture: true });
  }
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") setActive(false);
  }, { signal });
  // The browser's word that a network came back ends the wait between attempts. Its word that one is gone is not taken:
  // it is often wrong, a relay may be on this machine, and the link notices by itself.
  window.addEventListener("online", () => link.networkChanged(), { signal });
  window.addEventListener("pagehide", (event) => listener.hidden(!event.persisted), { signal });
  window.addEventListener("pageshow", (event) => { if (event.persisted) listener.shown(); }, { signal });
  return () => {
    clearTimeout(timer);
    stop.abort();
  };
}
