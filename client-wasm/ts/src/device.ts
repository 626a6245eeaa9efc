/** The device's own principal: who writes when nobody signed in. One per browser profile, kept from the first edit on. */

import type { Store } from "./store/store.js";

const CHANNEL = "selvedge:1:device";
/** How long tabs that open together get to agree. Only a profile that never edited anything waits. */
const AGREE_MS = 40;

/** A principal, and whether the store has it already. */
export interface DevicePrincipal {
  readonly principal: string;
  readonly kept: boolean;
}

/** `anon:` and 128 random bits. */
export function anonymousPrincipal(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `anon:${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

let agreed: Promise<string> | null = null;

/** The principal `store` keeps; else one that all tabs of this profile agree on, without writing anything. */
export async function devicePrincipal(store: Store): Promise<DevicePrincipal> {
  const kept = await store.principal();
  if (kept !== null) return { principal: kept, kept: true };
  agreed ??= agree();
  return { principal: await agreed, kept: false };
}

/** Tabs that open at the same time take the least of their candidates; later ones are told by those that are there. */
function agree(): Promise<string> {
  if (typeof BroadcastChannel === "undefined") return Promise.resolve(anonymousPrincipal());
  const channel = new BroadcastChannel(CHANNEL);
  // Stays open to answer later tabs; in Node that must not keep the process.
  (channel as { unref?: () => void }).unref?.();
  let mine = anonymousPrincipal();
  return new Promise((resolve) => {
    let settled = false;
    const settle = (): void => {
      settled = true;
      resolve(mine);
    };
    const timer = setTimeout(settle, AGREE_MS);
    channel.onmessage = ({ data }: MessageEvent<unknown>) => {
      const message = decode(data);
      if (!message) return;
      if (settled) {
        if (!message.settled) channel.postMessage({ principal: mine, settled: true });
      } else if (message.settled) {
        mine = message.principal;
        clearTimeout(timer);
        settle();
      } else if (message.principal < mine) mine = message.principal;
      else if (message.principal > mine) channel.postMessage({ principal: mine, settled: false });
    };
    channel.postMessage({ principal: mine, settled: false });
  });
}

function decode(data: unknown): { principal: string; settled: boolean } | null {
  if (typeof data !== "object" || data === null) return null;
  const { principal, settled } = data as Partial<Record<string, unknown>>;
  return typeof principal === "string" && /^anon:[0-9a-f]{32}$/.test(principal) && typeof settled === "boolean" ? { principal, settled } : null;
}
