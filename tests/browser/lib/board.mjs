/** The page of two regions in one tab: a pane for each writer, and the board with its facts and buttons. */

import { WAIT_MS } from "./browser.mjs";

/** Starting a region again takes its services' time. */
const DONE_WITHIN_MS = 240_000;

export class Board {
  constructor(page) {
    this.page = page;
  }

  /** Opens it and waits until both writers have everything their relays have. */
  static async open(context, url) {
    const page = await context.newPage();
    await page.goto(url);
    await page.waitForFunction(() => window.selvedgeRegions?.size === 2 && document.querySelectorAll(".facts dd").length > 0);
    await page.evaluate(() => Promise.all([...window.selvedgeRegions.values()].map(({ room }) => room.relay.whenSynced())));
    return new Board(page);
  }

  #pane(region) {
    return this.page.locator(`.pane[data-region="${region}"]`);
  }

  /** Resolves once what `read` finds is as `wanted`: a text, or a pattern it matches. */
  async #until(locator, wanted, what, within = WAIT_MS) {
    const deadline = Date.now() + within;
    for (;;) {
      const found = ((await locator.textContent({ timeout: within })) ?? "").trim();
      if (wanted instanceof RegExp ? wanted.test(found) : found === wanted) return found;
      if (Date.now() > deadline) throw new Error(`${what} is ${JSON.stringify(found)}, not ${wanted}`);
      await this.page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => resolve())));
    }
  }

  /** One of the facts above the panes. */
  fact(name, wanted) {
    return this.#until(this.page.locator(".facts div", { has: this.page.locator(`dt:text-is("${name}")`) }).locator("dd"), wanted, name);
  }

  /** The sentence under the facts. */
  standing(wanted) {
    return this.#until(this.page.locator(".said"), wanted, "the sentence");
  }

  /** How a region is called beside its writer. */
  badge(region, wanted) {
    return this.#until(this.#pane(region).locator(".badge"), wanted, `the badge of ${region}`);
  }

  /** Where a writer is connected. */
  connected(region, wanted) {
    return this.#until(this.#pane(region).locator(".pane-connection"), wanted, `the connection of ${region}'s writer`);
  }

  /** The save indicator of a writer. */
  says(region, wanted) {
    return this.#until(this.#pane(region).locator(".save-words"), wanted, `the indicator of ${region}'s writer`);
  }

  /** What became of a writer's newest edit. */
  edit(region, level, wanted) {
    return this.#until(this.#pane(region).locator("tr.edit").first().locator(`[data-level="${level}"]`), wanted, `${region}'s newest edit, ${level}`);
  }

  /** Presses a button of the board, once it may be pressed. */
  async press(label) {
    await this.page.locator(".actions button", { hasText: label }).click({ timeout: DONE_WITHIN_MS });
  }

  /** Resolves once that button cannot be pressed although nothing is being done. */
  async withholds(label) {
    await this.page.waitForFunction((wanted) => {
      const buttons = [...document.querySelectorAll(".actions button")];
      return buttons.some(({ textContent, disabled }) => textContent === wanted && disabled) && buttons.some(({ disabled }) => !disabled);
    }, label);
  }

  /** Resolves once nothing is being done, and what was done succeeded. */
  async idle() {
    // All of them wait while something is; something can be done at any other time.
    await this.page.waitForFunction(() => [...document.querySelectorAll(".actions button")].some(({ disabled }) => !disabled), null, { timeout: DONE_WITHIN_MS });
    const said = this.page.locator(".said");
    if (await said.evaluate((line) => line.classList.contains("trouble"))) throw new Error((await said.textContent()) ?? "");
  }

  /** Types into a writer's text, key by key, at `at` or at its end as that writer sees it. */
  async type(region, text, at) {
    await this.page.evaluate(({ of, place }) => {
      const { view } = window.selvedgeRegions.get(of);
      view.focus();
      view.dispatch({ selection: { anchor: place ?? view.state.doc.length } });
    }, { of: region, place: at });
    await this.page.keyboard.type(text);
  }

  /** Resolves once a writer's text contains every one of `pieces`. */
  async hasPieces(region, ...pieces) {
    await this.page.waitForFunction(({ of, wanted }) => wanted.every((piece) => window.selvedgeRegions.get(of).view.state.doc.toString().includes(piece)), { of: region, wanted: pieces });
  }

  /** Resolves with the text once both writers see the same. */
  async converged() {
    await this.page.waitForFunction(() => {
      const [one, other] = [...window.selvedgeRegions.values()].map(({ room, view }) => [room.text.toString(), view.state.doc.toString()]);
      return new Set([...one, ...other]).size === 1;
    });
    return this.page.evaluate(() => [...window.selvedgeRegions.values()][0].room.text.toString());
  }
}
