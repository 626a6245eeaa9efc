/** Browsers with profiles of their own, and the demo's page in them. */

import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { browserBinary } from "./places.mjs";

const ARGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** Every wait in these tests ends here at the latest. */
export const WAIT_MS = 30_000;

/** A profile folder and, while it is open, the browser on it. */
export class Profile {
  #context = null;

  constructor(folder) {
    this.folder = folder;
  }

  /** An empty one. */
  static async create() {
    return new Profile(await mkdtemp(join(tmpdir(), "selvedge-profile-")));
  }

  /** A copy of this one, taken while it is closed, as a backup or a cloned machine makes it. */
  async copy() {
    if (this.#context !== null) throw new Error("close the browser before its profile is copied");
    const folder = await mkdtemp(join(tmpdir(), "selvedge-profile-"));
    await cp(this.folder, folder, { recursive: true });
    return new Profile(folder);
  }

  /** Starts the browser. */
  async open(options = {}) {
    this.#context = await chromium.launchPersistentContext(this.folder, {
      executablePath: browserBinary(),
      headless: true,
      args: ARGS,
      viewport: { width: 1100, height: 760 },
      ...options,
    });
    this.#context.setDefaultTimeout(WAIT_MS);
    return this;
  }

  get context() {
    if (this.#context === null) throw new Error("the browser is not open");
    return this.#context;
  }

  /** Ends the browser; the profile stays. */
  async close() {
    const context = this.#context;
    this.#context = null;
    await context?.close();
  }

  /** Ends the browser and deletes the profile. */
  async dispose() {
    await this.close();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  /** A tab showing `name`, with the text loaded from this device; connected by `transport`, or by whichever answers first. */
  async tab(origin, name, { transport } = {}) {
    const page = await this.context.newPage();
    return Tab.show(page, transport === undefined ? origin : `${origin}/?transport=${transport}`, name);
  }
}

/** The demo in one tab. */
export class Tab {
  constructor(page) {
    this.page = page;
    this.errors = [];
    page.on("pageerror", (error) => this.errors.push(error));
  }

  static async show(page, origin, name) {
    const tab = new Tab(page);
    await page.goto(origin.includes("?") ? `${origin}#${name}` : `${origin}/#${name}`);
    await tab.ready();
    return tab;
  }

  async ready() {
    await this.page.waitForFunction(() => window.selvedge?.view !== undefined);
  }

  /** Resolves once everything the relay has is here. */
  async synced() {
    await this.page.evaluate(() => window.selvedge.whenSynced());
    return this;
  }

  /** Resolves once every edit made here so far is durable at `level`. */
  async saved(level = "region") {
    await this.page.evaluate((wanted) => window.selvedge.whenSaved(wanted), level);
  }

  /** Resolves once the page's files are kept by its service worker. */
  async kept() {
    await this.page.evaluate(() => navigator.serviceWorker.ready);
    await this.page.waitForFunction(() => navigator.serviceWorker.controller?.state === "activated");
  }

  /** The replica's text; throws if the editor shows another one. */
  async text() {
    const { replica, editor } = await this.page.evaluate(() => ({ replica: window.selvedge.text(), editor: window.selvedge.view.state.doc.toString() }));
    if (replica !== editor) throw new Error(`the editor shows ${JSON.stringify(clip(editor))} but the replica holds ${JSON.stringify(clip(replica))}`);
    return replica;
  }

  /** Resolves once the text is exactly `expected`, in replica and editor. */
  async hasText(expected) {
    try {
      await this.page.waitForFunction((text) => window.selvedge.text() === text && window.selvedge.view.state.doc.toString() === text, expected);
    } catch (error) {
      throw new Error(`the text did not become ${JSON.stringify(clip(expected))}; it is ${JSON.stringify(clip(await this.text()))}`, { cause: error });
    }
  }

  /** Resolves once the text contains every one of `pieces`. */
  async hasPieces(...pieces) {
    try {
      await this.page.waitForFunction((wanted) => wanted.every((piece) => window.selvedge.text().includes(piece)), pieces);
    } catch (error) {
      throw new Error(`the text lacks one of ${JSON.stringify(pieces)}; it is ${JSON.stringify(clip(await this.text()))}`, { cause: error });
    }
  }

  /** Puts the caret at `at` (default: the end) and the focus into the text. */
  async caret(at) {
    await this.page.evaluate((wanted) => {
      const { view } = window.selvedge;
      view.focus();
      view.dispatch({ selection: { anchor: wanted ?? view.state.doc.length }, scrollIntoView: true });
    }, at);
  }

  /** Presses the keys of `text` one after the other, where the caret is. */
  async type(text) {
    await this.page.keyboard.type(text);
  }

  /** The words of the save indicator. */
  async words() {
    return this.page.locator(".save-words").innerText();
  }

  /** Resolves once the save indicator's words match `pattern`. */
  async says(pattern) {
    try {
      await this.page.waitForFunction(({ source, flags }) => new RegExp(source, flags).test(document.querySelector(".save-words")?.textContent ?? ""), { source: pattern.source, flags: pattern.flags });
    } catch (error) {
      throw new Error(`the save indicator never said ${pattern}; it says ${JSON.stringify(await this.words())}`, { cause: error });
    }
  }

  /** The online/offline switch, as a writer uses it, and back to the text. */
  async setOnline(on) {
    await this.page.locator(".switch-box").setChecked(on, { force: true });
    await this.page.evaluate(() => window.selvedge.view.focus());
  }

  async close() {
    await this.page.close();
    if (this.errors.length > 0) throw new Error("the page threw", { cause: this.errors[0] });
  }
}

function clip(text) {
  return text.length > 300 ? `${text.slice(0, 140)} [${text.length} units] ${text.slice(-140)}` : text;
}
