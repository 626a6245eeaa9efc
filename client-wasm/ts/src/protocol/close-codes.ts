/** Why a connection or a document was closed. 4400-4499 stop, 4500-4599 retry. */

/** The codes of the protocol. */
export const CLOSE_CODES = {
  4400: "malformed",
  4401: "token",
  4403: "forbidden",
  4409: "generation-conflict",
  4410: "deleted",
  4413: "too-large",
  4426: "upgrade-needed",
  4500: "internal",
  4503: "draining",
  4507: "too-slow",
  4508: "moved",
  4529: "rate-limited",
} as const;

/** One of the protocol's close codes. */
export type CloseCode = keyof typeof CLOSE_CODES;

/** Whether a client may try again by itself after `code`. */
export function retries(code: number): boolean {
  return code < 4400 || code >= 4500;
}
