/** `selvedge/indexeddb`: what a device keeps. */

export { IndexedDbStore, type IndexedDbOptions } from "./indexeddb.js";
export { MemoryStore } from "./memory.js";
export {
  StoreError,
  type OutboxEntry,
  type Store,
  type StoredDocument,
  type StoredEndpoints,
  type StoredState,
  type StoredSummary,
  type StoreTransaction,
  type TransactionOutcome,
} from "./store.js";
