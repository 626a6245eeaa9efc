/** The control of the two regions, as `cargo xtask demo --regions` serves it beside this page. */

/** One region and what stands in it. */
export interface Region {
  readonly name: string;
  readonly role: "home" | "standby";
  readonly state: "up" | "down" | "starting";
  /** Addresses of its relays. */
  readonly relays: readonly string[];
}

/** Both regions at one moment. */
export interface RegionsState {
  /** Number of the control plane's present term; null while nobody can be asked. */
  readonly epoch: number | null;
  /** The region that holds the control plane. */
  readonly home: string | null;
  readonly link: "up" | "cut";
  /** By region: age of its oldest record that the other region has not got, in milliseconds; null: unknown. */
  readonly lagMs: ReadonlyMap<string, number | null>;
  /** What is being done right now, in words. */
  readonly busy: string | null;
  /** Why the last thing that was tried did not succeed, in words. */
  readonly failed: string | null;
  /** The public key of whoever signs where the regions are. */
  readonly trust: string | null;
  readonly regions: readonly Region[];
}

/** What can be done to them. */
export type Action =
  | { readonly action: "cut-link" | "heal-link" }
  | { readonly action: "kill" | "revive" | "switchover"; readonly region: string };

/** What people call a region. */
export function titleOf(name: string): string {
  return `region ${name.toUpperCase()}`;
}

/** The control does not answer, or refuses; the message is for people. */
export class ControlError extends Error {
  override readonly name = "ControlError";
}

const ANSWER_MS_MAX = 4_000;

/** How things stand. */
export async function readState(): Promise<RegionsState> {
  return stateIn(await ask("/regions/state"));
}

/** Begins to do something; the state says when it is done. */
export async function act(action: Action): Promise<void> {
  await ask("/regions/act", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(action) });
}

async function ask(path: string, init: RequestInit = {}): Promise<unknown> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS_MAX) });
  } catch {
    throw new ControlError("The control of this demo does not answer. Is `cargo xtask demo --regions` still running?");
  }
  const body: unknown = await response.json().catch(() => null);
  if (response.ok) return body;
  const message = fieldOf(fieldOf(body, "error"), "message");
  throw new ControlError(typeof message === "string" ? message : `The control of this demo answered ${response.status}.`);
}

function stateIn(body: unknown): RegionsState {
  const regions = listOf(fieldOf(body, "regions")).map(regionIn);
  if (regions.length < 2) throw new ControlError("The control of this demo names fewer than two regions.");
  const lag = fieldOf(body, "lag_ms");
  const lagMs = new Map(regions.map(({ name }) => [name, numberOr(fieldOf(lag, name), null)]));
  const [home, busy, failed, trust] = ["home", "busy", "failed", "trust"].map((name) => wordsOr(fieldOf(body, name), null));
  return {
    epoch: numberOr(fieldOf(body, "epoch"), null),
    home: home ?? null,
    link: fieldOf(body, "link") === "cut" ? "cut" : "up",
    lagMs,
    busy: busy ?? null,
    failed: failed ?? null,
    trust: trust ?? null,
    regions,
  };
}

function regionIn(value: unknown): Region {
  const [name, state] = [fieldOf(value, "name"), fieldOf(value, "state")];
  return {
    name: typeof name === "string" ? name : "?",
    role: fieldOf(value, "role") === "home" ? "home" : "standby",
    state: state === "up" || state === "starting" ? state : "down",
    relays: listOf(fieldOf(value, "relays")).filter((relay) => typeof relay === "string"),
  };
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as { readonly [name: string]: unknown })[name] : undefined;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function wordsOr<T>(value: unknown, other: T): string | T {
  return typeof value === "string" ? value : other;
}

function numberOr<T>(value: unknown, other: T): number | T {
  return typeof value === "number" && Number.isFinite(value) ? value : other;
}
