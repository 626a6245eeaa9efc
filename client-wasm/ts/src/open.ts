/** `open()`: one call from a name to a text that is stored, shared between tabs and connected. */

import { Awareness } from "./awareness.js";
import { anonymousPrincipal, beginAdoption, devicePrincipal, isAnonymous } from "./device.js";
import { Doc } from "./doc.js";
import { abortReason, facadeError, SelvedgeError } from "./errors.js";
import { instant, randomSeed } from "./machine/environment.js";
import { Link, type EndpointKeeper, type TokenSource } from "./machine/link.js";
import { Replica } from "./machine/replica.js";
import { restoredOf } from "./machine/restored.js";
import { watchPage } from "./page.js";
import { RelayProvider } from "./provider/relay-provider.js";
import { begin } from "./room-start.js";
import { IndexedDbStore } from "./store/indexeddb.js";
import { StoreError, type Store, type StoredDocument } from "./store/store.js";
import { Tabs } from "./tabs.js";
import type { SharedText } from "./text.js";
import { Carriers } from "./transport/carriers.js";
import type { Transport } from "./transport/transport.js";
import { Trust, type VerifiedList } from "./trust.js";
import { UndoManager } from "./undo.js";
import { facade, type DefaultSource, type InitInput } from "./wasm/load.js";
import type { Restored } from "./wasm/selvedge.js";

/** How to open a document. Everything has a default. */
export interface OpenOptions {
  /** Relays to connect to, best first: `https://relay.example.com`. Absent: this device and its tabs only. */
  readonly relays?: string | readonly string[];
  /**
   * Public keys (P-256, PEM or the base64 in it) of whoever signs this deployment's list of endpoints. With any, other relays
   * are learnt from lists that one of them signed and from nothing else, and the newest list is kept on the device; absent:
   * relays are believed. Two are given while one is replaced by another.
   */
  readonly trust?: string | readonly string[];
  /** Shown to the relay; a function is called whenever a fresh one is needed. */
  readonly token?: TokenSource;
  /** Who writes: the token's principal. Absent: this device's own anonymous one. */
  readonly principal?: string;
  /**
   * At the first sign-in: with a `principal`, take over what this device wrote into the document anonymously and no relay has.
   * It is sent once, as this principal's. Otherwise it stays on the device, as does what any other principal wrote there: false.
   */
  readonly adopt?: boolean;
  /** Tenant of a bare name; `default` if absent. */
  readonly tenant?: string;
  /**
   * What a document begins with that nobody has written yet, at most 16 KiB. Devices that begin it with the same text, even
   * offline, have it once; where it turns out to have begun otherwise, this text is given up.
   */
  readonly initialText?: string;
  /** Keep the document on this device: true where there is IndexedDB. A store of one's own may be given; it is closed with the document. */
  readonly persist?: boolean | Store;
  /** Share with other tabs directly: true where there is BroadcastChannel. */
  readonly crossTab?: boolean;
  /** Connect at once: true. */
  readonly connect?: boolean;
  /** Presence: true. */
  readonly awareness?: boolean;
  /** Edits closer together than this many milliseconds are one undo step: 500. */
  readonly captureTimeout?: number;
  /** Whose edits are undo steps, as in {@link UndoManager}: everybody's in this page. An editor bound to the text adds itself. */
  readonly trackedOrigins?: Iterable<unknown>;
  /** How to reach relays. `auto`: WebTransport, and half a second later WebSocket beside it: the first to answer is used. */
  readonly transport?: "auto" | "webtransport" | "websocket";
  /** Ways to reach a relay of one's own making, best first, instead of `transport`. */
  readonly transports?: readonly Transport[];
  /** Source of the wasm module: the file in this package. */
  readonly wasm?: InitInput | Promise<InitInput>;
  /** Ends the opening. */
  readonly signal?: AbortSignal;
}

