/**
 * Which text the page shows. Its name is the address's fragment: a link to it is the whole invitation, and any server of
 * plain files can hand out the page.
 */

const NAME = /^(?:[A-Za-z0-9._~:-]{1,64}\/)?[A-Za-z0-9._~:-]{1,128}$/;
const CARRIED = "selvedge.carried";

const WARP = ["amber", "blue", "coral", "dusk", "ember", "fern", "golden", "hazel", "indigo", "juniper", "linen", "misty", "olive", "pale", "rust", "silver"];
const WEFT = ["canvas", "cotton", "felt", "fleece", "hem", "lace", "loom", "needle", "ribbon", "satin", "seam", "silk", "spool", "stitch", "thread", "twill"];

/** The name in the address, `null` when there is none, `invalid` when it cannot be one. */
export function nameInAddress(): string | null | "invalid" {
  const fragment = location.hash.slice(1);
  if (fragment === "") return null;
  let name: string;
  try {
    name = decodeURIComponent(fragment);
  } catch {
    return "invalid";
  }
  return NAME.test(name) ? name : "invalid";
}

/** Two words and 40 random bits: pleasant to read, not to be guessed. */
export function newName(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  const tail = [...bytes].map((byte) => (byte % 32).toString(32)).join("");
  return `${pick(WARP)}-${pick(WEFT)}-${tail}`;
}

/** Puts the name into the address without a step in the history. */
export function settleName(name: string): void {
  history.replaceState(null, "", `#${name}`);
}

export function linkTo(name: string): string {
  return new URL(`#${name}`, location.origin + location.pathname).href;
}

/** Leaves for another text; `carry` is put into it if it is empty. */
export function goTo(name: string, carry?: string): void {
  if (carry !== undefined) {
    try {
      sessionStorage.setItem(CARRIED, JSON.stringify({ name, text: carry }));
    } catch {
      // Too large to carry: the text stays where it is, and can be copied from there.
    }
  }
  location.hash = name;
}

/** The text brought along to `name`, once. */
export function takeCarried(name: string): string | null {
  try {
    const stored = JSON.parse(sessionStorage.getItem(CARRIED) ?? "null") as { name?: unknown; text?: unknown } | null;
    if (stored?.name !== name || typeof stored.text !== "string") return null;
    sessionStorage.removeItem(CARRIED);
    return stored.text;
  } catch {
    return null;
  }
}

function pick(words: readonly string[]): string {
  const [index] = crypto.getRandomValues(new Uint8Array(1));
  return words[(index ?? 0) % words.length] as string;
}

/** `?transport=websocket` or `?transport=webtransport`, for whoever wants to see one of them; else whichever answers first. */
export function transportInAddress(): "auto" | "webtransport" | "websocket" {
  const wanted = new URLSearchParams(location.search).get("transport");
  return wanted === "webtransport" || wanted === "websocket" ? wanted : "auto";
}
