/** The stream form of deltas, as `PROTOCOL.md` describes it: read one after the other, each with what those before it left. */

import { MalformedError, Reader } from "./reader.js";

/** A place on a path. The digit is null where it is the hash of the element's dot and so was not written. */
export interface PathElement { readonly digit: bigint | null; readonly site: bigint; readonly k: bigint }

/** A range of dots of one site, both ends included. */
export interface Dots { readonly site: bigint; readonly first: bigint; readonly last: bigint }

/** Where an insert stands. */
export interface StreamPlace {
  readonly parent: readonly PathElement[];
  readonly digit: bigint | null;
  readonly direction: "after" | "before";
}

/** One operation of a delta. */
export type StreamOp =
  | (StreamPlace & { readonly kind: "insert"; readonly text: string })
  | { readonly kind: "delete"; readonly ranges: readonly Dots[] }
  | { readonly kind: "meta"; readonly key: string; readonly value: Uint8Array | null; readonly lamport: bigint }
  | StreamRebase
  | { readonly kind: "void"; readonly length: bigint };

/** Characters of one site with consecutive k, and their slot below a base. */
export interface StreamPiece { readonly slot: bigint; readonly site: bigint; readonly firstK: bigint; readonly length: bigint }

/** Moves characters under a base that stands on `parent`. */
export interface StreamRebase {
  readonly kind: "rebase";
  readonly parent: readonly PathElement[];
  readonly digit: bigint | null;
  readonly lamport: bigint;
  readonly spacing: bigint;
  readonly pieces: readonly StreamPiece[];
}

/** Operations of one site from one counter on. */
export interface StreamDelta { readonly site: bigint; readonly first: bigint; readonly ops: readonly StreamOp[] }

/** From this number on it stands as a varint behind the operation's byte. */
const INLINE_END = 31;
/** First byte of a delta that is not one operation continuing the delta before; its flags, and where its site stands. */
const DELTA = 6;
const CONTINUES = 1 << 3;
const SINGLE = 1 << 4;
const SITE_SHIFT = 5;
/** The length of a void that none has: a rebase. */
const REBASE = 0;
/** The lengths of a path follow as two varints. */
const LENGTHS_BEHIND = 255;
const PATH_LEVELS_MAX = 64;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

interface Known { readonly site: bigint; next: bigint; place: StreamPlace | null; deleted: Dots | null }

/** The reading side of a stream. The rules of the engine's format beyond the form itself are not checked here. */
export class StreamReader {
  #known: Known[] = [];
  #last: Known | null = null;

  /** What is remembered: per site in the order of their numbers its next counter, the place of its last insert and its last deletion. */
  get known(): readonly Readonly<Known>[] {
    return this.#known;
  }

  /** Reads on from a state as it is handed to those who join. Throws {@link MalformedError}. */
  static fromState(bytes: Uint8Array): StreamReader {
    const reader = new Reader(bytes);
    const stream = new StreamReader();
    const count = reader.count();
    if (count * 10 > reader.left) throw new MalformedError("more sites than bytes");
    for (let i = 0; i < count; i++) stream.#add(readSite(reader));
    stream.#last = stream.#numberedOrNone(reader.varint());
    for (const known of stream.#known) {
      known.next = reader.varint();
      const of = stream.#numberedOrNone(reader.varint());
      if (of) {
        const first = reader.varint();
        known.deleted = { site: of.site, first, last: first + reader.varint() };
      }
      const direction = reader.u8();
      if (direction > 2) throw new MalformedError("no direction");
      if (direction === 0) continue;
      const digit = unzigzag(reader.varint());
      const parent: PathElement[] = [];
      for (let depth = levels(reader); depth > 0; depth--) {
        const of = unzigzag(reader.varint());
        parent.push({ digit: of, site: stream.#numbered(reader.varint()).site, k: unzigzag(reader.varint()) });
      }
      known.place = { parent, digit, direction: direction === 1 ? "after" : "before" };
    }
    reader.end();
    return stream;
  }

  /** Reads every delta of `bytes`. Throws {@link MalformedError}; the stream is lost then. */
  read(bytes: Uint8Array): StreamDelta[] {
    const reader = new Reader(bytes);
    const deltas: StreamDelta[] = [];
    while (reader.left > 0) deltas.push(this.#delta(reader));
    return deltas;
  }

  #delta(reader: Reader): StreamDelta {
    const byte = reader.u8();
    if ((byte & 7) !== DELTA) {
      if (!this.#last) throw new MalformedError("an operation of nobody");
      return this.#ops(this.#last, this.#last.next, 1, reader, byte);
    }
    const number = byte >> SITE_SHIFT;
    const author = number > 0 ? this.#numbered(BigInt(number - 1)) : this.#who(reader);
    const first = (byte & CONTINUES) !== 0 ? author.next : reader.varint();
    const count = (byte & SINGLE) !== 0 ? 1 : reader.count();
    if (count > reader.left) throw new MalformedError("more operations than bytes");
    return this.#ops(author, first, count, reader);
  }

  /** A delta of `count` operations, of which the first byte may be read already. */
  #ops(author: Known, first: bigint, count: number, reader: Reader, byte?: number): StreamDelta {
    const ops: StreamOp[] = [];
    let next = first;
    for (let i = 0; i < count; i++) {
      const op = this.#op(author, next, i === 0 && byte !== undefined ? byte : reader.u8(), reader);
      next += op.kind === "insert" ? BigInt([...op.text].length) : op.kind === "void" ? op.length : 1n;
      ops.push(op);
    }
    author.next = next;
    this.#last = author;
    return { site: author.site, first, ops };
  }

  #op(author: Known, counter: bigint, byte: number, reader: Reader): StreamOp {
    const number = byte >> 3 === INLINE_END ? reader.count() : byte >> 3;
    switch (byte & 7) {
      case 0:
        if (!author.place) throw new MalformedError("an extension of nothing");
        return { kind: "insert", ...author.place, text: readText(reader, number) };
      case 1:
      case 2: {
        const parent = this.#path(author, reader);
        author.place = { parent, digit: readDigit(reader), direction: (byte & 7) === 1 ? "after" : "before" };
        return { kind: "insert", ...author.place, text: readText(reader, number) };
      }
      case 3: {
        const ranges = this.#ranges(number, reader);
        author.deleted = ranges.at(-1) ?? author.deleted;
        return { kind: "delete", ranges };
      }
      case 4: {
        const key = readText(reader, number);
        const flag = reader.u8();
        if (flag > 1) throw new MalformedError("no flag");
        return { kind: "meta", key, value: flag === 1 ? reader.bytes(reader.count()) : null, lamport: reader.varint() };
      }
      case 5:
        return number === REBASE ? this.#rebase(author, reader) : { kind: "void", length: BigInt(number) };
      case 7:
        author.deleted = dotOf(author, counter, number);
        return { kind: "delete", ranges: [author.deleted] };
      default:
        throw new MalformedError("an operation nobody knows");
    }
  }

  #rebase(author: Known, reader: Reader): StreamRebase {
    const parent = this.#path(author, reader);
    const digit = readDigit(reader);
    const lamport = reader.varint();
    const spacing = reader.varint();
    const count = reader.count();
    if (count * 4 > reader.left) throw new MalformedError("more pieces than bytes");
    const pieces: StreamPiece[] = [];
    let next = 0n;
    for (let i = 0; i < count; i++) {
      const slot = next + reader.varint();
      const { site } = this.#who(reader);
      pieces.push({ slot, site, firstK: unzigzag(reader.varint()), length: reader.varint() + 1n });
      next = slot + 1n;
    }
    return { kind: "rebase", parent, digit, lamport, spacing, pieces };
  }

