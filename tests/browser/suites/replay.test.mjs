import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { freshName, scene } from "../lib/scene.mjs";

// The people of a recording need not keep to what one writer may send.
const LIMITS = ["frames", "ops"].flatMap((what) => [`--${what}-per-second`, "1000000", `--${what}-burst`, "1000000"]);
const SCRIPT = join(import.meta.dirname, "../replay.mjs");
const OWN = join(import.meta.dirname, "../../traces/on-edges.json");

const stage = scene({ flags: LIMITS });
let folder;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-replay-"));
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the command as its users do: exit status and everything it said. */
function replay(file, ...flags) {
  return new Promise((resolve) => {
    execFile(process.execPath, [SCRIPT, file, "--relay", stage.relay.origin, ...flags], (error, stdout, stderr) => resolve({ code: error === null ? 0 : error.code, said: stdout + stderr }));
  });
}

/** A file with this recording. */
function recording(name, trace) {
  const file = join(folder, `${name}.json`);
  writeFileSync(file, typeof trace === "string" ? trace : JSON.stringify(trace));
  return file;
}

test("the project's own recording ends with its text in two pages and at the relay", async () => {
  const [name, json] = [freshName("own"), join(folder, "rows.json")];
  const { endContent, txns } = JSON.parse(readFileSync(OWN, "utf8"));
  const { code, said } = await replay(OWN, "--name", name, "--json", json);
  assert.equal(code, 0, said);
  assert.match(said, new RegExp(`${txns.length} transactions of 2 people, through 2 browsers`));
  assert.match(said, new RegExp(`ok: all clients and the relay have the recording's ${[...endContent].length} characters`));
  assert.equal(await stage.relay.text(name), endContent);
  const figures = JSON.parse(readFileSync(json, "utf8")).map(({ figure, value, verified }) => [figure, verified, figure.endsWith("differs") ? value : value > 0]);
  assert.deepEqual(figures, [["browsers_wall", true, true], ["browsers_transactions_per_s", true, true], ["browsers_end_differs", true, 0]]);
});

/** Three people: two write at one place without knowing of each other, the third knows both. */
const THREE = {
  kind: "concurrent", numAgents: 3, startContent: "", endContent: "[o\u{1f600}ne]!",
  txns: [
    { agent: 0, parents: [], patches: [[0, 0, "[]"]] },
    { agent: 1, parents: [0], patches: [[1, 0, "one"]] },
    { agent: 2, parents: [0], patches: [[1, 0, "\u{1f600}"]] },
    { agent: 0, parents: [1, 2], patches: [[6, 0, "!"]] },
  ],
};

test("a recording of three people that merged in another order is told with its first transaction that differs", async () => {
  // Which of two pieces at one place comes first is drawn anew each time; that one goes into the other never happens.
  const { code, said } = await replay(recording("three", THREE), "--name", freshName("three"));
  assert.equal(code, 0, said);
  assert.match(said, /4 transactions of 3 people, through 3 browsers/);
  assert.match(
    said,
    /ok: all clients and the relay agree on 7 characters\. The recording merged in another order, first by transaction 1: from character [12] it has "(o\u{1f600}|\u{1f600})ne\]!", we have "(\u{1f600}one|ne\u{1f600})\]!"/u,
  );
});

test("a transaction that does not fit the text before it is the first that differs", async () => {
  const { code, said } = await replay(recording("misfit", { endContent: "abc", txns: [{ patches: [[0, 0, "ab"]] }, { patches: [[5, 0, "c"]] }] }));
  assert.equal(code, 0, said);
  assert.match(said, /2 transactions of one person, through 2 browsers/);
  assert.match(said, /agree on 3 characters\. The recording merged in another order, first by transaction 1: from character 3 it has "", we have ""/);
});

test("a file that is no recording is refused by its name, its place and its problem", async () => {
  const two = (txns) => ({ kind: "concurrent", numAgents: 2, endContent: "", txns });
  for (const [trace, problem] of [
    ["[1, 2", /^replay: \S+broken\.json: no recording: /],
    [{ txns: [] }, /broken\.json: no recording: it needs endContent and txns/],
    [{ kind: "other", endContent: "", txns: [] }, /broken\.json: kind "other" is neither/],
    [{ kind: "concurrent", numAgents: 9, endContent: "", txns: [] }, /broken\.json: numAgents is 9: replay in browsers takes 1 to 8/],
    [two([{ agent: 0, patches: [] }]), /broken\.json: transaction 0: it has no parents/],
    [two([{ agent: 2, parents: [], patches: [] }]), /broken\.json: transaction 0: agent 2 of 2/],
    [two([{ agent: 0, parents: [0], patches: [] }]), /transaction 0: its parent 0 does not come before it/],
    [{ endContent: "", txns: [{ patches: [[0, -1, ""]] }] }, /transaction 0: a patch is not \[at, delete, insert\]/],
  ]) {
    const { code, said } = await replay(recording("broken", trace));
    assert.equal(code, 1, said);
    assert.match(said, problem);
    assert.equal(said.trim().split("\n").length, 1, "one line, no trace of a program");
  }
  const { code, said } = await replay(join(folder, "no-such.json"));
  assert.equal(code, 1);
  assert.match(said, /no-such\.json: .*; name a recording/);
});
