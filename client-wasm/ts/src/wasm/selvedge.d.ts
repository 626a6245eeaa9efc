/**
 * The facade of `client-wasm/src`, as this package uses it. Hand-written so that the package type-checks before the
 * module is built; a test compares it with the generated declarations.
 *
 * Instants are whole milliseconds of a monotonic clock. Positions in text are UTF-16 units. Sites are opaque strings.
 */

/** What a module can be made of. */
export type InitInput = RequestInfo | URL | Response | BufferSource | WebAssembly.Module;

/** What a started module has beside its classes. */
export interface Started {
  readonly memory: WebAssembly.Memory;
}

/** Compiles and starts the module; without an argument it is fetched from beside this file. */
export default function init(input?: { module_or_path: InitInput | Promise<InitInput> }): Promise<Started>;
/** The same from bytes or a compiled module, at once. */
export function initSync(input: { module: BufferSource | WebAssembly.Module }): Started;

/** Receives what the machine wants done, one call an item. It must only write down: calling the machine back is an error. */
export interface Shell {
  connect(attempt: number, url: string, transport: string, certificates: Uint8Array): void;
  send(attempt: number, bytes: Uint8Array): void;
  disconnect(attempt: number, code: number): void;

  outboxPut(site: string, first: number, last: number, principal: string, bytes: Uint8Array, acked: number): void;
  outboxDelete(site: string, first: number): void;
  framePut(site: string, first: number, bytes: Uint8Array): void;
  frameDelete(site: string, first: number): void;
  statePut(vector: Uint8Array, generation: number, highest: string, position: Uint8Array | undefined, snapshot: Uint8Array, replace: boolean): void;
  /** Closes the transaction begun by the five above. */
  store(channel: number, ticket: number): void;

  textPatch(at: number, remove: number, insert: string): void;
  /** Closes the list begun by `textPatch`. */
  patch(channel: number, origin: string): void;

  localDelta(channel: number, bytes: Uint8Array): void;
  metaChanged(channel: number): void;
  savedAt(level: number, ops: number, bytes: number, through: number): void;
  /** Closes the three levels begun by `savedAt`. */
  saved(channel: number, edited: number, oldestPendingMs: number, highest: number): void;
  status(channel: number, status: string): void;
  rights(channel: number, rights: string): void;

  presenceChange(session: number, data: Uint8Array | undefined, user: string | undefined): void;
  /** Closes the list begun by `presenceChange`. */
  presence(channel: number): void;

  /** Without a channel: for the connection. */
  tokenNeeded(channel: number | undefined): void;
  /** Asks whether a trusted key has signed it; answer with `endpointsVerified` or `endpointsForged`. One at a time. */
  verifyEndpoints(signed: string): void;
  /** Holds from now on, and is to be kept for the next load. */
  keepEndpoints(signed: string, epoch: number, issue: number): void;
  endpointsRefused(message: string): void;
  linkUp(url: string, region: string, transport: string, session: number, rttMs: number): void;
  linkDown(): void;
  synced(channel: number): void;
  refused(channel: number, code: number, message: string): void;
  storeFailed(channel: number, message: string): void;
  reset(channel: number, generation: number, previous: Uint8Array, unsentOps: number): void;
  closed(channel: number, code: number, reason: string): void;
}

/** What a store kept of a document, handed to `Client.open`. */
export class Restored {
  constructor(generation: number, state: Uint8Array | undefined, position: Uint8Array | undefined, highest: string | undefined);
  /** Adds one entry of the outbox. */
  outbox(site: string, first: number, last: number, principal: string, bytes: Uint8Array, acked: string): void;
  /** Adds one kept frame; a damaged one is left out. */
  frame(bytes: Uint8Array): void;
  free(): void;
  [Symbol.dispose](): void;
}

/** The protocol's client machine: one connection, many documents by channel. */
export class Client {
  constructor(urls: string[], transports: string[], token: string | undefined, seed: bigint, name: string, signed: boolean, now: number);
  free(): void;
  [Symbol.dispose](): void;

  /** Opens `document` on a new channel. Throws for a name outside the limits or a state that does not decode. */
  open(document: string, principal: string, siteSeed: bigint, store: boolean, restored: Restored | undefined, adopt: boolean, initialText: string | undefined, now: number): number;
  /** Closes the channel; says bye where it can. */
  close(channel: number, now: number): void;

