/** `selvedge/provider`: the relay side of a document, and the ways to reach one. */

export { RelayProvider, type RelayEvents } from "./relay-provider.js";
export type { Reconciled, ReconciledRange } from "./reconcile.js";
export type { Link, Pending, Rights, SaveLevel, SaveState, Status } from "../status.js";
export type { Transport, TransportConnection, TransportListener } from "../transport/transport.js";
export { WebTransportTransport, type StreamLike, type WebTransportConstructor, type WebTransportLike, type WebTransportOptions } from "../transport/webtransport.js";
export { WebSocketTransport, websocketUrl, type WebSocketConstructor, type WebSocketLike } from "../transport/websocket.js";
