/** The device's own principal: who writes when nobody signed in. One per browser profile, kept from the first edit on. */

import { randomSeed } from "./machine/environment.js";
import type { Store } from "./store/store.js";

/** Held while a tab finds out the principal. */
const DECIDING = "selvedge:1:device";
/** Held, with the document behind it, by the tab that takes over what was written in it anonymously. */
const ADOPTING = "selvedge:1:adopt:";
/** Held, with the principal behind it, by every tab whose principal no store may have yet. */
const HOLDING = `${DECIDING}:`;

/** A principal, and whether the store has it already. */
export interface DevicePrincipal {
  readonly principal: string;
  readonly kept: boolean;
}

/** `anon:` and 128 random bits. */
export function anonymousPrincipal(): string {
  const word = (): string => randomSeed().toString(16).padStart(16, "0");
  return `anon:${word()}${word()}`;
}

/** Whether nobody signed in as this principal: a device made it. */
export function isAnonymous(principal: string): boolean {
  return /^anon:[0-9a-f]{32}$/.test(principal);
}

/**
 * Makes this tab the one that takes over what was written anonymously in `document`: two would each write it again. Answers what
 * ends that, or null where another tab is the one. Without Web Locks (outside a secure context, outside browsers) every tab is.
 */
export function beginAdoption(document: string): Promise<(() => void) | null> {
  const locks = typeof navigator === "undefined" ? undefined : navigator.locks;
  if (!locks) return Promise.resolve(() => undefined);
  return new Promise((resolve, reject) => {
    locks.request(ADOPTING + document, { ifAvailable: true }, (lock) => {
      if (!lock) return resolve(null);
      return new Promise<void>((end) => resolve(end));
    }).catch(reject);
  });
}

let agreed: Promise<DevicePrincipal> | null = null;

/** The principal `store` keeps; else one that all tabs of this profile agree on. Writes nothing where there are Web Locks. */
export async function devicePrincipal(store: Store): Promise<DevicePrincipal> {
  const principal = await store.principal();
  if (principal !== null) return { principal, kept: true };
  const locks = typeof navigator === "undefined" ? undefined : navigator.locks;
  const alone = typeof window === "undefined";
  // A page outside a secure context has no locks: there only the store can decide between tabs.
  if (!locks && !alone) return { principal: await store.adoptPrincipal(anonymousPrincipal()), kept: true };
  agreed ??= locks ? agree(locks, store) : Promise.resolve({ principal: anonymousPrincipal(), kept: false });
  agreed.catch(() => { agreed = null; });
  return agreed;
}

/**
 * Two tabs with two principals could not push each other's edits, so this waits for nothing but the lock: whoever decides
 * first names the principal in the name of a lock that stays held with the page, and the others read it there.
 */
function agree(locks: LockManager, store: Store): Promise<DevicePrincipal> {
  return locks.request(DECIDING, async () => {
    // The tab that decided may have kept it and gone since the store was asked.
    const kept = await store.principal();
    if (kept !== null) return { principal: kept, kept: true };
    const { held = [] } = await locks.query();
    const principal = held.map(({ name }) => principalOf(name)).find((found) => found !== null) ?? anonymousPrincipal();
    await hold(locks, HOLDING + principal);
    return { principal, kept: false };
  });
}

/** Resolves once the lock is held; it stays held as long as the page lives. */
function hold(locks: LockManager, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    locks.request(name, { mode: "shared" }, () => {
      resolve();
      return new Promise<never>(() => undefined);
    }).catch(reject);
  });
}

function principalOf(lock: string | undefined): string | null {
  const principal = lock?.startsWith(HOLDING) ? lock.slice(HOLDING.length) : "";
  return isAnonymous(principal) ? principal : null;
}
