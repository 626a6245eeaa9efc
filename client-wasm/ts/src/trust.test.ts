import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { SelvedgeError } from "./errors.js";
import { MemoryStore } from "./store/memory.js";
import { encodedList, Signer } from "./testing/lists.js";
import { Trust } from "./trust.js";

const list = (epoch: number): Uint8Array<ArrayBuffer> => encodedList(epoch, 1, "a", ["wss://a.example/v1/connect"]);

describe("Trust", () => {
  let ours: Signer;
  let next: Signer;
  let foreign: Signer;
  let trust: Trust;
  before(async () => {
    [ours, next, foreign] = await Promise.all([Signer.make(), Signer.make(), Signer.make()]);
    trust = await Trust.of([ours.pem, next.pem]);
  });

  it("verifies what each of its keys signed, and gives the bytes of the list", async () => {
    for (const signer of [ours, next]) {
      const signed = await signer.sign(list(7));
      assert.deepEqual(await trust.verify(signed), { signed, list: list(7) });
    }
  });

  it("takes a key as PEM or as the base64 in it", async () => {
    const inside = ours.pem.split("\n").filter((line) => !line.startsWith("-")).join("");
    for (const text of [ours.pem, ours.pem.replaceAll("\n", "\r\n"), inside]) {
      assert.ok(await (await Trust.of(text)).verify(await ours.sign(list(7))));
    }
  });

  it("refuses what another key signed, also in the name of a trusted one", async () => {
    assert.equal(await trust.verify(await foreign.sign(list(7))), null);
    assert.equal(await trust.verify(await foreign.sign(list(7), ours.header)), null);
  });

  it("refuses a signature of another list, and a list without one", async () => {
    const [good, later] = [await ours.sign(list(7)), await ours.sign(list(9))];
    const [header, changed] = later.split(".");
    const signature = good.split(".")[2];
    for (const forged of [`${header}.${changed}.${signature}`, `${header}.${changed}.`, `${header}.${changed}`, "", "a.b.c", `${good}.x`, `${good}=`, "x".repeat(40_000)]) {
      assert.equal(await trust.verify(forged), null, forged.slice(0, 80));
    }
  });

  it("refuses another header than its keys have, even one they signed", async () => {
    for (const header of ['{"alg":"none"}', ours.header.replace("ES256", "HS256"), ours.header.replace("selvedge-endpoints", "jwt"), `${ours.header} `]) {
      assert.equal(await trust.verify(await ours.sign(list(7), header)), null, header);
    }
  });

  it("reads the vector that every client reads", async () => {
    const file = fileURLToPath(new URL("../../../protocol/vectors/endpoints.json", import.meta.url));
    const [vector] = JSON.parse(readFileSync(file, "utf8")) as [{ readonly fields: readonly (readonly [string, string])[] }];
    const field = (note: string): Buffer => Buffer.from(vector.fields.find(([, known]) => known.startsWith(note))?.[0] ?? "", "hex");
    const golden = await Trust.of(field("public key").toString());
    const verified = await golden.verify(field("signed form").toString());
    assert.deepEqual(verified?.list, Uint8Array.from(field("the list")));
    assert.equal(golden.stored(field("signed form").toString(), 7, 1)?.key, field("name of the key").toString());
  });

  it("says what is no key, by a typed error", async () => {
    const other = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-384" }, true, ["sign", "verify"]);
    const p384 = Buffer.from(await crypto.subtle.exportKey("spki", other.publicKey)).toString("base64");
    for (const text of ["", "no key", p384, ours.pem + next.pem]) {
      await assert.rejects(Trust.of(text), (error) => error instanceof SelvedgeError && error.code === "bad-argument", text);
    }
    await assert.rejects(Trust.of([]), SelvedgeError);
  });

  it("remembers the newest list of a key that is trusted still, and believes no store without a signature", async () => {
    const store = new MemoryStore();
    assert.equal(await trust.remembered(store), null);
    const keep = async (signer: Signer, epoch: number, by: Trust): Promise<void> => {
      const kept = by.stored(await signer.sign(list(epoch)), epoch, 1);
      assert.ok(kept);
      await store.keepEndpoints(kept);
    };
    await keep(ours, 7, trust);
    await keep(next, 8, trust);
    await keep(foreign, 99, await Trust.of(foreign.pem));
    assert.deepEqual((await trust.remembered(store))?.list, list(8));
    assert.deepEqual((await (await Trust.of(ours.pem)).remembered(store))?.list, list(7), "a key that is not trusted any more has said nothing");
    await store.keepEndpoints({ key: ours.name, epoch: 50, issue: 1, signed: await foreign.sign(list(50), ours.header) });
    assert.deepEqual((await trust.remembered(store))?.list, list(8));
  });
});
