/** An issuer of tokens for tests: a key of its own, and the relay's word that it is believed. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ISSUED = ["--jwt-issuer", "https://issuer.test", "--jwt-audience", "selvedge-tests"];

/** Mints tokens by the relay's own program. */
export class Issuer {
  readonly #program: string;
  readonly #folder = mkdtempSync(join(tmpdir(), "selvedge-issuer-"));
  readonly #key = join(this.#folder, "key.pem");
  /** Flags of a relay that believes this issuer. */
  readonly flags: readonly string[];

  constructor(program: string) {
    this.#program = program;
    const jwks = join(this.#folder, "jwks.json");
    this.#run("key", this.#key);
    writeFileSync(jwks, this.#run("jwks", "--key", this.#key));
    this.flags = [...ISSUED, "--jwt-algorithm", "ES256", "--jwks-file", jwks];
  }

  /** A token of the principal `user:SUBJECT`; what it may do is up to whoever made a document. */
  token(subject: string): string {
    return this.#run("mint", "--key", this.#key, ...ISSUED, "--subject", subject).trim();
  }

  /** Takes the key away. */
  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #run(...args: string[]): string {
    return execFileSync(this.#program, ["token", ...args], { encoding: "utf8" });
  }
}
