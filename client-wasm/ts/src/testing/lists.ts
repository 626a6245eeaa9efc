/** Signed lists of endpoints for tests, as an operator's key makes them. */

import { createHash } from "node:crypto";

const base64Url = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString("base64url");
const varint = (value: number): number[] => value < 251 ? [value] : [253, ...new Uint8Array(new BigUint64Array([BigInt(value)]).buffer)];
const text = (value: string): number[] => [...varint(value.length), ...new TextEncoder().encode(value)];

/** A list as the protocol encodes it: relays by WebSocket, one address each, all in `home`. */
export function encodedList(epoch: number, issue: number, home: string, urls: readonly string[]): Uint8Array<ArrayBuffer> {
  const relay = (url: string): number[] => [...text(new URL(url).host), ...text(home), 1, 0, ...text(url), 0];
  return Uint8Array.from([1, ...varint(epoch), ...varint(issue), ...text(home), ...varint(urls.length), ...urls.flatMap(relay)]);
}

/** An operator with a key. */
export class Signer {
  readonly pem: string;
  /** How lists name the key. */
  readonly name: string;
  readonly #key: CryptoKey;

  private constructor(key: CryptoKey, spki: Uint8Array) {
    this.#key = key;
    this.pem = `-----BEGIN PUBLIC KEY-----\n${Buffer.from(spki).toString("base64").replace(/.{64}/g, "$&\n")}\n-----END PUBLIC KEY-----\n`;
    this.name = createHash("sha256").update(spki).digest("hex").slice(0, 16);
  }

  /** One with a key of its own. */
  static async make(): Promise<Signer> {
    const { privateKey, publicKey } = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
    return new Signer(privateKey, new Uint8Array(await crypto.subtle.exportKey("spki", publicKey)));
  }

  /** The header of this key's lists. */
  get header(): string {
    return `{"alg":"ES256","kid":"${this.name}","typ":"selvedge-endpoints"}`;
  }

  /** Signs any bytes, under any header. */
  async sign(list: Uint8Array, header = this.header): Promise<string> {
    const input = `${base64Url(header)}.${base64Url(list)}`;
    const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, this.#key, new TextEncoder().encode(input));
    return `${input}.${base64Url(new Uint8Array(signature))}`;
  }
}
