/** What a suite needs around its tests: one relay, profiles that are cleaned up, names that do not meet. */

import { after, afterEach, before } from "node:test";
import { Profile, WAIT_MS } from "./browser.mjs";
import { Relay } from "./relay.mjs";

export { together } from "./together.mjs";

let counter = 0;

/** A document name of its own. */
export function freshName(what) {
  counter += 1;
  return `${what}-${process.pid}-${counter}`;
}

/** Prepares a suite: a relay for all of its tests, profiles that end with the test that made them. */
export function scene(options = {}) {
  const stage = {
    relay: null,
    profiles: [],
    /** Starts a browser with an empty profile. */
    async browser(settings) {
      const profile = await Profile.create();
      stage.profiles.push(profile);
      return profile.open(settings);
    },
    /** Has `profile` cleaned up with the others. */
    adopt(profile) {
      stage.profiles.push(profile);
      return profile;
    },
  };
  before(async () => {
    stage.relay = await Relay.start(options);
  });
  afterEach(async () => {
    await Promise.all(stage.profiles.splice(0).map((profile) => profile.dispose()));
  });
  after(async () => {
    await stage.relay?.dispose();
  });
  return stage;
}

/** Resolves once all tabs show one text, and returns it. */
export async function converged(...tabs) {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const texts = await Promise.all(tabs.map((tab) => tab.page.evaluate(() => window.selvedge.text())));
    if (texts.every((text) => text === texts[0])) {
      await Promise.all(tabs.map((tab) => tab.hasText(texts[0])));
      return texts[0];
    }
    if (Date.now() > deadline) throw new Error(`the texts stay different:\n${texts.map((text) => JSON.stringify(text.slice(0, 400))).join("\n")}`);
    await tabs[0].page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => resolve())));
  }
}

/** How often `piece` occurs in `text`. */
export function occurrences(text, piece) {
  return text.split(piece).length - 1;
}
