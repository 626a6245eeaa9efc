/** A place in the text that survives edits, also after both its neighbours are gone. */

import { SelvedgeError } from "./errors.js";

/** A place in the text. Short, copyable, storable beside comments: `toJSON()` gives a string, {@link positionFromJSON} takes it. */
export interface Position {
  readonly __brand: "Position";
  toJSON(): string;
}

class AnchorPosition implements Position {
  readonly __brand = "Position";
  readonly #json: string;

  constructor(json: string) {
    this.#json = json;
  }

  toJSON(): string {
    return this.#json;
  }
}

const BASE64URL = /^[A-Za-z0-9_-]*$/;

/** Encodes without padding, in the alphabet that needs no escaping. */
export function toBase64Url(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** Undoes {@link toBase64Url}; throws for anything else. */
export function fromBase64Url(text: string): Uint8Array {
  if (!BASE64URL.test(text)) throw new SelvedgeError("bad-argument", "This is no base64url text.");
  try {
    return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
  } catch (cause) {
    throw new SelvedgeError("bad-argument", "This is no base64url text.", { cause });
  }
}

/** A position of the machine's anchor bytes. */
export function positionOf(anchor: Uint8Array): Position {
  return new AnchorPosition(toBase64Url(anchor));
}

/** The machine's anchor bytes of a position. */
export function anchorOf(position: Position): Uint8Array {
  return fromBase64Url(position.toJSON());
}

/** The position `toJSON()` was called on. Whether it belongs to a document shows when it is used. */
export function positionFromJSON(json: string): Position {
  fromBase64Url(json);
  return new AnchorPosition(json);
}
