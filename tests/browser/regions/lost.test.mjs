import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Profile } from "../lib/browser.mjs";
import { Regions } from "../lib/regions.mjs";
import { silentUdp } from "../lib/silent-udp.mjs";
import { converged, freshName, occurrences, together } from "../lib/scene.mjs";
import { overhear, record, verdict } from "../lib/truth.mjs";

const STREAMS = { transport: "webtransport" };
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

async function browser() {
  const profile = await Profile.create();
  profiles.push(profile);
  await profile.open();
  await overhear(profile.context);
  return profile;
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
  const [ada, bela] = await writers(name, STREAMS);
  await together(record(ada), record(bela));
  assert.deepEqual(await together(linkOf(ada), linkOf(bela)), [{ region: "a", transport: "webtransport" }, { region: "b", transport: "webtransport" }]);
  await ada.caret();
  await ada.type("Before. ");
  await together(ada.saved("replicated"), bela.hasPieces("Before. "));
  await together(ada.says(/^Saved in two regions$/), ada.caret(0), bela.caret());
  const killed = regions.act("kill", "a");
  await together(ada.type("Ada writes while her region dies. "), bela.type("Bela sees nothing of it. "), killed);
  const died = performance.now();
  await together(ada.type("Ada goes on. "), bela.type("Bela, too. "));
  await together(ada.saved("region"), bela.saved("region"));
  t.diagnostic(`everything typed was durable in the other region ${Math.round(performance.now() - died)} ms after the last process of the first was dead`);
  // Nothing else was allowed: it is by WebTransport that her page went to the other region.
  assert.deepEqual(await together(linkOf(ada), linkOf(bela)), Array(2).fill({ region: "b", transport: "webtransport" }));
  // A browser that ended without a word is counted until its connection is idle for long.
  const { webtransport, websocket } = await regions.carried("b");
  assert.ok(webtransport >= 2 && websocket === 0, `region B's relays carry ${webtransport} by WebTransport and ${websocket} by WebSocket`);
  await together(ada.says(/^Saved, copying/), bela.says(/^Saved, copying/));
  const meanwhile = await converged(ada, bela);
  assert.equal(await regions.text("b", name), meanwhile, "what the indicator calls saved is in the region that lives");
  await regions.act("revive", "a");
  await together(ada.type("And again. "), bela.type("The end."));
  const text = await converged(ada, bela);
  await together(ada.saved("replicated"), bela.saved("replicated"));
  await together(ada.says(/^Saved in two regions$/), bela.says(/^Saved in two regions$/));
  assert.deepEqual(await together(regions.text("a", name), regions.text("b", name)), [text, text]);
  for (const piece of ["Ada writes while her region dies. ", "Ada goes on. ", "And again. ", "Before. ", "Bela sees nothing of it. ", "Bela, too. ", "The end."]) {
    assert.equal(occurrences(text, piece), 1, `${piece}is in the text once: ${JSON.stringify(text)}`);
  }
  for (const [writer, tab] of [["Ada", ada], ["Bela", bela]]) {
    const { made, untrue, said, acks } = await verdict(tab);
    t.diagnostic(`${writer}'s indicator claimed ${made.region} times that a region had it all and ${made.replicated} times that both had, and was told ${acks} acks`);
    assert.deepEqual(untrue, [], `${writer} is told what no server had acked: ${JSON.stringify(said)}`);
    assert.ok(made.region > 0 && made.replicated > 0 && acks > 0, `there was something to be true: ${JSON.stringify(said)}`);
  }
});
