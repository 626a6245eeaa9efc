/** A document's connection to the relay, as applications see it: status, rights, and how safe the text is. */

import { Emitter } from "../emitter.js";
import { abortable, SelvedgeError } from "../errors.js";
import type { Replica } from "../machine/replica.js";
import { lowerLevel, type Link, type Rights, type SaveLevel, type SaveState, type Status } from "../status.js";
import type { Awareness } from "../awareness.js";
import { ReconcileWatch, type Reconciled } from "./reconcile.js";

/** What a provider tells. */
export interface RelayEvents {
  status(event: { readonly status: Status; readonly link: Link | null }): void;
  /** Whether everything the relay had is here. */
  sync(synced: boolean): void;
  /** The same as `sync`. */
  synced(synced: boolean): void;
  saved(state: SaveState): void;
  /** Rights have changed, or whether edits are taken: not while some are refused for want of rights. */
  permission(event: { readonly read: boolean; readonly write: boolean }): void;
  /** After coming back from offline: what came in, what went out. */
  reconciled(event: Reconciled): void;
  /**
   * The relay did not take some edits: they stay on this device. For want of rights the document is read-only then; for want of
   * room (4413) text can still be taken away, and the edits are offered again once there is some.
   */
  refused(event: { readonly code: number; readonly message: string }): void;
  /** The browser's answer to being asked to keep this origin's data. */
  persisted(granted: boolean): void;
  /** The relay closed this document for good; the local text stays. */
  closed(event: { readonly code: number; readonly reason: string }): void;
}

/** A document's relay side. Made by `open()`; without relays it tells how safe the text is on this device. */
export class RelayProvider extends Emitter<RelayEvents> {
  readonly awareness: Awareness | null;
  readonly #replica: Replica;
  #synced = false;
  /** What was last told of it. */
  #mayWrite = true;

  /** @internal Made by `open()`. */
  constructor(replica: Replica, awareness: Awareness | null) {
    super();
    this.#replica = replica;
    this.awareness = awareness;
    const watch = new ReconcileWatch(replica, (event) => this.emit("reconciled", event));
    replica.on("status", (status) => {
      this.emit("status", { status, link: this.link });
      this.#setSynced(status === "connected" || status === "readonly");
      watch.status(status);
    });
    replica.on("saved", (state) => this.emit("saved", state));
    replica.on("rights", () => this.#tellPermission());
    replica.on("writable", (writable) => { if (writable !== this.#mayWrite) this.#tellPermission(); });
    replica.on("refused", (code, message) => this.emit("refused", { code, message }));
    replica.on("persisted", (granted) => this.emit("persisted", granted));
    replica.on("closed", (code, reason) => this.emit("closed", { code, reason }));
    replica.on("destroyed", () => queueMicrotask(() => this.clearListeners()));
  }

  get status(): Status {
    return this.#replica.status;
  }

  /** Whether everything the relay had when last asked is here. */
  get synced(): boolean {
    return this.#synced;
  }

  get saved(): SaveState {
    return this.#replica.saved;
  }

  get permission(): Rights {
    return this.#replica.rights;
  }

  /** The relay in use, or null while there is none. */
  get link(): Link | null {
    const current = this.#replica.link.current;
    return current && { relay: current.url, region: current.region, transport: current.transport };
  }

  /** Connects, and stays connected. Documents of one page with the same relays and token share their connection. */
  connect(): void {
    this.#replica.link.connect();
  }

  /** Goes offline until {@link connect}. Editing goes on. */
  disconnect(): void {
    this.#replica.link.disconnect();
  }

  /** Resolves once everything the relay had is here. */
  whenSynced(signal?: AbortSignal): Promise<void> {
    return abortable(signal, (resolve, reject) => {
      if (this.#synced) resolve();
      return this.#until(reject, [this.on("synced", (synced) => { if (synced) resolve(); })]);
    });
  }

  /**
   * Resolves once every edit made so far is safe at `level`, or at the highest level this deployment gives if that is lower: of
   * this load, and what earlier ones left on the device. Stays pending offline; editing meanwhile does not delay it.
   */
  whenSaved(level: SaveLevel = "region", signal?: AbortSignal): Promise<SaveState> {
    const edited = this.#replica.run((client, channel, now) => client.edited(channel, now));
    return abortable(signal, (resolve, reject) => {
      const look = (saved: SaveState): void => {
        const { ops, through } = saved[lowerLevel(level, saved.highest)];
        // What was on the device before this load comes before its first edit: without one, `through` says nothing of it.
        if (ops === 0 || through >= Math.max(edited, 1)) resolve(saved);
      };
      look(this.saved);
      return this.#until(reject, [this.#replica.on("saved", look)]);
    });
  }

  /** After `refused`: offers the edits again, as when rights came back. Those still not taken are told again. */
  retryRefused(): void {
    this.#replica.run((client, channel, now) => client.retryRefused(channel, now));
  }

  /** After `refused`: gives the edits up; the text becomes the relay's as soon as the relay can be asked for it. */
  discardRefused(): void {
    this.#replica.run((client, channel, now) => client.discardRefused(channel, now));
  }

  /** Ends a wait with the document. */
  #until(reject: (error: Error) => void, stops: (() => void)[]): () => void {
    const gone = this.#replica.on("destroyed", () => reject(new SelvedgeError("closed", "The document was closed.")));
    return () => { for (const stop of [...stops, gone]) stop(); };
  }

  #tellPermission(): void {
    this.#mayWrite = this.#replica.writable;
    this.emit("permission", { read: this.permission !== "none", write: this.#mayWrite });
  }

  #setSynced(synced: boolean): void {
    if (synced === this.#synced) return;
    this.#synced = synced;
    this.emit("sync", synced);
    this.emit("synced", synced);
  }
}
