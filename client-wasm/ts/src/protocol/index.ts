/** `selvedge/protocol`: an independent reading of the wire, for tools and tests. The package itself uses the wasm module's. */

export { CLOSE_CODES, retries, type CloseCode } from "./close-codes.js";
export { decodeFrames, FRAME_BYTES_MAX, type Frame } from "./frame.js";
export {
  StreamReader, type Inflate, type Dots, type PathElement, type StreamDelta, type StreamOp, type StreamPiece, type StreamPlace, type StreamRebase,
} from "./stream.js";
export { MalformedError, Reader } from "./reader.js";
export { decodeVector, dominates, encodeVector, type VersionVector } from "./vector.js";
export { decodeMessage, readInteger, type DecodedField, type DecodedMessage, type FieldValue } from "./messages.js";
