/** Asks a relay where it listens for WebTransport: its own port of UDP, and while it develops its own certificates. */

/** An address for WebTransport. */
export interface WebTransportAddress {
  readonly url: string;
  /** SHA-256 of the only certificates to accept there; none: those the browser trusts. */
  readonly certificates: readonly Uint8Array[];
}

/** How long a relay may take to say it: by then the WebSocket is under way. */
const ANSWER_MS_MAX = 3_000;
/** How long an answer asked for early is used. */
const KEPT_MS = 10_000;
const HASH_BYTES = 32;

type Fetch = (url: string, init: { readonly signal: AbortSignal; readonly cache: "no-store" }) => Promise<Response>;

/** Finds the addresses of relays given as origins. */
export class Discovery {
  readonly #fetch: Fetch;
  readonly #asked = new Map<string, { readonly answer: Promise<WebTransportAddress | null>; readonly at: number }>();

  constructor(fetcher: Fetch = (url, init) => fetch(url, init)) {
    this.#fetch = fetcher;
  }

  /**
   * Where `relay` listens, or null if it does not. An address with a path is one already; on this machine the relay there is asked
   * for the certificates of its own that it may show. An answer is used once.
   */
  async find(relay: string): Promise<WebTransportAddress | null> {
    const base = typeof location === "undefined" ? undefined : location.href;
    const url = new URL(relay, base);
    if (url.pathname !== "/" && url.pathname !== "") {
      const shown = isThisMachine(url.hostname) ? await this.#ask(`http://${url.host}`) : null;
      return { url: relay, certificates: shown?.certificates ?? [] };
    }
    const early = this.#asked.get(url.origin);
    this.#asked.delete(url.origin);
    return early && performance.now() - early.at < KEPT_MS ? early.answer : this.#ask(url.origin);
  }

  /** Asks before anybody needs to know. Resolves with whether the relay listens. */
  async ask(relay: string): Promise<boolean> {
    try {
      const { origin } = new URL(relay, typeof location === "undefined" ? undefined : location.href);
      const answer = this.#ask(origin);
      this.#asked.set(origin, { answer, at: performance.now() });
      return (await answer) !== null;
    } catch {
      return false;
    }
  }

  async #ask(origin: string): Promise<WebTransportAddress | null> {
    try {
      const response = await this.#fetch(`${origin}/v1/endpoints`, { signal: AbortSignal.timeout(ANSWER_MS_MAX), cache: "no-store" });
      return response.ok ? addressIn(await response.json()) : null;
    } catch {
      return null;
    }
  }
}

/** Nobody else answers there, and no authority vouches for a certificate of it. */
function isThisMachine(host: string): boolean {
  return host === "localhost" || host === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** The first address for WebTransport of the first relay of a list: the one that answered. */
export function addressIn(answer: unknown): WebTransportAddress | null {
  const [own] = listOf(fieldOf(answer, "endpoints"));
  for (const address of listOf(fieldOf(own, "addresses"))) {
    const url = fieldOf(address, "url");
    if (fieldOf(address, "transport") !== "webtransport" || typeof url !== "string") continue;
    const certificates = listOf(fieldOf(address, "certificates")).map(hashOf);
    if (certificates.every((hash) => hash !== null)) return { url, certificates };
  }
  return null;
}

/** Certificates as the machine hands them over: one hash after the other. */
export function hashesIn(bytes: Uint8Array): Uint8Array[] {
  const hashes: Uint8Array[] = [];
  for (let at = 0; at + HASH_BYTES <= bytes.length; at += HASH_BYTES) hashes.push(bytes.slice(at, at + HASH_BYTES));
  return hashes;
}

function hashOf(value: unknown): Uint8Array | null {
  if (typeof value !== "string" || !/^[0-9a-f]{64}$/i.test(value)) return null;
  return Uint8Array.from({ length: HASH_BYTES }, (_, i) => parseInt(value.slice(2 * i, 2 * i + 2), 16));
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as { readonly [name: string]: unknown })[name] : undefined;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
