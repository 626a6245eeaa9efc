import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Profile } from "../lib/browser.mjs";
import { Regions } from "../lib/regions.mjs";
import { silentUdp } from "../lib/silent-udp.mjs";
import { converged, freshName, occurrences, together } from "../lib/scene.mjs";

const STREAMS = { transport: "webtransport" };
const profiles = [];
let regions;

before(async () => {
  regions = await Regions.start();
});
afterEach(async () => {
  await Promise.all(profiles.splice(0).map((profile) => profile.dispose()));
});
after(async () => {
  await regions?.dispose();
});

async function browser() {
  const profile = await Profile.create();
  profiles.push(profile);
  return profile.open();
}

/** Ada in region A and Bela in region B, each in a browser of their own, looking at one text. */
async function writers(name, how = {}) {
  const [a, b] = await together(browser(), browser());
  const [inA, inB] = await together(regions.origin("a"), regions.origin("b"));
  const [ada, bela] = await together(a.tab(inA, name, how), b.tab(inB, name, how));
  await together(ada.synced(), bela.synced());
  return [ada, bela];
}

const linkOf = (tab) => tab.page.evaluate(() => {
  const { link } = window.selvedge.room.relay;
  return link === null ? null : { region: link.region, transport: link.transport };
});

/** Writes down everything the save indicator says from now on. */
async function listen(tab) {
  await tab.page.evaluate(() => {
    const words = document.querySelector(".save-words");
    window.said = [words.textContent];
    new MutationObserver(() => window.said.push(words.textContent)).observe(words, { childList: true, characterData: true, subtree: true });
  });
}

test("WebTransport carries two writers in two regions, cursors too, and both hear when both regions have it", async () => {
  const name = freshName("two-regions");
  const [ada, bela] = await writers(name, STREAMS);
  assert.deepEqual(await together(linkOf(ada), linkOf(bela)), [{ region: "a", transport: "webtransport" }, { region: "b", transport: "webtransport" }]);
  await ada.caret();
  await ada.type("Ada in her region. ");
  await bela.hasPieces("Ada in her region. ");
  const cursors = bela.page.locator(".cm-collab-caret");
  await cursors.first().waitFor();
  await bela.caret();
  await together(ada.type("Ada goes on. "), bela.type("Bela answers."));
  const text = await converged(ada, bela);
  await together(ada.saved("replicated"), bela.saved("replicated"));
  await together(ada.says(/^Saved in two regions$/), bela.says(/^Saved in two regions$/));
  assert.deepEqual(await together(regions.text("a", name), regions.text("b", name)), [text, text]);
  await ada.close();
  await cursors.first().waitFor({ state: "detached" });
});

test("where UDP leads nowhere both writers are connected by WebSocket within a second", async () => {
  const silent = await silentUdp();
  try {
    const [inA, inB] = await together(regions.origin("a"), regions.origin("b"));
    for (const [region, origin] of [["a", inA], ["b", inB]]) {
      const profile = await browser();
      await silent.lead(profile.context);
      const { tab, ms } = await silent.quickest(profile, origin, freshName("blocked"));
      assert.deepEqual(await linkOf(tab), { region, transport: "websocket" });
      assert.ok(ms < 1_000, `WebSocket took ${Math.round(ms)} ms in region ${region}`);
    }
  } finally {
    silent.close();
  }
});

test("a region dies while both write: its writer goes on in the other one, nothing is lost, and nobody is told more than is true", async (t) => {
  const name = freshName("region-lost");
  const [ada, bela] = await writers(name);
  await ada.caret();
  await ada.type("Before. ");
  await together(ada.saved("replicated"), bela.hasPieces("Before. "));
  await together(ada.caret(0), bela.caret());
  const killed = regions.act("kill", "a");
  await together(ada.type("Ada writes while her region dies. "), bela.type("Bela sees nothing of it. "), killed);
  const died = performance.now();
  await together(listen(ada), listen(bela));
  await together(ada.type("Ada goes on. "), bela.type("Bela, too. "));
  await together(ada.saved("region"), bela.saved("region"));
  t.diagnostic(`everything typed was durable in the other region ${Math.round(performance.now() - died)} ms after the last process of the first was dead`);
  assert.equal((await linkOf(ada)).region, "b");
  await together(ada.says(/^Saved, copying/), bela.says(/^Saved, copying/));
  const meanwhile = await converged(ada, bela);
  assert.equal(await regions.text("b", name), meanwhile, "what the indicator calls saved is in the region that lives");
  for (const tab of [ada, bela]) {
    // What it said before the first key was of an older text.
    const [, ...said] = await tab.page.evaluate(() => window.said);
    assert.ok(said.every((words) => !/two regions/i.test(words)), `one region is dead: ${JSON.stringify(said)}`);
  }
  await regions.act("revive", "a");
  await together(ada.type("And again. "), bela.type("The end."));
  const text = await converged(ada, bela);
  await together(ada.saved("replicated"), bela.saved("replicated"));
  await together(ada.says(/^Saved in two regions$/), bela.says(/^Saved in two regions$/));
  assert.deepEqual(await together(regions.text("a", name), regions.text("b", name)), [text, text]);
  for (const piece of ["Ada writes while her region dies. ", "Ada goes on. ", "And again. ", "Before. ", "Bela sees nothing of it. ", "Bela, too. ", "The end."]) {
    assert.equal(occurrences(text, piece), 1, `${piece}is in the text once: ${JSON.stringify(text)}`);
  }
});
