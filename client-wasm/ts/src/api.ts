/** What every entry of the package exports besides `init` and `open`. */

export { Awareness } from "./awareness.js";
export type { AwarenessChange, AwarenessCursor, AwarenessEvents, AwarenessState, AwarenessUser, PeerState } from "./awareness.js";
export { Doc, UPDATE_BYTES_MAX, type DocEvents, type DocStats } from "./doc.js";
export { SelvedgeError, type ErrorCode } from "./errors.js";
export type { ResetInfo } from "./machine/body.js";
export type { TokenSource } from "./machine/link.js";
export { SharedMeta, type MetaValue } from "./meta.js";
export type { OpenOptions, Room } from "./open.js";
export { positionFromJSON, type Position } from "./position.js";
export { RelayProvider, type RelayEvents } from "./provider/relay-provider.js";
export type { Reconciled, ReconciledRange } from "./provider/reconcile.js";
export type { Link, Pending, Rights, SaveLevel, SaveState, Status } from "./status.js";
export { SharedText } from "./text.js";
export type { ChangeSource, Delta, TextEvent, TextPatch } from "./text-event.js";
export { UndoManager, type UndoEvents, type UndoOptions } from "./undo.js";
export { isReady, type InitInput } from "./wasm/load.js";
export { saveWords, type SaveWords } from "./save-words.js";
export { UpdateDecoder, UpdateEncoder } from "./update-stream.js";