  /** Hands everything the machine wants done to `shell`. */
  drain(shell: Shell): void;
  /** When `tick` wants to be called next. */
  deadline(): number | undefined;
  tick(now: number): void;

  goOnline(now: number): void;
  goOffline(now: number): void;
  setActive(active: boolean, now: number): void;
  provideToken(channel: number | undefined, token: string | undefined, now: number): void;

  connectOpened(attempt: number, now: number): void;
  connectFailed(attempt: number, now: number): void;
  received(attempt: number, bytes: Uint8Array, now: number): void;
  disconnected(attempt: number, code: number, reason: string, now: number): void;

  /** The list that an earlier load kept, verified again. */
  restoreEndpoints(signed: string, list: Uint8Array, now: number): void;
  endpointsVerified(list: Uint8Array, now: number): void;
  endpointsForged(now: number): void;

  stored(channel: number, ticket: number, now: number): void;
  /** Another tab stored `state`, which ours does not cover. */
  storeConflict(channel: number, ticket: number, state: Uint8Array, now: number): void;
  storeFailed(channel: number, ticket: number, reason: string, now: number): void;
  /** Throws why the last call through the window was refused. */
  explain(): void;
  /** The delta in the window, which another tab stored or a caller brought: 1; 0 when one before it is missing; -1: `explain`. */
  applyFromTab(channel: number, length: number, now: number): number;
  /**
   * Seals what was edited until now, and puts the next delta that nobody was told of into the window, where nobody stores. Its length;
   * less than 0: more of them wait.
   */
  flush(channel: number, now: number): number;

  /** Whether changes of the text that come from elsewhere are told. */
  watch(channel: number, watched: boolean): void;

  /** Takes up entries of the outbox that another tab stored; consumes `entries`, whose state is not looked at. */
  adoptOutbox(channel: number, entries: Restored, now: number): void;

  /**
   * Replaces text by what is in the window; how many echo patches `takePatches` has for the editor (normally 0), or -1: `explain`.
   * `tracked`: as an undo step.
   */
  edit(channel: number, at: number, remove: number, length: number, tracked: boolean, now: number): number;
  /** The same for text with lone surrogates, which comes along; throws. */
  editUtf16(channel: number, at: number, remove: number, insert: Uint16Array, tracked: boolean, now: number): number;
  /** Tells the patches the last edit, undo or redo owes the editor, as `textPatch` calls. */
  takePatches(shell: Shell): void;
  setMeta(channel: number, key: string, value: Uint8Array | undefined, now: number): void;
  meta(channel: number, key: string): Uint8Array | undefined;
  metaKeys(channel: number): string[];
  /** Returns how many patches `takePatches` has. */
  undo(channel: number, now: number): number;
  redo(channel: number, now: number): number;
  canUndo(channel: number): boolean;
  canRedo(channel: number): boolean;
  stopCapturing(channel: number): void;
  clearUndo(channel: number): void;

  text(channel: number): string;
  slice(channel: number, from: number, to: number): string;
  length(channel: number): number;
  generation(channel: number): number;
  site(channel: number): string | undefined;
  authorAt(channel: number, at: number): string | undefined;
  /** `after`: the anchor stays with the character on its right. */
  anchorAt(channel: number, at: number, after: boolean): Uint8Array;
  /** Throws for bytes that are no anchor. */
  resolve(channel: number, anchor: Uint8Array): number;

  /** Seals what was edited until now: the vector then ends where a delta does. */
  seal(channel: number, now: number): void;
  vector(channel: number): Uint8Array;
  /** Keeps remote deltas beyond `vector` aside until it is raised or taken away. */
  holdRemote(channel: number, vector: Uint8Array | undefined, now: number): void;
  /** Whether this replica has seen everything `vector` has. */
  covers(channel: number, vector: Uint8Array): boolean;
  /** What a peer at `since` lacks; the whole state without it. */
  stateDiff(channel: number, since: Uint8Array | undefined): Uint8Array;
  /** Everything, with a checksum. */
  snapshot(channel: number): Uint8Array;
  /** The same for another tab; nothing if it has everything. */
  newsFor(channel: number, since: Uint8Array): Uint8Array | undefined;
  applyState(channel: number, diff: Uint8Array, now: number): void;
  /** Named figures, in order: liveUtf16, liveBytes, encodedBytes, runs, sites, depthMax, pendingDeletes. */
  stats(channel: number): Float64Array;

