import assert from "node:assert/strict";
import { test } from "node:test";
import { freshName, scene } from "../lib/scene.mjs";

const stage = scene();

test("a deleted text says so, keeps the writer's copy, and lets it be taken along", async () => {
  const name = freshName("deleted");
  const { relay } = stage;
  const browser = await stage.browser();
  await browser.context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: relay.origin });
  const tab = await browser.tab(relay.origin, name);
  await tab.synced();
  await tab.caret();
  await tab.type("Worth keeping.");
  await tab.saved();
  const answer = await fetch(`${relay.origin}/v1/docs/default/${name}`, { method: "DELETE" });
  assert.ok(answer.ok, `DELETE answered ${answer.status}`);
  await tab.page.locator(".notice", { hasText: "deleted" }).waitFor();
  assert.equal(await tab.text(), "Worth keeping.");
  await tab.page.locator(".notice button", { hasText: "Copy my text" }).click();
  await tab.page.waitForFunction(async () => (await navigator.clipboard.readText()) === "Worth keeping.");
  await tab.page.locator(".notice button", { hasText: "Continue in a new text" }).click();
  await tab.page.waitForFunction((old) => location.hash !== `#${old}` && window.selvedge?.text() === "Worth keeping.", name);
  await tab.saved();
});

test("a link that names no text says so", async () => {
  const browser = await stage.browser();
  const page = await browser.context.newPage();
  await page.goto(`${stage.relay.origin}/#no/such%20name`);
  await page.locator("h1", { hasText: "names no text" }).waitFor();
});

test("an address without a name begins a new text and names it in the address", async () => {
  const browser = await stage.browser();
  const page = await browser.context.newPage();
  await page.goto(`${stage.relay.origin}/`);
  await page.waitForFunction(() => window.selvedge !== undefined && /^#[a-z]+-[a-z]+-[0-9a-v]{8}$/.test(location.hash));
  await page.locator(".welcome").waitFor();
  await page.locator("button[aria-label=Share]").click();
  assert.equal(await page.locator("input[aria-label='Link to this text']").inputValue(), page.url());
});
