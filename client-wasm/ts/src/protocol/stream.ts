/** The stream form of deltas, as `PROTOCOL.md` describes it: read one after the other, each with what those before it left. */

import { MalformedError, Reader } from "./reader.js";
import { PATH_LEVELS_MAX, Runs, type Atom, type PathElement, type Run } from "./runs.js";

export type { PathElement } from "./runs.js";

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
/** First byte of a delta that is packed. */
const PACKED = 4 | 3 << 3;
/** Bytes of one before it was packed, and for each packed byte. */
const UNPACKED_BYTES_MAX = 65_536;
const UNPACKED_RATIO_MAX = 8;
/** First byte of a delta that is not one operation continuing the delta before; its flags, and where its site stands. */
const DELTA = 6;
const CONTINUES = 1 << 3;
const SINGLE = 1 << 4;
const WHO_SHIFT = 5;
const WHO_BEHIND = 7;
/** Who: a site in eight bytes, a leased one as a varint; then come numbers. */
const NEW_SITE = 0n;
const NEW_LEASED = 1n;
const SITES = 2n;
const LEASED_END = 1n << 31n;
/** Beyond these everything is forgotten where a delta begins. */
const SITES_MAX = 1024;
const ELEMENTS_MAX = 4096;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

interface Place extends StreamPlace { run: Run }
interface Known { readonly site: bigint; next: bigint; place: Place | null; deleted: Dots | null }
interface Stand extends StreamPlace { readonly above: Atom | null }

/**
 * The `length` bytes in raw deflate (RFC 1951), as `inflateRawSync(packed, { maxOutputLength: length })` of Node's `zlib` gives them.
 * Throws for bytes that are none, or more. What stands behind the end of deflated bytes, which nobody writes, it may leave unseen.
 */
export type Inflate = (packed: Uint8Array, length: number) => Uint8Array;

/** Without one, deltas that are packed cannot be read. */
const noInflate: Inflate = () => { throw new MalformedError("a packed delta: this reader was given nothing that inflates"); };

/** The reading side of a stream. The rules of the engine's format beyond the form itself are not checked here. */
export class StreamReader {
  readonly #inflate: Inflate;
  /** The texts of a delta that is being read, where they stand apart. */
  #texts: Reader | null = null;
  #known: Known[] = [];
  #runs = new Runs();
  #last: Known | null = null;

  /** A stream that begins. `inflate`: what reads the parts of packed deltas. */
  constructor(inflate: Inflate = noInflate) {
    this.#inflate = inflate;
  }