  /** Number of the latest edit of this load: a level whose `through` has reached it has everything made until now. */
  edited(channel: number, now: number): number;
  /** Whether edits are accepted now. */
  mayEdit(channel: number): boolean;
  /** Whether the channel is there: a closed one goes once its store is done. */
  isOpen(channel: number): boolean;
  /** Pushes again what was refused for good. */
  retryRefused(channel: number, now: number): void;
  /** Gives up what was refused for good. */
  discardRefused(channel: number, now: number): void;

  setPresence(channel: number, data: Uint8Array | undefined, now: number): void;
}

/** What can be asked of a document. */
export interface Reading {
  text(): string;
  slice(from: number, to: number): string;
  length(): number;
  site(): string | undefined;
  authorAt(at: number): string | undefined;
  /** `after`: the anchor stays with the character on its right. */
  anchorAt(at: number, after: boolean): Uint8Array;
  /** Throws for bytes that are no anchor. */
  resolve(anchor: Uint8Array): number;
  vector(): Uint8Array;
  /** Whether this replica has seen everything `vector` has. */
  covers(vector: Uint8Array): boolean;
  /** What a peer at `since` lacks; the whole state without it. */
  stateDiff(since: Uint8Array | undefined): Uint8Array;
  /** Everything, with a checksum. */
  snapshot(): Uint8Array;
  /** Named figures, as `Client.stats`. */
  stats(): Float64Array;
  meta(key: string): Uint8Array | undefined;
  metaKeys(): string[];
  canUndo(): boolean;
  canRedo(): boolean;
}

export interface Standalone extends Reading {}
/** A document without a client. What is called for each edit and update goes through the window. */
export class Standalone {
  /**
   * `seed`: random bits, never twice the same. Throws for a `snapshot` that is none. Of one, nothing but `text` may be called before
   * `read`.
   */
  constructor(seed: bigint, snapshot: Uint8Array | undefined);
  free(): void;
  [Symbol.dispose](): void;

  /** Reads what waits of a snapshot; throws, each time, if that cannot be read. */
  read(): void;
  /** As `Client.edit`. */
  edit(at: number, remove: number, length: number, tracked: boolean): number;
  editUtf16(at: number, remove: number, insert: Uint16Array, tracked: boolean): number;
  /** Throws why the last call through the window was refused. */
  explain(): void;
  /** As `Client.flush`. */
  flush(): number;
  /** The delta in the window: 1; 2 when it changed `meta`; 0 when one before it is missing; -1: `explain`. */
  apply(length: number): number;
  /** Whether `meta` changed. `watched`: what it changes of the text is kept for `takePatches`. */
  applyState(diff: Uint8Array, watched: boolean): boolean;
  /** Tells the patches of the last edit, undo, redo or state, as `textPatch` calls. */
  takePatches(shell: Shell): void;
  /** Tells what the last update changed, in the same way. */
  takeChanges(shell: Shell): void;
  setMeta(key: string, value: Uint8Array | undefined): void;
  /** Returns how many patches `takePatches` has. */
  undo(): number;
  redo(): number;
  stopCapturing(): void;
  clearUndo(): void;
}

/** The writing side of a stream of updates; `state` is where another left it. */
export class UpdateEncoder {
  constructor(state: Uint8Array | undefined);
  encode(update: Uint8Array): Uint8Array;
  state(): Uint8Array;
  free(): void;
}

/** The reading side. */
export class UpdateDecoder {
  constructor(state: Uint8Array | undefined);
  /** The updates of a message, each behind its length in four bytes, little-endian. */
  decode(message: Uint8Array): Uint8Array;
  free(): void;
}

/** The full form of a document's name. Throws for one outside the limits. */
export function documentName(name: string): string;
/** Where the window of all clients is, made to hold `bytes`: it stays there until the next call. */
export function callWindow(bytes: number): number;
