/**
 * One open document: its channel on the link, its store, its tabs. Doc, text, meta, undo, presence and provider are views
 * of this object; it holds what they share and nothing of the protocol.
 */

import { SelvedgeError } from "../errors.js";
import { NOTHING_PENDING, type Rights, type SaveState, type Status } from "../status.js";
import { StoreError, type Store, type StoreTransaction } from "../store/store.js";
import type { Tabs } from "../tabs.js";
import type { TextPatch } from "../text-event.js";
import type { Client, Reading } from "../wasm/selvedge.js";
import { Body } from "./body.js";
import { ChannelReading } from "./channel-reading.js";
import type { DocumentEffect, PatchOrigin, SavedCounts } from "./effects.js";
import type { Link, LinkedDocument } from "./link.js";
import { restoredOf } from "./restored.js";

/** Everything a replica is made of. */
export interface ReplicaOptions {
  readonly document: string;
  readonly principal: string;
  readonly link: Link;
  /** Null: nothing is kept on this device. */
  readonly store: Store | null;
  readonly tabs: Tabs | null;
  /** Keep the principal with the first edit. */
  readonly keepPrincipal: boolean;
  /** Why there is no store although one was wanted. */
  readonly storeProblem: StoreError | null;
}

/** How long closing waits for the device to finish. */
const CLOSE_MS_MAX = 5_000;
/** Whether the relay answers in this status. */
const isOnline = (status: Status): boolean => status === "syncing" || status === "connected" || status === "readonly";

/** After which effects edits may be taken that were not, or the other way round. */
const MAY_TURN: ReadonlySet<DocumentEffect["kind"]> = new Set(["status", "rights", "refused", "closed"]);

/** How long a tab that says goodbye may take to store its last edits. */
const LEAVING_TAB_MS = 300;

