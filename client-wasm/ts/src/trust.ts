/**
 * Whom to believe where relays are: the public keys of whoever signs the deployment's list of endpoints, by the browser's own
 * cryptography. The machine gets only lists that one of them signed.
 *
 *     base64url(header) . base64url(list) . base64url(signature)      compact JWS, ES256
 *
 * The header is compared with the one that each key's lists have, and never interpreted: no list chooses how it is verified.
 */

import { SelvedgeError } from "./errors.js";
import { isNewer, type Store, type StoredEndpoints } from "./store/store.js";

/** A list that a trusted key signed. */
export interface VerifiedList {
  readonly signed: string;
  /** Its bytes, for the machine. */
  readonly list: Uint8Array<ArrayBuffer>;
}

/** Most characters of a signed list. */
const SIGNED_MAX = 32 * 1024;
const ES256 = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

interface TrustedKey {
  readonly name: string;
  /** What every list of this key begins with. */
  readonly header: string;
  readonly key: CryptoKey;
}

/** Public keys, and what was signed by them. */
export class Trust {
  readonly #keys: readonly TrustedKey[];

  private constructor(keys: readonly TrustedKey[]) {
    this.#keys = keys;
  }

  /** The keys in PEM, or the base64 inside it. Throws where one is none, and where the browser has no cryptography. */
  static async of(texts: string | readonly string[]): Promise<Trust> {
    const subtle = (globalThis as { readonly crypto?: { readonly subtle?: SubtleCrypto } }).crypto?.subtle;
    if (!subtle) throw new SelvedgeError("bad-argument", "trust: this page cannot verify signatures; serve it by https, or from localhost.");
    const list = typeof texts === "string" ? [texts] : texts;
    if (list.length === 0) throw new SelvedgeError("bad-argument", "trust: give at least one public key, or leave it out.");
    return new Trust(await Promise.all(list.map((text) => keyOf(subtle, text))));
  }

  /** The list, if a trusted key signed it. */
  async verify(signed: string): Promise<VerifiedList | null> {
    const [header, list, signature, ...more] = signed.length <= SIGNED_MAX ? signed.split(".") : [];
    const trusted = this.#keyOf(header);
    if (!trusted || list === undefined || signature === undefined || more.length > 0) return null;
    try {
      const input = new TextEncoder().encode(`${header}.${list}`);
      const genuine = await crypto.subtle.verify(ES256, trusted.key, fromBase64Url(signature), input);
      return genuine ? { signed, list: fromBase64Url(list) } : null;
    } catch {
      return null; // no base64, so no signature either
    }
  }

  /** What a device keeps of a list that was verified. */
  stored(signed: string, epoch: number, issue: number): StoredEndpoints | null {
    const trusted = this.#keyOf(signed.split(".", 1)[0]);
    return trusted ? { key: trusted.name, epoch, issue, signed } : null;
  }

  /** The newest list that `store` keeps of a key that is trusted still. What the device says without a signature is not believed. */
  async remembered(store: Store): Promise<VerifiedList | null> {
    let newest: StoredEndpoints | null = null;
    let found: VerifiedList | null = null;
    for (const { name } of this.#keys) {
      const kept = await store.endpoints(name);
      if (!kept || (newest && !isNewer(kept, newest))) continue;
      const verified = await this.verify(kept.signed);
      if (verified) [newest, found] = [kept, verified];
    }
    return found;
  }

  #keyOf(header: string | undefined): TrustedKey | undefined {
    return this.#keys.find((key) => key.header === header);
  }
}

async function keyOf(subtle: SubtleCrypto, text: string): Promise<TrustedKey> {
  try {
    const inside = text.split(/\r?\n/).filter((line) => !line.startsWith("-----")).join("");
    const spki = bytesOf(atob(inside.trim()));
    const key = await subtle.importKey("spki", spki, ES256, false, ["verify"]);
    const digest = new Uint8Array(await subtle.digest("SHA-256", spki));
    const name = Array.from(digest.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0")).join("");
    return { name, header: toBase64Url(`{"alg":"ES256","kid":"${name}","typ":"selvedge-endpoints"}`), key };
  } catch (cause) {
    const message = "trust: this is no public key of P-256 in PEM; `openssl pkey -in KEY.pem -pubout` prints that of a key.";
    throw new SelvedgeError("bad-argument", message, { cause });
  }
}

function toBase64Url(ascii: string): string {
  return btoa(ascii).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** Throws for anything else than the one way to write bytes in base64url: no padding, no white space. */
function fromBase64Url(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  if (toBase64Url(binary) !== text) throw new Error("not base64url");
  return bytesOf(binary);
}

function bytesOf(binary: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}
