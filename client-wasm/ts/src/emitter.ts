/** Typed events. Subscribing returns the function that unsubscribes. */

/** Event name to listener, as every class that emits declares it. */
export type EventMap<E> = { [K in keyof E]: (...args: never[]) => void };

type Arguments<F> = F extends (...args: infer A) => void ? A : never;

/** A listener that throws must not keep the others, or the machine behind them, from running: its error goes to the page. */
function report(error: unknown): void {
  if (typeof reportError === "function") reportError(error);
  else queueMicrotask(() => { throw error; });
}

/** Calls `fn`, and hands what it throws to the page instead of the caller. */
export function guarded(fn: () => void): void {
  try { fn(); } catch (error) { report(error); }
}

/** The base of everything that emits. Listeners run in the order they subscribed. */
export class Emitter<E extends EventMap<E>> {
  /** By event, in order; a list is never changed but replaced, so that one who is telling it goes on undisturbed. */
  readonly #listeners = new Map<keyof E, readonly E[keyof E][]>();

  /** Calls `fn` at each `event` until the returned function is called. */
  on<K extends keyof E>(event: K, fn: E[K]): () => void {
    const list = this.#listeners.get(event) ?? [];
    if (!list.includes(fn)) this.#listeners.set(event, [...list, fn]);
    return () => this.off(event, fn);
  }

  /** Calls `fn` at the next `event` only. */
  once<K extends keyof E>(event: K, fn: E[K]): () => void {
    const off = this.on(event, ((...args: Arguments<E[K]>) => {
      off();
      (fn as (...a: Arguments<E[K]>) => void)(...args);
    }) as E[K]);
    return off;
  }

  /** Undoes {@link on}. Unknown listeners are ignored. */
  off<K extends keyof E>(event: K, fn: E[K]): void {
    const rest = this.#listeners.get(event)?.filter((each) => each !== fn) ?? [];
    if (rest.length > 0) this.#listeners.set(event, rest);
    else this.#listeners.delete(event);
  }

  /** True if anybody listens to `event`: lets an emitter skip work nobody asked for. */
  protected listens(event: keyof E): boolean {
    return this.#listeners.has(event);
  }

  /** Tells every listener of `event`. */
  protected emit<K extends keyof E>(event: K, ...args: Arguments<E[K]>): void {
    const list = this.#listeners.get(event);
    if (!list) return;
    for (const fn of list) {
      // As `guarded`, without a closure for each event.
      try { (fn as unknown as (...a: Arguments<E[K]>) => void)(...args); } catch (error) { report(error); }
    }
  }

  /** Forgets every listener. */
  protected clearListeners(): void {
    this.#listeners.clear();
  }
}
