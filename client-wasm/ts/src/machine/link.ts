/**
 * Drives one wasm machine: executes its effects, feeds it what comes back, calls it when it wants to be called. Holds no
 * protocol logic.
 */

import { guarded } from "../emitter.js";
import { facadeError, SelvedgeError } from "../errors.js";
import type { TextPatch } from "../text-event.js";
import type { Transport, TransportConnection } from "../transport/transport.js";
import type { Client, Restored } from "../wasm/selvedge.js";
import { EffectQueue } from "./effect-queue.js";
import { instant, randomSeed } from "./environment.js";
import { callWindow, utf16Of } from "./window.js";
import { Recorder, type DocumentEffect, type Effect, type LinkEffect, type LinkInfo } from "./effects.js";

/** A token, or what gives one each time it is asked. */
export type TokenSource = string | (() => string | Promise<string>) | null;

/** A document as the link sees it. */
export interface LinkedDocument {
  handle(effect: DocumentEffect): void;
  /** The link's own news: a session number, or none. */
  sessionChanged(session: number | null): void;
}

/** What a document is opened with. */
export interface OpenDocument {
  readonly document: string;
  readonly principal: string;
  /** Whether somebody executes store transactions. */
  readonly store: boolean;
  /** What the device had; the machine consumes it. */
  readonly restored?: Restored | undefined;
  /** Whether entries of other principals among it are taken over: no unless said. */
  readonly adopt?: boolean;
  readonly initialText?: string | undefined;
}

/** Who verifies lists of endpoints, and keeps the newest for the next load. */
export interface EndpointKeeper {
  /** The bytes of a list that a trusted key signed, or null. */
  verify(signed: string): Promise<Uint8Array | null>;
  keep(signed: string, epoch: number, issue: number): Promise<void>;
}

/** Everything a link is made of. */
export interface LinkOptions {
  readonly client: Client;
  readonly transports: readonly Transport[];
  readonly token: TokenSource;
  /** Verifies and keeps lists of endpoints; absent: the machine asks for neither. */
  readonly endpoints?: EndpointKeeper | undefined;
  /** Called once when the last document has closed. */
  readonly onEmpty: () => void;
}

const TIMER_MS_MAX = 0x7fffffff;

/** One connection with its documents. */
export class Link {
  readonly #client: Client;
  readonly #transports: readonly Transport[];
  readonly #token: TokenSource;
  readonly #endpoints: EndpointKeeper | undefined;
  readonly #onEmpty: () => void;
  readonly #recorder = new Recorder();
  readonly #connections = new Map<number, { readonly connection: TransportConnection }>();
  readonly #documents = new Map<number, LinkedDocument>();
  readonly #queue = new EffectQueue();
  #pumping = false;
  /** The clock as it was read first in this task. */
  #now: number | null = null;
  #scheduled = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The deadline the timer runs for. */
  #armedFor: number | undefined;
  #current: LinkInfo | null = null;
  #wanted = false;
  #over = false;

  constructor(options: LinkOptions) {
    this.#client = options.client;
    this.#transports = options.transports;
    this.#token = options.token;
    this.#endpoints = options.endpoints;
    this.#onEmpty = options.onEmpty;
  }

  /** Where the link is connected to, if it is. */
  get current(): LinkInfo | null {
    return this.#current;
  }

  /** This connection's number at the relay; presence is keyed by it. */
  get session(): number | null {
    return this.#current?.session ?? null;
  }

  /** Documents open on this link. */
  get size(): number {
    return this.#documents.size;
  }

  /** Opens a document; `attach` gets its channel and returns its side of the link. */
  open({ document, principal, store, restored, adopt = false, initialText }: OpenDocument, attach: (channel: number) => LinkedDocument): void {
    const channel = this.#call((client, now) => client.open(document, principal, randomSeed(), store, restored, adopt, initialText, now));
    this.#documents.set(channel, attach(channel));
    this.pumpSoon();
  }

  /** Whether a document's channel is on this link. */
  has(channel: number): boolean {
    return this.#documents.has(channel);
  }

  /** Closes a document at the relay and lets the machine finish with the store. */
  leave(channel: number): void {
    this.#call((client, now) => client.close(channel, now));
    this.#drain();
    this.#work(); // also from inside a pump: a page that goes away has no later
  }

