import assert from "node:assert/strict";
import { test } from "node:test";
import { freshName, scene } from "../lib/scene.mjs";

const stage = scene();

test("the page asks no other host for anything, and breaks none of its own rules", async () => {
  const browser = await stage.browser();
  const page = await browser.context.newPage();
  const hosts = new Set();
  const complaints = [];
  page.on("request", (request) => hosts.add(new URL(request.url()).host));
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(`${stage.relay.origin}/#${freshName("rules")}`);
  await page.waitForFunction(() => window.selvedge !== undefined);
  await page.evaluate(() => window.selvedge.whenSynced());
  await page.keyboard.type("Quiet.");
  await page.evaluate(() => window.selvedge.whenSaved());
  assert.deepEqual([...hosts], [new URL(stage.relay.origin).host]);
  assert.deepEqual(complaints, []);
});

test("the service worker keeps the page's files and nothing of the relay's", async () => {
  const browser = await stage.browser();
  const tab = await browser.tab(stage.relay.origin, freshName("files"));
  await tab.kept();
  const paths = await tab.page.evaluate(async () => {
    await fetch("/v1/docs/default/none/text").catch(() => null);
    await fetch("/healthz").catch(() => null);
    const found = [];
    for (const name of await caches.keys()) for (const request of await (await caches.open(name)).keys()) found.push(new URL(request.url).pathname);
    return found.sort();
  });
  assert.ok(paths.includes("/index.html") && paths.some((path) => path.endsWith(".wasm")), paths.join(" "));
  assert.deepEqual(paths.filter((path) => path.startsWith("/v1") || path.endsWith("z") || path === "/sw.js"), []);
});

test("everything in the header is reached and worked by keyboard alone", async () => {
  const browser = await stage.browser();
  const tab = await browser.tab(stage.relay.origin, freshName("keys"));
  await tab.synced();
  await tab.page.evaluate(() => document.activeElement?.blur());
  const reached = [];
  for (let i = 0; i < 9; i += 1) {
    await tab.page.keyboard.press("Tab");
    reached.push(await tab.page.evaluate(() => document.activeElement?.className || document.activeElement?.tagName));
  }
  for (const wanted of ["skip", "title", "save", "switch-box", "people", "button primary", "button quiet square"]) {
    assert.ok(reached.includes(wanted), `${wanted} among ${reached.join(", ")}`);
  }
  await tab.page.locator("button.save").focus();
  await tab.page.keyboard.press("Enter");
  await tab.page.locator(".panel:popover-open .level").first().waitFor();
  await tab.page.keyboard.press("Escape");
  await tab.page.locator(".panel:popover-open").waitFor({ state: "detached" });
  assert.equal(await tab.page.evaluate(() => document.activeElement?.className), "save");
});

test("the theme follows the system until one is chosen, and the choice is kept", async () => {
  const browser = await stage.browser({ colorScheme: "dark" });
  const tab = await browser.tab(stage.relay.origin, freshName("theme"));
  const paper = () => tab.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await paper();
  await tab.page.locator("button[aria-label=Menu]").click();
  await tab.page.locator(".segment", { hasText: "Light" }).click();
  const light = await paper();
  assert.notEqual(light, dark);
  await tab.page.reload();
  await tab.ready();
  assert.equal(await paper(), light);
});

test("own name and colour are kept", async () => {
  const browser = await stage.browser();
  const tab = await browser.tab(stage.relay.origin, freshName("name"));
  await tab.page.locator("button.people").click();
  await tab.page.locator("#own-name").fill("Grace");
  await tab.page.reload();
  await tab.ready();
  await tab.page.locator("button.people").click();
  assert.equal(await tab.page.locator("#own-name").inputValue(), "Grace");
});

test("on a narrow phone nothing is wider than the screen", async () => {
  const browser = await stage.browser({ viewport: { width: 340, height: 640 } });
  const tab = await browser.tab(stage.relay.origin, freshName("phone"));
  await tab.caret();
  await tab.type("Narrow.");
  for (const opener of ["button.save", "button.people", "button[aria-label=Share]", "button[aria-label=Menu]"]) {
    await tab.page.locator(opener).click();
    const panel = await tab.page.locator(".panel:popover-open").boundingBox();
    assert.ok(panel.x >= 0 && panel.x + panel.width <= 340, `${opener}: ${JSON.stringify(panel)}`);
    await tab.page.keyboard.press("Escape");
  }
  assert.equal(await tab.page.evaluate(() => document.documentElement.scrollWidth), 340);
});
