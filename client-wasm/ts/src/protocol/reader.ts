/** Reads the wire's primitives, never past the end. */

/** Bytes that are not what their kind demands. */
export class MalformedError extends Error {
  override readonly name = "MalformedError";
}

/** A cursor over bytes. Every method throws {@link MalformedError} instead of reading past the end. */
export class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Bytes not read yet. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** One byte. */
  u8(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw new MalformedError("unexpected end");
    this.#at += 1;
    return byte;
  }

  /** The next `length` bytes, a view on the input. */
  bytes(length: number): Uint8Array {
    if (length > this.left) throw new MalformedError("unexpected end");
    const slice = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return slice;
  }

  /** An unsigned LEB128 of at most 64 bits in its shortest form. */
  varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.u8();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (byte === 0 && shift > 0n) throw new MalformedError("varint is not in its shortest form");
        if (value >= 1n << 64n) throw new MalformedError("varint exceeds 64 bits");
        return value;
      }
    }
    throw new MalformedError("varint exceeds 64 bits");
  }

  /** A varint that must be a safe integer: lengths, counters. */
  count(): number {
    const value = this.varint();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new MalformedError("number is too large");
    return Number(value);
  }

  /** Throws unless everything was read. */
  end(): void {
    if (this.left > 0) throw new MalformedError(`${this.left} bytes too many`);
  }
}