  /** Lets go of a document. The last one takes the link with it. */
  close(channel: number): void {
    if (this.#documents.delete(channel) && this.#documents.size === 0) this.#end();
  }

  /** Calls the machine and does what it then wants. */
  run<T>(call: (client: Client, now: number) => T): T {
    const result = this.#call(call);
    this.pump();
    return result;
  }

  /** Calls the machine; its effects wait until the end of this task, so that edits made together travel together. */
  edit<T>(call: (client: Client, now: number) => T): T {
    const result = this.#call(call);
    this.pumpSoon();
    return result;
  }

  /**
   * Replaces text of a document by `insert`; how many echo patches {@link takePatches} has. As with {@link edit}, its effects wait. One
   * call of the module, numbers in and out.
   */
  replace(channel: number, at: number, remove: number, insert: string, tracked: boolean): number {
    if (this.#over) throw new SelvedgeError("closed", "This document is closed.");
    let echoes: number;
    try {
      const length = callWindow.writeText(insert);
      echoes = length < 0
        ? this.#client.editUtf16(channel, at, remove, utf16Of(insert), tracked, this.#taskNow())
        : this.#client.edit(channel, at, remove, length, tracked, this.#taskNow());
      if (echoes < 0) this.#client.explain();
    } catch (cause) {
      throw this.#failed(cause);
    }
    this.pumpSoon();
    return echoes;
  }

  /** Applies another replica's delta; its effects wait for {@link pump} or the end of this task. False: one before it is missing. */
  apply(channel: number, delta: Uint8Array): boolean {
    if (this.#over) throw new SelvedgeError("closed", "This document is closed.");
    let applied: number;
    try {
      applied = this.#client.applyFromTab(channel, callWindow.write(delta), this.#taskNow());
      if (applied < 0) this.#client.explain();
    } catch (cause) {
      throw this.#failed(cause);
    }
    this.pumpSoon();
    return applied > 0;
  }

  /** Seals what was edited until now, and tells the deltas that nobody was told of, where nobody stores. The rest waits as in {@link edit}. */
  flush(channel: number, tell: (delta: Uint8Array) => void): void {
    for (let length = -1; length < 0;) {
      length = this.#flushNext(channel);
      if (length !== 0) tell(callWindow.read(Math.abs(length)));
    }
    this.pumpSoon();
  }

  /** {@link flush} of one delta, to `target` from `at` on, where the longest fits; its length, or 0. */
  flushInto(channel: number, target: Uint8Array, at: number): number {
    const length = Math.abs(this.#flushNext(channel));
    callWindow.readInto(target, at, length);
    this.pumpSoon();
    return length;
  }

  #flushNext(channel: number): number {
    if (this.#over) throw new SelvedgeError("closed", "This document is closed.");
    try {
      return this.#client.flush(channel, this.#taskNow());
    } catch (cause) {
      throw this.#failed(cause);
    }
  }

  /** Whether effects wait, or are being executed: what is told now would be told before them. */
  get busy(): boolean {
    return this.#pumping || this.#queue.length > 0;
  }

  /** Calls the machine for an answer alone; the clock is not read. */
  ask<T>(question: (client: Client) => T): T {
    if (this.#over) throw new SelvedgeError("closed", "This document is closed.");
    try {
      return question(this.#client);
    } catch (cause) {
      throw this.#failed(cause);
    }
  }

  /** Whether the link has ended, by closing or by a fault. */
  get over(): boolean {
    return this.#over;
  }

  /** Connects, and stays connected. */
  connect(): void {
    this.#wanted = true;
    this.run((client, now) => client.goOnline(now));
  }

  /** Disconnects, and stays so. */
  disconnect(): void {
    this.#wanted = false;
    this.run((client, now) => client.goOffline(now));
  }

  /** The browser says there is a network again: what waits for its turn is tried at once. */
  networkChanged(): void {
    if (this.#wanted) this.run((client, now) => client.goOnline(now));
  }

  /** Tells a document the changes of its text that wait in the queue: an edit must not overtake them. */
  settle(channel: number): void {
    if (this.#queue.length === 0) return;
    for (const effect of this.#queue.take((effect) => isPatchOf(effect, channel))) this.#execute(effect);
  }

  /** Patches the last edit, undo or redo owes its editor. */
  takePatches(): TextPatch[] {
    this.ask((client) => client.takePatches(this.#recorder));
    return this.#recorder.takePatches();
  }

  /** Pumps at the end of this task. */
  pumpSoon(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.pump();
    });
  }

  /** Executes effects until there are none. Called from inside itself, it leaves the work to the outer call. */
  pump(): void {
    this.#now = null;
    if (this.#over) return;
    this.#drain();
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      this.#work();
    } finally {
      this.#pumping = false;
    }
    this.#arm();
  }

  #call<T>(call: (client: Client, now: number) => T): T {
    return this.ask((client) => call(client, instant()));
  }

  /** The clock for what is called often: read once in a task, since a task's edits are made at one time. */
  #taskNow(): number {
    return (this.#now ??= instant());
  }

  #failed(cause: unknown): SelvedgeError {
    if (cause instanceof WebAssembly.RuntimeError) this.#broke(cause);
    return facadeError(cause);
  }

  #work(): void {
    for (let effect = this.#queue.shift(); effect; effect = this.#queue.shift()) {
      this.#execute(effect);
      if (this.#queue.length === 0) this.#drain();
    }
  }

  #drain(): void {
    if (this.#over) return;
    this.ask((client) => client.drain(this.#recorder));
    this.#queue.push(this.#recorder.take());
  }

  #execute(effect: Effect): void {
    if ("channel" in effect) {
      const document = this.#documents.get(effect.channel);
      if (document) guarded(() => document.handle(effect.effect));
    } else this.#executeLink(effect);
  }

  #executeLink(effect: LinkEffect): void {
    switch (effect.kind) {
      case "connect":
        return this.#connect(effect);
      case "send":
        return this.#connections.get(effect.attempt)?.connection.send(effect.bytes);
      case "disconnect": {
        const connection = this.#connections.get(effect.attempt);
        this.#connections.delete(effect.attempt);
        return connection?.connection.close(effect.code);
      }
      case "token-needed":
        void this.#provideToken(effect.of);
        return;
      case "verify-endpoints":
        void this.#verify(effect.signed);
        return;
      case "keep-endpoints":
        void this.#keep(effect);
        return;
      case "endpoints-refused":
        // What a relay says must not end a program: it is told, and no more.
        return console.warn(new SelvedgeError("endpoints", effect.message));
      case "link":
        return this.#linked(effect.link);
    }
  }

  #connect({ attempt, url, transport: name, certificates }: LinkEffect & { readonly kind: "connect" }): void {
    const transport = this.#transports.find((candidate) => candidate.name === name && candidate.supported);
    if (!transport) {
      this.run((client, now) => client.connectFailed(attempt, now));
      return;
    }
    let opened = false;
    const alive = (): boolean => !this.#over && this.#connections.has(attempt);
    const connection = transport.connect(url, {
      opened: () => {
        opened = true;
        if (alive()) this.run((client, now) => client.connectOpened(attempt, now));
      },
      received: (bytes) => {
        if (alive()) this.run((client, now) => client.received(attempt, bytes, now));
      },
      ended: (code, reason) => {
        if (!alive()) return;
        this.#connections.delete(attempt);
        this.run((client, now) => opened ? client.disconnected(attempt, code, reason, now) : client.connectFailed(attempt, now));
      },
    }, certificates);
    this.#connections.set(attempt, { connection });
  }

  #linked(link: LinkInfo | null): void {
    const before = this.session;
    this.#current = link;
    if (this.session === before) return;
    for (const document of this.#documents.values()) guarded(() => document.sessionChanged(this.session));
  }

  async #provideToken(channel: number | null): Promise<void> {
    let token: string | undefined;
    try {
      token = (typeof this.#token === "function" ? await this.#token() : this.#token) ?? undefined;
    } catch (error) {
      guarded(() => { throw error; });
    }
    if (!this.#over) this.run((client, now) => client.provideToken(channel ?? undefined, token, now));
  }

  async #verify(signed: string): Promise<void> {
    const list = (await this.#endpoints?.verify(signed)) ?? null;
    if (!this.#over) this.run((client, now) => list ? client.endpointsVerified(list, now) : client.endpointsForged(now));
  }

  async #keep({ signed, epoch, issue }: LinkEffect & { readonly kind: "keep-endpoints" }): Promise<void> {
    try {
      await this.#endpoints?.keep(signed, epoch, issue);
    } catch (cause) {
      const message = "The device could not keep the list of endpoints: it holds until this page is closed.";
      console.warn(new SelvedgeError("store", message, { cause }));
    }
  }

  #arm(): void {
    const deadline = this.#over ? undefined : this.ask((client) => client.deadline());
    // While somebody types, it is nearly always the one there was.
    if (deadline === this.#armedFor) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#armedFor = deadline;
    if (deadline === undefined) return;
    const wait = Math.min(Math.max(0, deadline - performance.now()), TIMER_MS_MAX);
    this.#timer = setTimeout(() => {
      this.#armedFor = undefined;
      if (!this.#over) this.run((client, now) => client.tick(now));
    }, wait);
  }

  /** The module stopped inside a call: nothing it holds can be trusted. What the device has stored is there at the next load. */
  #broke(cause: WebAssembly.RuntimeError): void {
    this.#over = true;
    this.#queue.clear();
    clearTimeout(this.#timer);
    for (const { connection } of this.#connections.values()) connection.close();
    this.#connections.clear();
    this.#onEmpty();
    const reason = `The module stopped (${cause.message}): reload the page.`;
    for (const document of this.#documents.values()) guarded(() => document.handle({ kind: "closed", code: 4500, reason }));
  }

  #end(): void {
    if (this.#over) return;
    this.#call((client, now) => client.goOffline(now));
    this.#drain();
    this.#work(); // also when closed from inside a pump: what was to be sent goes out before the connections close
    this.#over = true;
    clearTimeout(this.#timer);
    for (const { connection } of this.#connections.values()) connection.close();
    this.#connections.clear();
    this.#client.free();
    this.#onEmpty();
  }
}

function isPatchOf(effect: Effect, channel: number): boolean {
  return "channel" in effect && effect.channel === channel && effect.effect.kind === "patch";
}