  #path(author: Known, reader: Reader): PathElement[] {
    const both = reader.u8();
    const [shared, others] = both === LENGTHS_BEHIND ? [levels(reader), levels(reader)] : [both & 15, both >> 4];
    const before = author.place?.parent ?? [];
    if (shared > before.length || shared + others > PATH_LEVELS_MAX) throw new MalformedError("a path that is too long");
    const path = before.slice(0, shared);
    for (let i = 0; i < others; i++) {
      const digit = readDigit(reader);
      path.push({ digit, site: this.#who(reader).site, k: unzigzag(reader.varint()) });
    }
    return path;
  }

  #ranges(count: number, reader: Reader): Dots[] {
    const ranges: Dots[] = [];
    for (let i = 0; i < count; i++) {
      const { site, next } = this.#who(reader);
      const start = reader.varint();
      const before = ranges.at(-1);
      const first = before?.site === site ? before.last + start : (next > 1n ? next : 1n) - unzigzag(start);
      ranges.push({ site, first, last: first + reader.varint() });
    }
    return ranges;
  }

  #who(reader: Reader): Known {
    const number = reader.varint();
    return number === 0n ? this.#add(readSite(reader)) : this.#numbered(number - 1n);
  }

  #add(site: bigint): Known {
    if (this.#known.some((known) => known.site === site)) throw new MalformedError("a site named twice");
    const known: Known = { site, next: 0n, place: null, deleted: null };
    this.#known.push(known);
    return known;
  }

  /** The site of a number that is one too high, so that 0 is none. */
  #numberedOrNone(code: bigint): Known | null {
    return code === 0n ? null : this.#numbered(code - 1n);
  }

  #numbered(number: bigint): Known {
    const known = this.#known[Number(number)];
    if (!known) throw new MalformedError("a site number nobody gave");
    return known;
  }
}

/** The dot that the operation `counter` of a site names by a number. */
function dotOf({ site, deleted }: Known, counter: bigint, number: number): Dots {
  if (number >= 2) {
    const dot = counter + 1n - BigInt(number);
    if (dot < 1n) throw new MalformedError("a dot below the first");
    return { site, first: dot, last: dot };
  }
  if (!deleted) throw new MalformedError("a dot beside no deletion");
  const dot = number === 0 ? deleted.first - 1n : deleted.last + 1n;
  return { site: deleted.site, first: dot, last: dot };
}

function readSite(reader: Reader): bigint {
  const bytes = reader.bytes(8);
  return new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
}

function readDigit(reader: Reader): bigint | null {
  const written = reader.varint();
  return written === 0n ? null : unzigzag(written);
}

function readText(reader: Reader, length: number): string {
  try {
    return utf8.decode(reader.bytes(length));
  } catch (error) {
    throw error instanceof MalformedError ? error : new MalformedError("text that is not UTF-8");
  }
}

function levels(reader: Reader): number {
  const count = reader.count();
  if (count > PATH_LEVELS_MAX) throw new MalformedError("a path that is too long");
  return count;
}

function unzigzag(value: bigint): bigint {
  return (value & 1n) === 1n ? -((value + 1n) >> 1n) : value >> 1n;
}
