import assert from "node:assert/strict";
import { test } from "node:test";
import { freshName, scene } from "../lib/scene.mjs";

const stage = scene();

/** The page of two regions with a control that says what the test wants it to say; both regions are the test's relay. */
async function board(name, state) {
  const { origin } = stage.relay;
  const browser = await stage.browser();
  const asked = [];
  await browser.context.route("**/regions/state", (route) => route.fulfill({ json: state }));
  await browser.context.route("**/regions/act", (route) => {
    asked.push(route.request().postDataJSON());
    return asked.at(-1).action === "kill" ? route.fulfill({ status: 409, json: { error: { message: "Region a is busy." } } }) : route.fulfill({ status: 202, json: {} });
  });
  const page = await browser.context.newPage();
  await page.goto(`${origin}/regions.html#${name}`);
  await page.waitForFunction(() => window.selvedgeRegions !== undefined);
  await page.evaluate(async () => {
    for (const { room } of window.selvedgeRegions.values()) await room.ready;
  });
  return { page, asked };
}

const standing = (origin) => ({
  epoch: 3, home: "a", link: "up", lag_ms: { a: 0, b: null }, busy: null, failed: null,
  regions: [
    { name: "a", role: "home", state: "up", relays: [origin] },
    { name: "b", role: "standby", state: "up", relays: [origin] },
  ],
});

test("two writers on one page are two devices, and every edit says where it is safe", async () => {
  const state = standing(stage.relay.origin);
  const { page } = await board(freshName("regions"), state);
  const [ada, bela] = [page.locator('.pane[data-region="a"]'), page.locator('.pane[data-region="b"]')];
  await ada.locator(".cm-content").click();
  // One edit: keys that a busy machine takes slowly are several, each with its own line.
  await page.keyboard.insertText("Ada was here.");
  await bela.locator(".cm-line", { hasText: "Ada was here." }).waitFor();
  await ada.locator(".edit", { hasText: "Ada was here." }).locator('.edit-level.done[data-level="region"]', { hasText: /^after \d/ }).waitFor();
  assert.equal(await bela.locator(".edit.none").count(), 1, "Bela has written nothing");
  const sites = await page.evaluate(() => [...window.selvedgeRegions.values()].map(({ room }) => room.doc.site));
  assert.ok(sites[0] !== null && sites[1] === null);
});

test("the board shows what the control says, offers what makes sense, and says what was refused", async () => {
  const state = standing(stage.relay.origin);
  const { page, asked } = await board(freshName("board"), state);
  const facts = () => page.locator(".facts").innerText();
  assert.match((await facts()).replace(/\s+/g, " "), /Home A Epoch 3 Link joined A → B all copied B → A unknown/);
  await page.getByRole("button", { name: "Cut the link" }).click();
  await page.getByRole("button", { name: "Kill region a" }).click();
  await page.locator(".said.trouble", { hasText: "Region a is busy." }).waitFor();
  assert.deepEqual(asked, [{ action: "cut-link" }, { action: "kill", region: "a" }]);
  Object.assign(state, { link: "cut", home: "b", epoch: 4, lag_ms: { a: null, b: 8_400 } });
  state.regions[0].state = "down";
  await page.getByRole("button", { name: "Bring region a back" }).waitFor();
  assert.equal(await page.locator('.pane[data-region="a"] .badge').innerText(), "dead");
  assert.equal(await page.locator('.pane[data-region="b"] .badge').innerText(), "home");
  assert.match(await facts(), /8\.4 s behind/);
  assert.ok(await page.getByRole("button", { name: "Kill region b" }).isDisabled(), "the last region is not offered to be killed");
  assert.ok(await page.getByRole("button", { name: "Make region a the home" }).isDisabled(), "a dead region is not offered to be the home");
  state.busy = "bringing region A back";
  await page.locator(".said", { hasText: /^Bringing region A back…$/ }).waitFor();
  assert.equal(await page.locator(".actions button:enabled").count(), 0);
  Object.assign(state, { busy: null, failed: "Failed at bringing region A back: no port is free" });
  await page.locator(".said.trouble", { hasText: "no port is free" }).waitFor();
});
