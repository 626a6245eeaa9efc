/** The protocol's messages, read field by field from the tables of PROTOCOL.md section 3. */

import { MalformedError, Reader } from "./reader.js";

/** Anything a field can hold. Whole numbers of every width are bigints. */
export type FieldValue = bigint | boolean | string | Uint8Array | null | readonly FieldValue[] | { readonly [field: string]: FieldValue };

type Read = (reader: Reader) => FieldValue;
type Fields = readonly (readonly [name: string, read: Read])[];

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** An integer of bincode's variable form: one byte below 251, else a marker and 2, 4, 8 or 16 bytes, little-endian. */
export function readInteger(reader: Reader): bigint {
  const first = reader.u8();
  if (first < 251) return BigInt(first);
  const bytes = reader.bytes(2 << (first - 251));
  if (first === 255) throw new MalformedError("no integer begins with 255");
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

const integer: Read = readInteger;
const byte: Read = (reader) => BigInt(reader.u8());

function lengthOf(reader: Reader): number {
  const length = readInteger(reader);
  if (length > BigInt(reader.left)) throw new MalformedError("longer than what is there");
  return Number(length);
}

const bytes: Read = (reader) => reader.bytes(lengthOf(reader));
const fixed = (length: number): Read => (reader) => reader.bytes(length);

const text: Read = (reader) => {
  try {
    return utf8.decode(reader.bytes(lengthOf(reader)));
  } catch (error) {
    throw error instanceof MalformedError ? error : new MalformedError("text that is no UTF-8");
  }
};

const flag: Read = (reader) => {
  const value = reader.u8();
  if (value > 1) throw new MalformedError("neither 0 nor 1");
  return value === 1;
};

const option = (read: Read): Read => (reader) => (flag(reader) === true ? read(reader) : null);
const list = (read: Read): Read => (reader) => Array.from({ length: lengthOf(reader) }, () => read(reader));

const word = (...words: readonly string[]): Read => (reader) => {
  const name = words[Number(readInteger(reader))];
  if (name === undefined) throw new MalformedError("a variant that is none");
  return name;
};

const struct = (...fields: Fields): Read => (reader) => {
  const out: { [field: string]: FieldValue } = {};
  for (const [name, read] of fields) out[name] = read(reader);
  return out;
};

const address = struct(["transport", word("websocket", "webtransport", "quic")], ["url", text], ["certificates", list(fixed(32))]);
const endpoint = struct(["relay", text], ["region", text], ["addresses", list(address)]);
const position = struct(["log", integer], ["partition", integer], ["offset", integer]);
const range = struct(["site", integer], ["first", integer], ["last", integer]);
const limits = struct(
  ["frame_bytes", integer], ["message_bytes", integer], ["documents", integer],
  ["push_bytes_per_s", integer], ["frames_per_s", integer], ["presence_bytes", integer],
);
const rights = word("none", "read", "write", "admin");

const MESSAGES: { readonly [kind: number]: readonly [name: string, fields: Fields] } = {
  0x01: ["hello", [["format", byte], ["versions", list(byte)], ["features", integer], ["client", text], ["token", option(text)]]],
  0x02: ["hello-ok", [
    ["format", byte], ["version", byte], ["features", integer], ["session", integer], ["region", text], ["endpoints", list(endpoint)],
    ["limits", limits], ["ping", struct(["active_ms", integer], ["idle_ms", integer])],
  ]],
  0x03: ["token-expiring", [["in_ms", integer]]],
  0x04: ["token", [["token", text]]],
  0x05: ["drain", [["endpoints", list(endpoint)], ["after_ms", integer]]],
  0x06: ["ping", [["nonce", integer]]],
  0x07: ["pong", [["nonce", integer]]],
  0x08: ["error", [["code", integer], ["message", text], ["retryable", flag], ["retry_after_ms", integer]]],
  0x09: ["endpoints", [["signed", text]]],
  0x10: ["open", [
    ["document", text], ["generation", integer], ["position", option(position)], ["vector_hash", integer], ["outbox", list(range)],
    ["outbox_bytes", integer], ["token", option(text)], ["wants_site", flag],
  ]],
  0x11: ["open-ok", [
    ["lease", option(struct(["site", integer], ["next_counter", integer]))], ["rights", rights], ["generation", integer],
    ["highest", word("device", "region", "replicated")], ["sync", word("equal", "tail", "send-vector")],
    ["known", list(struct(["site", integer], ["counter", integer]))], ["credit", integer],
  ]],
  0x12: ["chunk", [
    ["transfer", integer], ["content", word("vector", "state-diff", "wanted")], ["index", integer], ["of", integer],
    ["total_bytes", integer], ["hash", fixed(32)], ["bytes", bytes],
  ]],
  0x13: ["synced", [
    ["position", option(position)], ["vector_hash", integer], ["codec", option(struct(["epoch", integer], ["seq", integer], ["bytes", bytes]))],
  ]],
  0x14: ["push", [["seq", integer], ["tag", option(fixed(16))], ["deltas", bytes]]],
  0x15: ["deltas", [["position", option(position)], ["epoch", integer], ["seq", integer], ["tag", option(fixed(16))], ["deltas", bytes]]],
  0x16: ["ack", [["site", integer], ["region", integer], ["replicated", integer]]],
  0x17: ["gap", [["site", integer], ["have", integer]]],
  0x18: ["credit", [["bytes", integer]]],
  0x19: ["presence", [["session", integer], ["data", option(bytes)], ["user", option(text)]]],
  0x1a: ["rights", [["rights", rights]]],
  0x1b: ["move", [["endpoints", list(endpoint)], ["after_ms", integer]]],
  0x1c: ["refused", [["site", integer], ["from", integer], ["code", integer], ["message", text]]],
  0x1d: ["bye", [["site", option(integer)], ["counter", integer]]],
  0x1e: ["closed", [["code", integer], ["reason", text], ["retry_after_ms", integer], ["generation", integer]]],
  0x1f: ["rebase-ask", []],
  0x20: ["rebase-answer", [["granted", flag], ["for_ms", integer]]],
};

/** One field as it was read, with the bytes it took. */
export interface DecodedField {
  readonly name: string;
  readonly value: FieldValue;
  readonly bytes: number;
}

/** A message read from a frame's payload. */
export interface DecodedMessage {
  readonly name: string;
  readonly fields: readonly DecodedField[];
}

/** Reads a payload of `kind`; null for a kind this version does not know. Throws {@link MalformedError} for anything else. */
export function decodeMessage(kind: number, payload: Uint8Array): DecodedMessage | null {
  const known = MESSAGES[kind];
  if (!known) return null;
  const [name, fields] = known;
  const reader = new Reader(payload);
  const decoded = fields.map(([field, read]) => {
    const before = reader.left;
    const value = read(reader);
    return { name: field, value, bytes: before - reader.left };
  });
  // Later formats of the first two messages append fields.
  if (kind > 0x02) reader.end();
  return { name, fields: decoded };
}
