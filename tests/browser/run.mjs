/**
 * Runs the browser suites one after the other and ends with one line of counts for other programs:
 * `{"suite":"browser","passed":n,"failed":n,"skipped":n,"ms":n}`. Arguments pick suites by a part of their name; with `--regions`
 * they are those on two regions, `"suite":"regions"`.
 */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";

const TEST_WITHIN_MS = 120_000;
/** The regions start once for a file, and one of them starts again. */
const REGIONS_WITHIN_MS = 600_000;
const REASON_CHARS = 600;

const inRegions = process.argv.includes("--regions");
const folder = join(import.meta.dirname, inRegions ? "regions" : "suites");
const wanted = process.argv.slice(2).filter((argument) => argument !== "--regions");
const files = readdirSync(folder)
  .filter((name) => name.endsWith(".test.mjs") && (wanted.length === 0 || wanted.some((part) => name.includes(part))))
  .sort()
  .map((name) => join(folder, name));

const begun = performance.now();
const counts = { passed: 0, failed: 0, skipped: 0 };
const failures = [];
const stream = run({ files, concurrency: 1, timeout: (inRegions ? REGIONS_WITHIN_MS : TEST_WITHIN_MS) * files.length });
// Files are reported as tests around the real ones: only the real ones count, and a file that failed by itself.
stream.on("test:pass", (event) => {
  if (isFile(event)) return;
  if (event.skip !== undefined || event.todo !== undefined) counts.skipped += 1;
  else if (event.details?.type !== "suite") counts.passed += 1;
});
stream.on("test:fail", (event) => {
  if (event.details?.type === "suite" || (isFile(event) && event.details?.error?.failureType === "subtestsFailed")) return;
  counts.failed += 1;
  failures.push(`${event.name}: ${reason(event.details?.error)}`);
});

const report = stream.compose(spec);
report.pipe(process.stdout);
report.on("end", () => {
  const ms = Math.round(performance.now() - begun);
  for (const name of failures) process.stdout.write(`FAILED ${name}\n`);
  process.stdout.write(`${JSON.stringify({ suite: inRegions ? "regions" : "browser", ...counts, ms })}\n`);
  process.exitCode = counts.failed === 0 && counts.passed > 0 ? 0 : 1;
});

/** The first lines of an error on one line: a long output is cut in its middle, and its end has to say what happened. */
function reason(error) {
  const message = String(error?.cause?.message ?? error?.message ?? "no reason given");
  return message.replace(/\s+/g, " ").slice(0, REASON_CHARS);
}

function isFile(event) {
  return event.name.endsWith(".test.mjs");
}