/** One open document. */
export class Replica extends Body implements LinkedDocument {
  readonly document: string;
  readonly principal: string;
  readonly link: Link;
  readonly store: Store | null;
  readonly tabs: Tabs | null;
  #keepPrincipal: boolean;
  #takingUp = false;
  #channel = -1;
  #status: Status = "offline";
  #saved: SaveState = NOTHING_PENDING;
  #rights: Rights = "write";
  #writable = true;
  #closedWith: { code: number; reason: string } | null = null;
  #flushing = false;
  /** Whether the machine tells of changes of the text; it does unless told otherwise. */
  #watched = true;
  #storing: Promise<void> | null = null;
  #edited = false;
  #closing: Promise<void> | null = null;
  #destroyed = false;
  #reading: Reading | null = null;
  #stopTabs: (() => void) | null = null;
  readonly #tellDelta = (bytes: Uint8Array): void => {
    this.tabs?.post(bytes);
    this.emit("delta", bytes);
  };

  constructor(options: ReplicaOptions) {
    super();
    this.document = options.document;
    this.principal = options.principal;
    this.link = options.link;
    this.store = options.store;
    this.tabs = options.tabs;
    this.#keepPrincipal = options.keepPrincipal;
    if (options.storeProblem) this.storeTrouble(options.storeProblem);
  }

  /** Takes its place on the link. Called once, by the link's `open`. */
  attach(channel: number): this {
    this.#channel = channel;
    this.#watchMachine();
    this.#stopTabs = this.tabs?.listen(this) ?? null;
    return this;
  }

  get channel(): number { return this.#channel; }
  get status(): Status { return this.#status; }
  get saved(): SaveState { return this.#saved; }
  get rights(): Rights { return this.#rights; }
  get closedWith(): { readonly code: number; readonly reason: string } | null { return this.#closedWith; }
  get destroyed(): boolean { return this.#destroyed; }
  /** Whether edits are taken at present. */
  get writable(): boolean {
    return !this.#destroyed && !this.link.over && this.askClient((client, channel) => client.mayEdit(channel));
  }

  get generation(): number {
    return this.askClient((client, channel) => client.generation(channel));
  }

  readText(): string {
    return this.ask((document) => document.text());
  }

  ask<T>(question: (document: Reading) => T): T {
    return this.askClient((client, channel) => question(this.#reading ??= new ChannelReading(client, channel)));
  }

  /** Asks the machine about this document's channel. */
  askClient<T>(question: (client: Client, channel: number) => T): T {
    if (this.#destroyed) throw this.gone();
    return this.link.ask((client) => question(client, this.#channel));
  }

  apply(delta: Uint8Array): boolean {
    if (this.#destroyed) throw this.gone();
    const applied = this.link.apply(this.#channel, delta);
    if (this.listens("text") || this.listens("meta")) this.link.pump();
    return applied;
  }

  flush(): void {
    if (this.#destroyed) throw this.gone();
    // A store or a relay is told at once; and what waits to be told comes first.
    if (this.#flushing || this.store || this.#status !== "offline" || this.link.busy) return this.#seal();
    this.#flushing = true;
    try {
      this.link.flush(this.#channel, this.#tellDelta);
    } finally {
      this.#flushing = false;
    }
  }

  flushInto(target: Uint8Array, at: number): number {
    if (this.#destroyed) throw this.gone();
    if (this.store || this.#status !== "offline") {
      throw new SelvedgeError("update", "Updates of a document that is stored or has a relay are told by `update`.");
    }
    // What waits comes first.
    if (this.link.busy) this.link.pump();
    if (this.link.busy) throw new SelvedgeError("update", "`flushInto` cannot be called by a listener.");
    const length = this.link.flushInto(this.#channel, target, at);
    if (length > 0) this.tabs?.post(target.slice(at, at + length));
    return length;
  }

  #seal(): void {
    const seal = (client: Client, now: number): void => client.seal(this.#channel, now);
    // Inside a listener of an update: every listener hears of this one after that.
    if (this.#flushing) this.link.edit(seal);
    else this.link.run(seal);
  }

  applyState(state: Uint8Array): void {
    this.run((client, channel, now) => client.applyState(channel, state, now));
  }

  holdRemote(vector: Uint8Array | undefined): void {
    this.run((client, channel, now) => client.holdRemote(channel, vector, now));
  }

  stopCapturing(): void {
    this.askClient((client, channel) => client.stopCapturing(channel));
  }

  clearUndo(): void {
    this.askClient((client, channel) => client.clearUndo(channel));
  }

  setMeta(key: string, value: Uint8Array | undefined): void {
    this.#write((client, channel, now) => client.setMeta(channel, key, value, now));
    this.emit("meta"); // the machine tells of others' writes only
  }

  /** Calls the machine for something that writes but is no text edit of the caller's. */
  #write<T>(call: (client: Client, channel: number, now: number) => T): T {
    this.mayWrite();
    const result = this.link.edit((client, now) => call(client, this.#channel, now));
    this.endEdit();
    return result;
  }

  /** Calls the machine for something that is no edit: presence, what other tabs and callers hand in. */
  run<T>(call: (client: Client, channel: number, now: number) => T): T {
    if (this.#destroyed) throw this.gone();
    return this.link.run((client, now) => call(client, this.#channel, now));
  }

  handle(effect: DocumentEffect): void {
    // A document on its way out still has its store to finish; nobody is told anything else.
    if (this.#destroyed && effect.kind !== "store" && effect.kind !== "local-delta") return;
    this.#execute(effect);
    if (MAY_TURN.has(effect.kind)) this.#tellWritable();
  }

  #execute(effect: DocumentEffect): void {
    switch (effect.kind) {
      case "store":
        this.#storing = this.#store(effect.ticket, effect.transaction);
        return;
      case "patch":
        return this.#patched(effect.patches, effect.origin);
      case "meta":
        return this.emit("meta");
      case "local-delta":
        return this.#tellDelta(effect.bytes);
      case "saved":
        return this.#counted(effect.counts);
      case "status":
        if (effect.status === this.#status) return;
        // A quick answer goes from connecting to connected in one step.
        if (isOnline(effect.status) && !isOnline(this.#status)) this.takeUpSoon(0);
        this.#status = effect.status;
        return this.emit("status", effect.status);
      case "rights":
        if (effect.rights === this.#rights) return;
        this.#rights = effect.rights;
        return this.emit("rights", effect.rights);
      case "presence":
        return this.emit("presence", effect.changes);
      case "refused":
        return this.emit("refused", effect.code, effect.message);
      case "synced":
        return this.emit("synced");
      case "store-failed":
        return this.storeTrouble(new StoreError("io", effect.message));
      case "reset":
        return this.emit("reset", { generation: effect.generation, previous: effect.previous, unsentOps: effect.unsentOps });
      case "closed":
        this.#closedWith = { code: effect.code, reason: effect.reason };
        if (this.#status !== "closed") {
          this.#status = "closed";
          this.emit("status", "closed");
        }
        return this.emit("closed", effect.code, effect.reason);
    }
  }

  sessionChanged(session: number | null): void {
    this.emit("session", session);
  }

  /** Closes the document after the device has what was edited. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Closes without waiting: the page goes away. What the device was given in time is written all the same. */
  closeNow(): void {
    if (this.#destroyed) return;
    this.#stopTabs?.();
    this.emit("leaving");
    this.#destroyed = true; // from here on only the store is served
    if (!this.link.over) this.link.leave(this.#channel);
    this.emit("destroyed");
  }

  async #close(): Promise<void> {
    if (!this.#destroyed) {
      this.closeNow();
      const deadline = performance.now() + CLOSE_MS_MAX;
      const open = (): boolean => !this.link.over && this.link.ask((client) => client.isOpen(this.#channel));
      while (open() && this.#saved.deviceError === null && performance.now() < deadline) {
        await (this.#storing ?? new Promise((resolve) => setTimeout(resolve, 5)));
      }
      this.link.close(this.#channel);
    }
    await this.#storing;
    await this.store?.close();
    this.tabs?.close();
    this.clearListeners();
  }

  async #store(ticket: number, transaction: StoreTransaction): Promise<void> {
    let report: (client: Client, now: number) => void;
    try {
      if (!this.store) throw new StoreError("blocked", "Nothing is kept on this device.");
      if (this.#keepPrincipal) await this.store.adoptPrincipal(this.principal);
      this.#keepPrincipal = false;
      const outcome = await this.store.transact(this.document, transaction);
      report = outcome.kind === "written"
        ? (client, now) => client.stored(this.#channel, ticket, now)
        : (client, now) => client.storeConflict(this.#channel, ticket, outcome.stored.snapshot, now);
      this.#setDeviceError(null);
    } catch (cause) {
      const error = cause instanceof StoreError ? cause : new StoreError("io", String(cause), cause);
      report = (client, now) => client.storeFailed(this.#channel, ticket, error.reason, now);
      this.#setDeviceError(error);
    }
    this.#storing = null;
    if (this.link.has(this.#channel) && !this.link.over) this.link.run(report);
  }

  /**
   * Pushes what other tabs left in the store: any tab may push any entry of its principal. After a moment, so that a tab
   * that goes away has stored what it had.
   */
  takeUpSoon(afterMs = LEAVING_TAB_MS): void {
    if (!this.store || !this.tabs || this.#takingUp) return;
    this.#takingUp = true;
    const timer = setTimeout(() => {
      this.#takingUp = false;
      void this.#takeUp();
    }, afterMs);
    (timer as { unref?: () => void }).unref?.();
  }

  async #takeUp(): Promise<void> {
    if (this.#destroyed || this.link.over || !this.store) return;
    try {
      const entries = await this.store.outbox(this.document);
      if (this.#destroyed || this.link.over || entries.length === 0) return;
      const restored = restoredOf({ state: null, outbox: entries, frames: [] });
      this.run((client, channel, now) => client.adoptOutbox(channel, restored, now));
    } catch (cause) {
      if (!this.#destroyed) this.storeTrouble(cause instanceof StoreError ? cause : new StoreError("io", String(cause), cause));
    }
  }

  /** Says that the device keeps less than it should. */
  storeTrouble(error: StoreError): void {
    this.#setDeviceError(error);
  }

  #setDeviceError(error: StoreError | null): void {
    const message = error?.message ?? null;
    if (message === this.#saved.deviceError) return;
    this.#setSaved({ ...this.#saved, deviceError: message });
    if (error) this.emit("storeFailed", error);
  }

  /** Comes after every edit: written out, since spreading costs more than all the rest. */
  #counted({ device, region, replicated, highest, edited, oldestPendingMs }: SavedCounts): void {
    this.#setSaved({ device, region, replicated, highest, edited, oldestPendingMs, deviceError: this.#saved.deviceError });
  }

  #setSaved(state: SaveState): void {
    this.#saved = state;
    this.emit("saved", state);
  }

  protected beginEdit(): void {
    if (this.#destroyed) throw this.gone();
    this.link.settle(this.#channel);
  }

  protected replaceText(at: number, remove: number, insert: string, tracked: boolean): number {
    return this.link.replace(this.#channel, at, remove, insert, tracked);
  }

  protected stepText(type: "undo" | "redo"): number {
    return this.#write((client, channel, now) => client[type](channel, now));
  }

  protected owedPatches(): TextPatch[] {
    return this.link.takePatches();
  }

  protected override endEdit(): void {
    if (this.#edited) return;
    this.#edited = true;
    void this.store?.persist().then((granted) => {
      if (!this.#destroyed) this.emit("persisted", granted);
    });
  }

  protected mayWrite(): void {
    if (this.#destroyed) throw this.gone();
    if (!this.writable) throw new SelvedgeError("read-only", `You may not change ${this.document}.`);
  }

  protected override watchersChanged(): void {
    this.#watchMachine();
  }

  #watchMachine(): void {
    const watched = this.listens("text");
    if (watched === this.#watched || this.#channel < 0 || this.#destroyed || this.link.over) return;
    this.#watched = watched;
    this.askClient((client, channel) => client.watch(channel, watched));
  }

  #patched(patches: readonly TextPatch[], origin: PatchOrigin): void {
    if (patches.length > 0) this.tellText(patches, origin, origin);
  }

  #tellWritable(): void {
    const { writable } = this;
    if (writable === this.#writable) return;
    this.#writable = writable;
    this.emit("writable", writable);
  }
}
