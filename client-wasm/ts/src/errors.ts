/** What can go wrong, as one class with a stable code. */

/** Stable names of failures; the message is for people and may change. */
export type ErrorCode =
  | "not-initialized"
  | "bad-document"
  | "bad-argument"
  | "closed"
  | "read-only"
  | "store"
  | "stored-copy"
  | "wasm"
  | "edit"
  | "update"
  | "presence-too-large"
  | "too-many-documents"
  | "already-open"
  | "initial-text-too-long"
  | "endpoints"
  | "unexpected";

/** Every error this package throws. Compare `code`, not the message; `retryable` says whether trying again can help. */
export class SelvedgeError extends Error {
  override readonly name = "SelvedgeError";
  readonly code: ErrorCode;
  readonly retryable: boolean;

  constructor(code: ErrorCode, message: string, options: { retryable?: boolean; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? false;
  }
}

/** The reason a signal was aborted with, always an `Error`. */
export function abortReason(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason : new DOMException("The operation was aborted.", "AbortError");
}

/** A promise of `start`'s outcome that `signal` can end early; `start` returns the clean-up. */
export function abortable<T>(
  signal: AbortSignal | undefined,
  start: (resolve: (value: T) => void, reject: (error: Error) => void) => () => void,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    if (signal?.aborted) return reject(abortReason(signal));
    let settled = false;
    let stop: (() => void) | undefined;
    const settle = (then: () => void): void => {
      if (settled) return;
      settled = true;
      signal?.removeEventListener("abort", onAbort);
      stop?.();
      then();
    };
    const onAbort = (): void => settle(() => reject(signal ? abortReason(signal) : new Error("aborted")));
    signal?.addEventListener("abort", onAbort);
    stop = start((value) => settle(() => resolve(value)), (error) => settle(() => reject(error)));
    if (settled) stop();
  });
}

const FACADE_CODES: { readonly [code: string]: ErrorCode } = {
  "bad-document": "bad-document",
  "bad-argument": "bad-argument",
  "not-open": "closed",
  "read-only": "read-only",
  "stored-copy": "stored-copy",
  edit: "edit",
  update: "update",
  "presence-too-large": "presence-too-large",
  "too-many-documents": "too-many-documents",
  "already-open": "already-open",
  "initial-text-too-long": "initial-text-too-long",
};

/** What the facade threw (`code: sentence`) as this package's error. */
export function facadeError(cause: unknown): SelvedgeError {
  if (cause instanceof SelvedgeError) return cause;
  const message = cause instanceof Error ? cause.message : String(cause);
  const [, word = "", sentence = message] = /^([a-z-]+): (.*)$/s.exec(message) ?? [];
  const code = FACADE_CODES[word];
  return code ? new SelvedgeError(code, sentence, { cause, retryable: code === "read-only" }) : new SelvedgeError("unexpected", message, { cause });
}