  /** What is remembered: per site in the order of their numbers its next counter, the place of its last insert and its last deletion. */
  get known(): readonly { readonly site: bigint; readonly next: bigint; readonly place: StreamPlace | null; readonly deleted: Dots | null }[] {
    return this.#known.map(({ site, next, place, deleted }) => (
      { site, next, place: place && { parent: place.parent, digit: place.digit, direction: place.direction }, deleted }
    ));
  }

  /** Reads on from a state as it is handed to those who join. Throws {@link MalformedError}. */
  static fromState(bytes: Uint8Array, inflate?: Inflate): StreamReader {
    const reader = new Reader(bytes);
    const stream = new StreamReader(inflate);
    const count = reader.count();
    if (count * 4 > reader.left) throw new MalformedError("more sites than bytes");
    for (let i = 0; i < count; i++) {
      const who = reader.varint();
      if (who >= SITES) throw new MalformedError("a site that is not spelled");
      stream.#site(who, reader);
    }
    stream.#last = stream.#numberedOrNone(reader.varint());
    const [old, young] = [reader.count(), reader.count()];
    if ((old + young) * 2 > reader.left) throw new MalformedError("more runs than bytes");
    stream.#runs = Runs.restored(old, young, (above) => stream.#run(above, reader));
    for (const known of stream.#known) {
      known.next = reader.varint();
      const of = stream.#numberedOrNone(reader.varint());
      if (of) {
        const first = reader.varint();
        known.deleted = { site: of.site, first, last: first + reader.varint() };
      }
      const place = reader.varint();
      if (place > 0n) known.place = stream.#placeOf(stream.#runs.numbered(place - 1n));
    }
    reader.end();
    return stream;
  }

  #run(above: (back: number) => Run | undefined, reader: Reader): Run | number {
    const back = reader.count();
    if (back === 0) return reader.count();
    const over = back > 1 ? above(back - 1) : null;
    if (over === undefined) throw new MalformedError("a run nobody spoke of");
    const parent = over && atomOf(over, reader.varint());
    const { site } = this.#numbered(reader.varint());
    const digit = readDigit(reader);
    const first = reader.varint();
    const others = reader.varint();
    return { parent, site, digit, direction: (others & 1n) === 0n ? "after" : "before", first, last: first + (others >> 1n) };
  }

  /** Reads every delta of `bytes`. Throws {@link MalformedError}; the stream is lost then. */
  read(bytes: Uint8Array): StreamDelta[] {
    const reader = new Reader(bytes);
    const deltas: StreamDelta[] = [];
    while (reader.left > 0) deltas.push(this.#delta(reader));
    return deltas;
  }

  #delta(reader: Reader): StreamDelta {
    this.#forget();
    const byte = reader.u8();
    return byte === PACKED ? this.#packed(reader) : this.#plain(byte, reader);
  }

  #packed(reader: Reader): StreamDelta {
    const lengths = [0, 1].map(() => [reader.count(), reader.count()] as const);
    const [whole, given] = [0, 1].map((at) => lengths.reduce((sum, pair) => sum + (pair[at] ?? 0), 0)) as [number, number];
    if (whole > Math.min(UNPACKED_BYTES_MAX, UNPACKED_RATIO_MAX * Math.min(given, reader.left))) {
      throw new MalformedError("a packed delta of more bytes than it may have");
    }
    const [numbers, texts] = lengths.map(([length, packed]) => {
      const part = reader.bytes(packed);
      const bytes = length === packed ? part : this.#inflated(part, length);
      if (bytes.length !== length) throw new MalformedError("a delta that is not packed as it says");
      return new Reader(bytes);
    }) as [Reader, Reader];
    this.#texts = texts;
    try {
      const delta = this.#plain(numbers.u8(), numbers);
      numbers.end();
      texts.end();
      return delta;
    } finally {
      this.#texts = null;
    }
  }

  #inflated(packed: Uint8Array, length: number): Uint8Array {
    try {
      return this.#inflate(packed, length);
    } catch (cause) {
      throw cause instanceof MalformedError ? cause : new MalformedError("a delta that is not packed as it says", { cause });
    }
  }

  #plain(byte: number, reader: Reader): StreamDelta {
    if ((byte & 7) !== DELTA) {
      if (!this.#last) throw new MalformedError("an operation of nobody");
      return this.#ops(this.#last, this.#last.next, 1, reader, byte);
    }
    const who = byte >> WHO_SHIFT;
    const author = this.#site(who === WHO_BEHIND ? reader.varint() : BigInt(who), reader);
    const first = (byte & CONTINUES) !== 0 ? author.next : reader.varint();
    const count = (byte & SINGLE) !== 0 ? 1 : reader.count();
    if (count > reader.left) throw new MalformedError("more operations than bytes");
    return this.#ops(author, first, count, reader);
  }

  /** Both sides forget alike. */
  #forget(): void {
    const elements = this.#known.reduce((sum, { place }) => sum + (place?.parent.length ?? 0), 0);
    if (this.#known.length > SITES_MAX || elements > ELEMENTS_MAX) {
      this.#known = [];
      this.#runs = new Runs();
      this.#last = null;
    } else if (this.#runs.turn()) {
      for (const known of this.#known) {
        const run = known.place && this.#runs.now(known.place.run);
        known.place = run && known.place ? { ...known.place, run } : null;
      }
    }
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
    const number = (): number => (byte >> 3 === INLINE_END ? reader.count() : byte >> 3);
    const flag = (byte & 8) !== 0;
    const short = (): number => byte >> 4 || reader.count();
    switch (byte & 7) {
      case 0:
        return this.#extend(author, counter, readText(this.#texts ?? reader, number()));
      case 1: {
        const length = number();
        return this.#insert(author, counter, this.#below(this.#atom(reader), null), length, reader);
      }
      case 2: {
        const length = short();
        const run = this.#runs.at(reader.varint());
        if (run.site !== author.site) throw new MalformedError("a run of another site");
        const stand = { ...this.#below(run.parent, run.digit), direction: flag ? "before" : "after" } as const;
        return this.#insert(author, counter, stand, length, reader);
      }
      case 3: {
        const ranges = this.#ranges(flag ? author : null, counter, short(), reader);
        author.deleted = ranges.at(-1) ?? author.deleted;
        return { kind: "delete", ranges };
      }
      case 4:
        return this.#other(byte >> 3, reader);
      case 5: {
        const length = short();
        const stand = flag ? this.#stand(reader) : this.#below(this.#atom(reader), unzigzag(reader.varint()));
        return this.#insert(author, counter, stand, length, reader);
      }
      case 7:
        author.deleted = dotOf(author, counter, number());
        return { kind: "delete", ranges: [author.deleted] };
      default:
        throw new MalformedError("an operation nobody knows");
    }
  }

  #other(kind: number, reader: Reader): StreamOp {
    if (kind === 0) return this.#rebase(reader);
    if (kind === 1) return { kind: "void", length: reader.varint() };
    if (kind !== 2) throw new MalformedError("an operation nobody knows");
    const key = readText(reader, reader.count());
    const flag = reader.u8();
    if (flag > 1) throw new MalformedError("no flag");
    return { kind: "meta", key, value: flag === 1 ? reader.bytes(reader.count()) : null, lamport: reader.varint() };
  }

  #extend(author: Known, first: bigint, text: string): StreamOp {
    const { place } = author;
    if (!place) throw new MalformedError("an extension of nothing");
    const last = first + BigInt([...text].length) - 1n;
    place.run = this.#runs.refresh(place.run);
    if (place.run.last < first && first <= last) place.run.last = last;
    else place.run = this.#runs.push({ ...place.run, first, last });
    const { parent, digit, direction } = place;
    return { kind: "insert", parent, digit, direction, text };
  }

  #insert(author: Known, first: bigint, stand: Stand, length: number, reader: Reader): StreamOp {
    const text = readText(this.#texts ?? reader, length);
    const { above, parent, digit, direction } = stand;
    const last = first + BigInt([...text].length) - 1n;
    const run = this.#runs.push({ parent: above, digit, site: author.site, direction, first, last });
    author.place = { parent, digit, direction, run };
    return { kind: "insert", parent, digit, direction, text };
  }

  #placeOf(run: Run): Place {
    return { parent: this.#runs.path(run.parent), digit: run.digit, direction: run.direction, run };
  }

  #below(above: Atom | null, digit: bigint | null): Stand {
    return { above, parent: this.#runs.path(above), digit, direction: "after" };
  }

  #stand(reader: Reader): Stand {
    let above = this.#atom(reader);
    const byte = reader.u8();
    const parent = this.#runs.path(above);
    if (parent.length + (byte >> 1) > PATH_LEVELS_MAX) throw new MalformedError("a path that is too long");
    const spelled: PathElement[] = [];
    for (let i = 0; i < byte >> 1; i++) {
      const digit = readDigit(reader);
      spelled.push({ digit, site: this.#who(reader).site, k: unzigzag(reader.varint()) });
    }
    const digit = readDigit(reader);
    for (const { digit, site, k } of spelled) {
      const counter = k < 0n ? -k : k;
      const direction = k < 0n ? "before" : "after";
      above = { run: this.#runs.push({ parent: above, digit, site, direction, first: counter, last: counter }), counter };
    }
    return { above, parent: [...parent, ...spelled], digit, direction: (byte & 1) === 0 ? "after" : "before" };
  }

  /** A character of a run that is remembered; null: the root. */
  #atom(reader: Reader): Atom | null {
    const code = reader.varint() - 1n;
    if (code < 0n) return null;
    const run = this.#runs.at(code >> 2n);
    return atomOf(run, (code & 3n) === 3n ? reader.varint() + 3n : code & 3n);
  }

  #rebase(reader: Reader): StreamRebase {
    const { parent, digit } = this.#stand(reader);
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

  /** Ranges of `own` alone, or each with its site. */
  #ranges(own: Known | null, counter: bigint, count: number, reader: Reader): Dots[] {
    const ranges: Dots[] = [];
    for (let i = 0; i < count; i++) {
      const { site, next } = own ?? this.#who(reader);
      const code = reader.varint();
      const start = code >> 2n;
      const before = ranges.at(-1);
      const first = before?.site === site ? before.last + start + 2n : own ? counter - start : next - unzigzag(start);
      ranges.push({ site, first, last: first + ((code & 3n) === 3n ? reader.varint() + 3n : code & 3n) });
    }
    return ranges;
  }

  #who(reader: Reader): Known {
    return this.#site(reader.varint(), reader);
  }

  #site(who: bigint, reader: Reader): Known {
    if (who === NEW_SITE) return this.#add(readSite(reader));
    if (who !== NEW_LEASED) return this.#numbered(who - SITES);
    const site = reader.varint();
    if (site >= LEASED_END) throw new MalformedError("a number that is no leased site");
    return this.#add(site);
  }

  #add(site: bigint): Known {
    if (this.#known.some((known) => known.site === site)) throw new MalformedError("a site named twice");
    const known: Known = { site, next: 1n, place: null, deleted: null };
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

/** The character `back` before the last of a run. */
function atomOf(run: Run, back: bigint): Atom {
  const counter = run.last - back;
  if (counter < run.first) throw new MalformedError("a character outside its run");
  return { run, counter };
}

function unzigzag(value: bigint): bigint {
  return (value & 1n) === 1n ? -((value + 1n) >> 1n) : value >> 1n;
}
