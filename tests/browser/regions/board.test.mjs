import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { Board } from "../lib/board.mjs";
import { Profile } from "../lib/browser.mjs";
import { Regions } from "../lib/regions.mjs";
import { freshName, occurrences, together } from "../lib/scene.mjs";

/** Where pictures of each state go, for whoever wants to look. */
const PICTURES = process.env.SELVEDGE_PICTURES;
const profiles = [];
let regions;

before(async () => {
  regions = await Regions.start();
  await regions.settle("a");
});
afterEach(async () => {
  await Promise.all(profiles.splice(0).map((profile) => profile.dispose()));
});
after(async () => {
  await regions?.dispose();
});

async function board(name) {
  const profile = await Profile.create();
  profiles.push(profile);
  await profile.open({ viewport: { width: 1280, height: 760 } });
  return Board.open(profile.context, regions.page(name));
}

async function picture(shown, what) {
  if (!PICTURES) return;
  mkdirSync(PICTURES, { recursive: true });
  await shown.page.screenshot({ path: join(PICTURES, `${what}.png`) });
}

/** What the board says of the control plane is what replicators and relays that live say of it, and not only the page. */
async function saysWhatIs(shown, { home, states = { a: "up", b: "up" } }) {
  const living = Object.keys(states).filter((region) => states[region] === "up");
  // Each relay is told of an epoch by its own region's control plane, a moment after the epoch has begun.
  const epoch = await regions.agreed(living, home);
  await shown.fact("Home", home.toUpperCase());
  await shown.fact("Epoch", String(epoch));
  for (const [region, state] of Object.entries(states)) {
    await shown.badge(region, state === "up" ? (region === home ? "home" : "standby") : "dead");
  }
  return epoch;
}

test("the link is cut and joined again: each region goes on alone, says what is not copied, and both texts meet", async () => {
  const name = freshName("cut");
  const shown = await board(name);
  await saysWhatIs(shown, { home: "a" });
  await shown.fact("Link", "joined");
  // Whichever opened first; that each of them can is for the tests of transports.
  await together(shown.connected("a", /^Connected to region A by Web(Transport|Socket) /), shown.connected("b", /^Connected to region B by Web(Transport|Socket) /));
  for (const { webtransport, websocket } of await together(regions.carried("a"), regions.carried("b"))) assert.ok(webtransport + websocket > 0);
  await shown.type("a", "Together. ");
  await together(shown.says("a", /^Saved in two regions$/), shown.hasPieces("b", "Together. "));
  await together(shown.fact("A → B", "all copied"), shown.fact("B → A", "all copied"));
  await picture(shown, "joined");

  await shown.press("Cut the link between the regions");
  await shown.fact("Link", "cut");
  await shown.standing(/^The link is cut/);
  await shown.withholds("Make region B the home");
  await shown.type("a", "Ada alone. ");
  await shown.type("b", "Bela alone. ");
  await together(shown.says("a", /^Saved, copying/), shown.says("b", /^Saved, copying/));
  await together(shown.edit("a", "region", /^after /), shown.edit("a", "replicated", /^not yet$/));
  // It is so: what one region has the other has not.
  const [inA, inB] = await together(regions.text("a", name), regions.text("b", name));
  assert.deepEqual([inA, inB].map((text) => ["Together. ", "Ada alone. ", "Bela alone. "].map((piece) => occurrences(text, piece))), [[1, 1, 0], [1, 0, 1]]);
  await together(shown.fact("A → B", /behind$|^unknown$/), shown.fact("B → A", /behind$|^unknown$/));
  await regions.until(({ lag_ms: lag }) => Object.values(lag).every((ms) => ms === null || ms > 2_000), "the lag to grow");
  await saysWhatIs(shown, { home: "a" });
  await picture(shown, "cut");

  await shown.press("Join the regions again");
  await together(shown.fact("Link", "joined"), shown.hasPieces("a", "Bela alone. "), shown.hasPieces("b", "Ada alone. "));
  const text = await shown.converged();
  await together(shown.says("a", /^Saved in two regions$/), shown.says("b", /^Saved in two regions$/));
  await together(shown.edit("a", "replicated", /^after /), shown.edit("b", "replicated", /^after /));
  assert.deepEqual(await together(regions.text("a", name), regions.text("b", name)), [text, text]);
  await together(shown.fact("A → B", "all copied"), shown.fact("B → A", "all copied"));
  await saysWhatIs(shown, { home: "a" });
  await picture(shown, "joined-again");
});

test("the home is handed over as planned, then its standby is killed and comes back: roles, epoch and levels are true throughout", async () => {
  const name = freshName("handed-over");
  const shown = await board(name);
  const before = await saysWhatIs(shown, { home: "a" });
  await shown.type("a", "Before. ");
  await shown.press("Make region B the home");
  await shown.type("a", "Ada meanwhile. ");
  // Elsewhere than Ada, of whose words not all may be here yet: behind the last of them would be in their midst.
  await shown.type("b", "Bela meanwhile. ", 0);
  await shown.idle();
  const epoch = await saysWhatIs(shown, { home: "b" });
  assert.ok(epoch > before, `epoch ${epoch} begins after ${before}`);
  assert.equal(await shown.converged().then((text) => occurrences(text, "Ada meanwhile. ") + occurrences(text, "Bela meanwhile. ")), 2);
  await together(shown.says("a", /^Saved in two regions$/), shown.says("b", /^Saved in two regions$/));
  await picture(shown, "handed-over");

  await shown.press("Kill region A");
  await shown.type("a", "Ada, her region dead. ");
  await shown.idle();
  await shown.standing(/^Region A is dead: its writer goes on in the other one/);
  await shown.connected("a", /^Connected to region B, away from region A, by Web(Transport|Socket)/);
  await together(shown.says("a", /^Saved, copying/), shown.edit("a", "region", /^after /), shown.edit("a", "replicated", /^not yet$/));
  assert.equal(await saysWhatIs(shown, { home: "b", states: { a: "down", b: "up" } }), epoch, "a standby's death moves nothing");
  await together(shown.fact("A → B", "unknown"), shown.fact("B → A", /behind$/));
  await together(shown.withholds("Kill region B"), shown.withholds("Make region A the home"));
  assert.ok((await regions.text("b", name)).includes("Ada, her region dead. "), "what is called saved is in the region that lives");
  await picture(shown, "standby-dead");

  await shown.press("Bring region A back");
  await shown.badge("a", "starting…");
  await picture(shown, "coming-back");
  await shown.hasPieces("b", "Ada, her region dead. ");
  await shown.type("b", "Welcome back.");
  await shown.idle();
  const text = await shown.converged();
  await together(shown.says("a", /^Saved in two regions$/), shown.says("b", /^Saved in two regions$/));
  assert.deepEqual(await together(regions.text("a", name), regions.text("b", name)), [text, text]);
  for (const piece of ["Before. ", "Ada meanwhile. ", "Bela meanwhile. ", "Ada, her region dead. ", "Welcome back."]) {
    assert.equal(occurrences(text, piece), 1, `${piece}is in the text once: ${JSON.stringify(text)}`);
  }
  assert.equal(await saysWhatIs(shown, { home: "b" }), epoch);
  await together(shown.fact("A → B", "all copied"), shown.fact("B → A", "all copied"));
  await picture(shown, "back");
});
