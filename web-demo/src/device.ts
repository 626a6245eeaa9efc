/**
 * What this browser remembers besides the texts: who its writer is, the chosen theme, the texts opened lately.
 *
 * Nothing here is needed for safety, so a browser that refuses storage only forgets it.
 */

/** A writer as others see them. */
export interface Person {
  readonly name: string;
  readonly color: string;
  readonly colorLight: string;
}

/** A text this browser opened before. */
export interface RecentText {
  readonly name: string;
  readonly title: string;
  readonly openedAt: number;
}

export type Theme = "system" | "light" | "dark";

export const NAME_LENGTH_MAX = 40;
const RECENT_TEXTS_MAX = 8;

/** Threads to tell people apart: readable under white letters, visible on paper and on ink. */
export const COLORS: readonly { readonly label: string; readonly color: string; readonly colorLight: string }[] = [
  { label: "Indigo", color: "#4a62c9", colorLight: "#4a62c933" },
  { label: "Madder", color: "#c43d2d", colorLight: "#c43d2d33" },
  { label: "Moss", color: "#4b7f33", colorLight: "#4b7f3333" },
  { label: "Plum", color: "#8f48ad", colorLight: "#8f48ad33" },
  { label: "Teal", color: "#0f7d80", colorLight: "#0f7d8033" },
  { label: "Rose", color: "#c23d79", colorLight: "#c23d7933" },
  { label: "Ochre", color: "#9a6a08", colorLight: "#9a6a0833" },
  { label: "Walnut", color: "#85603f", colorLight: "#85603f33" },
];

const FIRST = ["Quiet", "Bright", "Swift", "Gentle", "Merry", "Clever", "Calm", "Bold", "Kind", "Lucky", "Early", "Wandering"];
const LAST = ["Heron", "Otter", "Wren", "Fox", "Hare", "Lark", "Badger", "Robin", "Finch", "Marten", "Swallow", "Owl"];

/** The writer at this browser; a new one is given a friendly name and a colour, and keeps them. */
export function person(): Person {
  const stored = parse(read("selvedge.person"));
  if (isPerson(stored)) return stored;
  const name = `${pick(FIRST)} ${pick(LAST)}`;
  const { color, colorLight } = pick(COLORS);
  return keepPerson({ name, color, colorLight });
}

export function keepPerson(next: Person): Person {
  write("selvedge.person", JSON.stringify(next));
  return next;
}

export function theme(): Theme {
  const stored = read("selvedge.theme");
  return stored === "light" || stored === "dark" ? stored : "system";
}

/** Keeps the choice and shows it at once. */
export function keepTheme(next: Theme): void {
  write("selvedge.theme", next);
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
}

export function recentTexts(): readonly RecentText[] {
  const stored = parse(read("selvedge.recent"));
  return Array.isArray(stored) ? stored.filter(isRecentText).slice(0, RECENT_TEXTS_MAX) : [];
}

export function keepRecentText(text: RecentText): void {
  const others = recentTexts().filter((other) => other.name !== text.name);
  write("selvedge.recent", JSON.stringify([text, ...others].slice(0, RECENT_TEXTS_MAX)));
}

function isPerson(value: unknown): value is Person {
  if (typeof value !== "object" || value === null) return false;
  const { name, color, colorLight } = value as Record<string, unknown>;
  return typeof name === "string" && name !== "" && isColor(color) && isColor(colorLight);
}

function isColor(value: unknown): boolean {
  return typeof value === "string" && /^#[0-9a-f]{6}([0-9a-f]{2})?$/i.test(value);
}

function isRecentText(value: unknown): value is RecentText {
  if (typeof value !== "object" || value === null) return false;
  const { name, title, openedAt } = value as Record<string, unknown>;
  return typeof name === "string" && typeof title === "string" && typeof openedAt === "number";
}

function pick<T>(items: readonly T[]): T {
  return items[Math.floor(Math.random() * items.length)] as T;
}

function parse(text: string | null): unknown {
  if (text === null) return null;
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Storage is closed or full: it is forgotten with the page.
  }
}
