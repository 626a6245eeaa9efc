import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { freshName, scene } from "../lib/scene.mjs";

const ROOM_BYTES = 400;
const FULL = "All that fits. ".repeat(26);
const MORE = "And more than fits.";

const stage = scene({ flags: ["--document-bytes-max", String(ROOM_BYTES)] });

/** A text without room for what was typed last, and the notice that says so. */
async function refuse(what) {
  const name = freshName(what);
  const browser = await stage.browser();
  await browser.context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: stage.relay.origin });
  const tab = await browser.tab(stage.relay.origin, name);
  await tab.synced();
  await tab.page.evaluate((text) => window.selvedge.room.text.insert(0, text), FULL);
  await tab.saved();
  await tab.caret();
  // In one piece: once something was refused, nothing more is taken.
  await tab.page.keyboard.insertText(MORE);
  const notice = tab.page.locator(".notice", { hasText: "There is no room for your last edits." });
  await notice.waitFor();
  await tab.says(/not accepted$/);
  const press = (label) => tab.page.locator(".notice button", { hasText: new RegExp(`^${label}$`) }).click();
  return { name, tab, notice, press };
}

/** With `SELVEDGE_PICTURES`, leaves a picture in that folder, light and dark. */
async function picture({ page }, what) {
  const folder = process.env.SELVEDGE_PICTURES;
  if (folder === undefined) return;
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: join(folder, `${what}-${colorScheme}.png`), animations: "disabled" });
  }
  await page.emulateMedia({ colorScheme: null });
}

test("edits that were not accepted can be copied, offered again, and kept", async () => {
  const { name, tab, notice, press } = await refuse("kept");
  await picture(tab, "refused");
  await press("Copy my text");
  await tab.page.waitForFunction(async (text) => (await navigator.clipboard.readText()) === text, FULL + MORE);
  // Without room the same is said again.
  await press("Try again");
  await notice.waitFor();
  assert.equal(await stage.relay.text(name), FULL);
  await press("Discard my edits");
  await tab.page.locator(".notice", { hasText: /^Discard the \d+ edits that the server did not accept\?/ }).waitFor();
  await picture(tab, "discard");
  await press("Keep them");
  await notice.waitFor();
  await tab.hasText(FULL + MORE);
  // Room is made here, and what was refused passes.
  await tab.page.evaluate((units) => window.selvedge.room.text.delete(0, units), 60);
  await tab.hasText((FULL + MORE).slice(60));
  await tab.saved();
  await notice.waitFor({ state: "hidden" });
  assert.equal(await stage.relay.text(name), (FULL + MORE).slice(60));
  await tab.says(/^Saved$/);
  await tab.close();
});

test("edits that were not accepted can be discarded: the text becomes the server's", async () => {
  const { name, tab, notice, press } = await refuse("discarded");
  await press("Discard my edits");
  await press("Discard");
  await tab.hasText(FULL);
  await notice.waitFor({ state: "hidden" });
  await tab.says(/^Saved$/);
  assert.equal(await stage.relay.text(name), FULL);
  // Nor does the device bring it back.
  await tab.page.reload();
  await tab.ready();
  await tab.synced();
  await tab.hasText(FULL);
  await tab.caret(0);
  await tab.page.keyboard.press("Delete");
  await tab.saved();
  assert.equal(await stage.relay.text(name), FULL.slice(1));
  await tab.close();
});

test("edits that were not accepted go along into a new text", async () => {
  const { name, tab, press } = await refuse("elsewhere");
  await press("Continue in a new text");
  await tab.page.waitForFunction(({ old, text }) => location.hash !== `#${old}` && window.selvedge?.text() === text, { old: name, text: FULL + MORE });
  await tab.close();
});
