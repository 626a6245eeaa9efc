/** Fails to compile when the hand-written declarations of the facade say more than the generated ones. */

import type * as Generated from "../generated/selvedge.js";
import type * as Written from "../src/wasm/selvedge.js";

/** What the module really offers, as what the package uses. */
export function offered(module: typeof Generated): typeof Written {
  return module;
}
