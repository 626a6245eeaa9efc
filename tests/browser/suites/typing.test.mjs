import assert from "node:assert/strict";
import { test } from "node:test";
import { converged, freshName, occurrences, scene, together } from "../lib/scene.mjs";

const stage = scene();

async function two(what) {
  const name = freshName(what);
  const [one, other] = await together(stage.browser(), stage.browser());
  const tabs = await together(one.tab(stage.relay.origin, name), other.tab(stage.relay.origin, name));
  await together(...tabs.map((tab) => tab.synced()));
  return { name, tabs };
}

test("two pages type at once and converge, letters whole and in order", async () => {
  const { name, tabs } = await two("at-once");
  const [a, b] = tabs;
  const left = "the quick brown fox jumps over the lazy dog ";
  const right = "PACK MY BOX WITH FIVE DOZEN LIQUOR JUGS ";
  await together(a.caret(), b.caret());
  await together(a.type(left), b.type(right));
  await together(a.saved(), b.saved());
  const text = await converged(a, b);
  assert.equal(text.length, left.length + right.length);
  assert.equal(text.replace(/[^a-z ]/g, "").replaceAll(" ", ""), left.replaceAll(" ", ""), "one writer's letters keep their order");
  assert.equal(text.replace(/[^A-Z ]/g, "").replaceAll(" ", ""), right.replaceAll(" ", ""), "the other's too");
  assert.equal(await stage.relay.text(name), text, "and the relay has the same");
});

test("a hundred edits in the middle of each other's text converge", async () => {
  const { tabs } = await two("middle");
  const [a, b] = tabs;
  await a.caret();
  await a.type("0123456789");
  await a.saved();
  await b.hasText("0123456789");
  const storm = (tab, letter) =>
    tab.page.evaluate(async (mark) => {
      const { text } = window.selvedge.room;
      for (let i = 0; i < 100; i += 1) {
        const at = (i * 7919) % (text.length + 1);
        if (i % 3 === 2 && text.length > 4) text.delete(Math.min(at, text.length - 1), 1);
        else text.insert(at, mark + String(i % 10));
        if (i % 8 === 0) await new Promise((resolve) => requestAnimationFrame(resolve));
      }
    }, letter);
  await together(storm(a, "a"), storm(b, "B"));
  await together(a.saved(), b.saved());
  await converged(a, b);
});

test("emoji, flags and families are typed, crossed and deleted whole", async () => {
  const { tabs } = await two("emoji");
  const [a, b] = tabs;
  const family = "👩‍👩‍👧‍👦";
  const flag = "🇨🇭";
  await a.caret();
  await a.page.keyboard.insertText(`x${family}y${flag}z😀`);
  await b.hasText(`x${family}y${flag}z😀`);
  await a.page.keyboard.press("Backspace");
  await b.hasText(`x${family}y${flag}z`);
  await b.caret(1 + family.length);
  await b.page.keyboard.insertText("🎉");
  await a.hasText(`x${family}🎉y${flag}z`);
  await together(a.saved(), b.saved());
  assert.equal(await converged(a, b), `x${family}🎉y${flag}z`);
});

test("a lone surrogate becomes the replacement character, in the editor that typed it too", async () => {
  const { tabs } = await two("surrogate");
  const [a, b] = tabs;
  await a.page.evaluate(() => {
    const { view } = window.selvedge;
    view.dispatch({ changes: { from: 0, insert: "a\uD83Db" } });
  });
  await a.hasText("a\uFFFDb");
  await b.hasText("a\uFFFDb");
  await a.caret();
  await a.type("!");
  await b.hasText("a\uFFFDb!");
});

test("an edit that splits a surrogate pair leaves no half behind", async () => {
  const { tabs } = await two("split");
  const [a, b] = tabs;
  await a.page.evaluate(() => window.selvedge.room.text.insert(0, "a😀b"));
  await b.hasText("a😀b");
  await a.page.evaluate(() => window.selvedge.view.dispatch({ changes: { from: 2, to: 3, insert: "" } }));
  const text = await converged(a, b);
  assert.ok(text.isWellFormed(), JSON.stringify(text));
});

test("a second browser sees the first one's cursor, with its name", async () => {
  const { tabs } = await two("cursor");
  const [a, b] = tabs;
  await a.page.locator("button.people").click();
  await a.page.locator("#own-name").fill("Ada Byron");
  await a.page.keyboard.press("Enter");
  await a.caret();
  await a.type("Hello from Ada");
  await b.hasText("Hello from Ada");
  const label = b.page.locator(".cm-collab-name", { hasText: "Ada Byron" });
  await label.waitFor();
  // Cursors follow the text a moment later: what counts as the right end is where the text ends.
  await b.page.waitForFunction(() => {
    const { view } = window.selvedge;
    const caret = document.querySelector(".cm-collab-caret");
    return caret !== null && Math.abs(caret.getBoundingClientRect().x - view.coordsAtPos(view.state.doc.length).left) < 10;
  });
  const right = (await b.page.locator(".cm-collab-caret").boundingBox()).x;
  await a.page.keyboard.press("Home");
  await b.page.waitForFunction((before) => document.querySelector(".cm-collab-caret").getBoundingClientRect().x < before - 20, right);
  assert.match(await b.page.locator("button.people").innerText(), /2 people/);
  await a.close();
  await label.waitFor({ state: "detached" });
});

test("undo takes back own words only", async () => {
  const { tabs } = await two("undo");
  const [a, b] = tabs;
  await a.caret();
  await a.type("mine ");
  await b.hasText("mine ");
  await b.caret();
  await b.type("yours");
  await a.hasText("mine yours");
  await a.page.keyboard.press("Control+z");
  await a.hasText("yours");
  await b.hasText("yours");
  await a.page.keyboard.press("Control+y");
  await b.hasText("mine yours");
});

test("a title typed in one browser is the title in the other", async () => {
  const { tabs } = await two("title");
  const [a, b] = tabs;
  await a.page.locator(".title").fill("Weaving circle");
  await a.page.keyboard.press("Enter");
  await b.page.waitForFunction(() => document.querySelector(".title").value === "Weaving circle");
  assert.match(await b.page.title(), /Weaving circle/);
});

test("a paste of 300 KB arrives whole", async () => {
  const { name, tabs } = await two("paste");
  const [a, b] = tabs;
  const paragraph = "All work and no play makes the weaver dull. Ünïcode täo 織物. ";
  const text = paragraph.repeat(Math.ceil(300_000 / new TextEncoder().encode(paragraph).length));
  await a.page.evaluate((pasted) => window.selvedge.view.dispatch({ changes: { from: 0, insert: pasted } }), text);
  await a.saved();
  await b.hasText(text);
  assert.equal(occurrences(await stage.relay.text(name), paragraph), text.length / paragraph.length);
});
