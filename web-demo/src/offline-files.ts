/** Registers the service worker that keeps the page's files, and offers a newer version without pulling the page away. */

import { toast } from "./ui/toast.ts";

export async function keepFilesOffline(): Promise<void> {
  if (!import.meta.env.PROD || !("serviceWorker" in navigator)) return;
  try {
    const hadOne = navigator.serviceWorker.controller !== null;
    const registration = await navigator.serviceWorker.register("/sw.js", { scope: "/", updateViaCache: "none" });
    if (registration.waiting !== null && hadOne) offer(registration.waiting);
    registration.addEventListener("updatefound", () => {
      const next = registration.installing;
      next?.addEventListener("statechange", () => {
        if (next.state === "installed" && navigator.serviceWorker.controller !== null) offer(next);
      });
    });
  } catch (error) {
    // The page works without; it only will not open while the server is away.
    console.warn("The page's files could not be kept for offline use.", error);
  }
}

function offer(next: ServiceWorker): void {
  toast("A newer version is ready.", {
    label: "Use it",
    run: () => {
      navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
      next.postMessage("take-over");
    },
  });
}
