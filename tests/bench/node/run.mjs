/**
 * The npm package beside other text CRDTs: `node run.mjs --traces DIR --json FILE [--runs N] [--subject NAME] [--case NAME]`.
 * Every run is a process of its own, and the subjects take turns, so that a slow minute of the machine is slow for all. Where another
 * comes close to ours, both have twice as many turns again.
 * Who does not finish one in five minutes is stopped, and has no figures in that case.
 */

import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { madeUp, recordings, START } from "./cases.mjs";
import { sizes } from "./sizes.mjs";
import { SUBJECTS } from "./subjects/index.mjs";

const RUN_MS_MAX = 300_000;
/** A case is repeated only while it has taken less: its median would tell nothing more. */
const PATIENCE_MS = 60_000;
/** Close to ours is whose time in some figure is up to so many times ours, or ours so many times theirs. */
const CLOSE = 1.25;
const SUITE = "wasm";

const { values: options } = parseArgs({
  options: {
    traces: { type: "string" },
    json: { type: "string" },
    runs: { type: "string", default: "7" },
    subject: { type: "string", default: "" },
    case: { type: "string", default: "" },
  },
});
const runs = Number(options.runs);
const rows = [];
/** Ours has to finish everything. */
let unfinished = false;

if (options.case === "") {
  for (const [subject, { script, module }] of Object.entries(await sizes())) {
    // A page loads both, and where the border between them is, is nobody's business.
    const value = script + (module ?? 0);
    console.error(`package: ${subject}, ${value} B after gzip, ${script} of them script`);
    rows.push({ suite: SUITE, case: "package", subject, figure: "gzip_bytes", value, unit: "B", runs: 1, verified: true });
  }
}
const names = [START, ...[...recordings(options.traces, (why) => console.error(why)), ...madeUp()].map(({ name }) => name)];
for (const name of names.filter((each) => each.includes(options.case))) {
  rows.push(...await measured(SUBJECTS.filter((each) => each.includes(options.subject)), name));
}
writeFileSync(options.json, `${JSON.stringify(rows)}\n`);
process.exitCode = unfinished ? 1 : 0;

/** The rows of one case, of all who finished it. */
async function measured(subjects, name) {
  const taken = new Map(subjects.map((subject) => [subject, { all: [], ms: 0 }]));
  const turns = async (count, who) => {
    for (let turn = 0; turn < count; turn++) {
      for (const [subject, own] of taken) {
        if (own.ms >= PATIENCE_MS || !who.has(subject)) continue;
        const begin = Date.now();
        const one = await run(subject, name);
        own.ms += Date.now() - begin;
        if (one === null) taken.delete(subject);
        else own.all.push(one);
      }
    }
  };
  await turns(runs, new Set(subjects));
  await turns(2 * runs, close(taken));
  return [...taken].flatMap(([subject, { all, ms }]) => {
    console.error(`${name}: ${subject}, ${all.length} runs in ${(ms / 1000).toFixed(1)} s`);
    const verified = all.every((one) => one.verified);
    return Object.entries(all[0].figures).map(([figure, [, unit]]) => {
      return { suite: SUITE, case: name, subject, figure, value: median(all, figure), unit, runs: all.length, verified };
    });
  });
}

/** Ours and those that come close to it in a time: more runs tell nothing new of a size. */
function close(taken) {
  const [ours] = SUBJECTS;
  const own = taken.get(ours);
  const rivals = [...taken.keys()].filter((subject) => own !== undefined && subject !== ours && isClose(own.all, taken.get(subject).all));
  return new Set(rivals.length > 0 ? [ours, ...rivals] : []);
}

function isClose(own, others) {
  return Object.entries(own[0].figures).some(([figure, [, unit]]) => {
    if (unit !== "ms" || !(figure in others[0].figures)) return false;
    const ratio = median(others, figure) / median(own, figure);
    return ratio < CLOSE && ratio > 1 / CLOSE;
  });
}

/** One run; null of one that did not finish. */
async function run(subject, name) {
  const program = fileURLToPath(new URL("measure.mjs", import.meta.url));
  try {
    const { stdout } = await promisify(execFile)(
      process.execPath, ["--expose-gc", program, subject, name, options.traces], { timeout: RUN_MS_MAX, killSignal: "SIGKILL", maxBuffer: 1 << 20 },
    );
    return JSON.parse(stdout);
  } catch (error) {
    unfinished ||= subject === SUBJECTS[0];
    console.error(`${name}: ${subject} ${error.killed ? "was stopped after five minutes" : `failed: ${error.stderr || error.message}`}`);
    return null;
  }
}

/** The median of a figure. */
function median(all, figure) {
  const ordered = all.map(({ figures }) => figures[figure][0]).sort((a, b) => a - b);
  return ordered[Math.floor(ordered.length / 2)];
}