/** An open document with everything around it. */
export interface Room {
  readonly doc: Doc;
  readonly text: SharedText;
  readonly awareness: Awareness;
  readonly undo: UndoManager;
  readonly relay: RelayProvider;
  /** The device's store, or null when nothing is kept. */
  readonly store: Store | null;
  /** Resolves when the relay's text is here; at once without relays. */
  readonly ready: Promise<void>;
  /** Closes everything once the device has every edit. Idempotent. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const CLIENT_NAME = "selvedge-js/0.1.0";
/** Documents one connection carries. */
const DOCUMENTS_MAX = 64;

/** A link with what tells it apart, null for one that is not shared, so that documents of one page share their connection. */
interface Shared { readonly key: string | null; readonly relay: string | undefined; readonly link: Link; readonly replicas: Map<Replica, Awareness | null> }

const shared: Shared[] = [];
const tokenNumbers = new WeakMap<object, number>();
let tokenCount = 0;

/** `open()` with the place its module comes from. */
export async function openFrom(source: DefaultSource, name: string, options: OpenOptions = {}): Promise<Room> {
  const { signal } = options;
  const stopIfAborted = (): void => { if (signal?.aborted) throw abortReason(signal); };
  stopIfAborted();
  const starting = begin(options.wasm, source);
  // The way to the relay is made while the device is read.
  const carriers = new Carriers(options.transport ?? "auto");
  prepare(carriers, options);
  const store = storeOf(options);
  let tabs: Tabs | null = null;
  let adoption: (() => void) | null = null;
  try {
    // The device is read while the module is fetched.
    const identity = identityOf(options, store);
    const trust = options.trust === undefined ? null : await Trust.of(options.trust);
    const remembered = rememberedBy(trust, store);
    await Promise.all([starting, identity, remembered]);
    stopIfAborted();
    const document = documentName(name, options.tenant);
    // Listening begins before reading: a delta another tab stores meanwhile is not missed.
    tabs = wantsTabs(options) ? new Tabs(document) : null;
    // Decided before reading: what another tab took over is no longer there.
    if (store && options.adopt === true && options.principal !== undefined) adoption = await beginAdoption(document);
    const stored = store ? await readStore(store, document) : { found: null, problem: null };
    stopIfAborted();
    return connectRoom({ document, options, carriers, tabs, store: stored.problem ? null : store, stored: stored.found, problem: stored.problem, adoption, trust, remembered: await remembered, ...(await identity) });
  } catch (error) {
    adoption?.();
    carriers.discard();
    tabs?.close();
    await store?.close();
    starting.catch(() => undefined);
    throw error;
  }
}

interface Ingredients {
  readonly document: string;
  readonly options: OpenOptions;
  readonly carriers: Carriers;
  readonly tabs: Tabs | null;
  readonly store: Store | null;
  readonly stored: StoredDocument | null;
  readonly problem: StoreError | null;
  /** Ends this tab's turn to take over what was written anonymously; null: it does not. */
  readonly adoption: (() => void) | null;
  readonly trust: Trust | null;
  /** The newest list of endpoints that an earlier load kept. */
  readonly remembered: VerifiedList | null;
  readonly principal: string;
  readonly kept: boolean;
}

function connectRoom(parts: Ingredients): Room {
  const { document, options, tabs, store, principal, adoption } = parts;
  const relays = relaysOf(options.relays);
  const place = placeFor(document, relays, principal, parts);
  const replica = new Replica({
    document, principal, link: place.link, store, tabs,
    keepPrincipal: !parts.kept && options.principal === undefined,
    storeProblem: parts.problem,
  });
  openChannel(place.link, replica, { stored: parts.stored, adopt: adoption !== null, initialText: options.initialText });
  const awareness = new Awareness(replica);
  place.replicas.set(replica, awareness);
  const doc = new Doc(replica);
  const undo = new UndoManager(doc, options);
  const relay = new RelayProvider(replica, awareness);
  replica.on("destroyed", () => {
    place.replicas.delete(replica);
    adoption?.();
  });
  if (options.connect !== false && relays.length > 0) relay.connect();
  const ready = relays.length > 0 ? relay.whenSynced() : Promise.resolve();
  ready.catch(() => undefined); // nobody has to wait for it
  const close = (): Promise<void> => replica.close();
  return { doc, text: doc.text, awareness, undo, relay, store, ready, close, [Symbol.asyncDispose]: close };
}

/** Begins on the way to the relay, unless a connection of this page may be shared. */
function prepare(carriers: Carriers, options: OpenOptions): void {
  const [first] = relaysOf(options.relays);
  if (first === undefined || options.connect === false || options.transports) return;
  if (!shared.some((place) => place.relay === first)) carriers.prepare(first);
}

/** The link for a document: one that goes to the same place in the same name, has room, and has not got it yet. */
function placeFor(document: string, relays: readonly string[], principal: string, { options, carriers, trust, remembered }: Ingredients): Shared {
  const key = relays.length === 0 || options.transports ? null
    : JSON.stringify([relays, principal, tokenKey(options.token ?? null), options.transport ?? "auto", options.trust ?? null]);
  const usable = key !== null && shared.find((place) => place.key === key
    && place.replicas.size < DOCUMENTS_MAX && ![...place.replicas.keys()].some((replica) => replica.document === document));
  if (usable) {
    carriers.discard();
    return usable;
  }
  // In open mode the device's principal stands where a token would.
  const token: TokenSource = options.token ?? principal;
  const { Client } = facade();
  const transports = relays.length === 0 ? [] : options.transports ?? carriers.all;
  const names = transports.filter(({ supported }) => supported).map(({ name }) => name);
  const client = new Client([...relays], names, typeof token === "string" ? token : undefined, randomSeed(), CLIENT_NAME, trust !== null, instant());
  if (remembered) client.restoreEndpoints(remembered.signed, remembered.list, instant());
  const replicas = new Map<Replica, Awareness | null>();
  const link = new Link({
    client, token, transports,
    endpoints: trust ? keeperOf(trust, () => [...replicas.keys()].map(({ store }) => store)) : undefined,
    onEmpty: () => {
      stopWatching();
      const index = shared.indexOf(place);
      if (index >= 0) shared.splice(index, 1);
    },
  });
  const place: Shared = { key, relay: relays[0], link, replicas };
  const stopWatching = watchPage(link, {
    hidden: (forever) => {
      for (const awareness of replicas.values()) awareness?.suspend();
      if (!forever) return;
      for (const replica of [...replicas.keys()]) {
        replica.closeNow();
        replica.tabs?.close();
      }
    },
    shown: () => { for (const awareness of replicas.values()) awareness?.resume(); },
  });
  shared.push(place);
  return place;
}

/** Lists of endpoints, verified by `trust` and kept in a store of one of the documents that are open. */
function keeperOf(trust: Trust, stores: () => readonly (Store | null)[]): EndpointKeeper {
  return {
    verify: async (signed) => (await trust.verify(signed))?.list ?? null,
    keep: async (signed, epoch, issue) => {
      const list = trust.stored(signed, epoch, issue);
      const store = stores().find((candidate) => candidate !== null);
      if (list && store) await store.keepEndpoints(list);
    },
  };
}

/** What an earlier load kept; a device that cannot be read has kept nothing, and says so when the document is read. */
async function rememberedBy(trust: Trust | null, store: Store | null): Promise<VerifiedList | null> {
  try {
    return trust && store ? await trust.remembered(store) : null;
  } catch {
    return null;
  }
}

/** What a document begins with on this device. */
interface Beginning { readonly stored: StoredDocument | null; readonly adopt: boolean; readonly initialText: string | undefined }

/** Opens the channel with what the device had; a state that cannot be read is left for the relay to replace. */
function openChannel(link: Link, replica: Replica, { stored: found, adopt, initialText }: Beginning): void {
  const attach = (channel: number): Replica => replica.attach(channel);
  const { document, principal } = replica;
  const open = (restored: Restored | undefined): void => link.open({ document, principal, store: replica.store !== null, restored, adopt, initialText }, attach);
  // The machine takes over all it is given: what somebody else wrote here, signed in, is not.
  const stored = found && adopt ? { ...found, outbox: found.outbox.filter((entry) => entry.principal === principal || isAnonymous(entry.principal)) } : found;
  if (!stored || (!stored.state && stored.outbox.length === 0)) return open(undefined);
  try {
    open(restoredOf(stored));
  } catch (cause) {
    if (!stored.state) throw cause;
    open(restoredOf({ ...stored, state: null }));
    replica.storeTrouble(new StoreError("io", "The copy on this device could not be read; the relay's is used.", cause));
  }
}

async function identityOf(options: OpenOptions, store: Store | null): Promise<{ principal: string; kept: boolean }> {
  if (options.principal !== undefined) return { principal: options.principal, kept: true };
  if (!store) return { principal: anonymousPrincipal(), kept: true };
  try {
    return await devicePrincipal(store);
  } catch {
    return { principal: anonymousPrincipal(), kept: false }; // the store says why when the document is read
  }
}

async function readStore(store: Store, document: string): Promise<{ found: StoredDocument | null; problem: StoreError | null }> {
  try {
    return { found: await store.load(document), problem: null };
  } catch (error) {
    // A browser that refuses storage (private mode) still edits; the save state says that the device keeps nothing.
    return { found: null, problem: error instanceof StoreError ? error : new StoreError("io", String(error), error) };
  }
}

function storeOf({ persist }: OpenOptions): Store | null {
  if (typeof persist === "object") return persist;
  return (persist ?? true) && IndexedDbStore.supported ? new IndexedDbStore() : null;
}

function wantsTabs({ crossTab }: OpenOptions): boolean {
  return (crossTab ?? typeof window !== "undefined") && typeof BroadcastChannel !== "undefined";
}

function relaysOf(relays: string | readonly string[] | undefined): string[] {
  return relays === undefined ? [] : typeof relays === "string" ? [relays] : [...relays];
}

function documentName(name: string, tenant: string | undefined): string {
  const full = name.includes("/") || tenant === undefined ? name : `${tenant}/${name}`;
  try {
    return facade().documentName(full);
  } catch (cause) {
    throw new SelvedgeError("bad-document", `"${full}" is no document name: ${facadeError(cause).message}`, { cause });
  }
}

function tokenKey(token: TokenSource): string | number | null {
  if (typeof token !== "function") return token;
  let number = tokenNumbers.get(token);
  if (number === undefined) tokenNumbers.set(token, (number = ++tokenCount));
  return number;
}
