/** Two writers in two regions, and the buttons that go wrong on purpose. */

import { EditorView } from "@codemirror/view";
import type { Room } from "selvedge";
import { h, setText } from "../dom.ts";
import { act, ControlError, readState, titleOf, type Action, type RegionsState } from "./control.ts";
import { pane, type Pane } from "./pane.ts";
import "../style/base.css";
import "../style/chrome.css";
import "../style/writing.css";
import "../style/regions.css";

declare global {
  interface Window {
    /** Both rooms by region, for the console and for tests. */
    selvedgeRegions?: ReadonlyMap<string, { readonly room: Room; readonly view: EditorView }>;
  }
}

const STATE_EVERY_MS = 500;
const DOCUMENT = "two-regions";
const WRITERS = [
  { name: "Ada", color: "#d8442f" },
  { name: "Bela", color: "#26665e" },
] as const;

const root = document.getElementById("regions") as HTMLElement;

async function start(): Promise<void> {
  const first = await firstState();
  const name = location.hash.slice(1) || DOCUMENT;
  const panes = await Promise.all(first.regions.slice(0, 2).map((region, i) => {
    const elsewhere = first.regions.filter((other) => other !== region).flatMap(({ relays }) => relays);
    return pane(name, region, elsewhere, first.trust, WRITERS[i % 2] ?? WRITERS[0]);
  }));
  window.selvedgeRegions = new Map(first.regions.slice(0, 2).map(({ name: of }, i) => [of, panes[i] as Pane]));
  const board = controls();
  root.replaceChildren(board.element, h("main", { className: "panes" }, ...panes.map(({ element }) => element)));
  let latest = first;
  for (;;) {
    board.show(latest);
    latest.regions.slice(0, 2).forEach((region, i) => panes[i]?.show(region, latest));
    await new Promise((resolve) => setTimeout(resolve, STATE_EVERY_MS));
    try {
      latest = await readState();
      board.fail(null);
    } catch (error) {
      board.fail(error instanceof ControlError ? error.message : String(error));
    }
  }
}

/** The first answer; the stack may still be on its way up. */
async function firstState(): Promise<RegionsState> {
  for (;;) {
    try {
      const state = await readState();
      if (state.regions.every(({ relays }) => relays.length > 0)) return state;
      wait(state.busy ?? "The regions are starting…");
    } catch (error) {
      wait(error instanceof ControlError ? error.message : String(error));
    }
    await new Promise((resolve) => setTimeout(resolve, STATE_EVERY_MS));
  }
}

function wait(words: string): void {
  root.replaceChildren(h("p", { className: "boot", attrs: { role: "status" }, textContent: words }));
}

interface Board {
  readonly element: HTMLElement;
  show(state: RegionsState): void;
  fail(message: string | null): void;
}

function controls(): Board {
  const facts = h("dl", { className: "facts" });
  const buttons = h("div", { className: "actions" });
  const said = h("p", { className: "said", attrs: { role: "status", "aria-live": "polite" } });
  let refused: string | null = null;
  let unreachable: string | null = null;
  let busy: string | null = null;
  let failed: string | null = null;
  let standing = "";
  let offered: readonly Offer[] = [];

  function say(): void {
    const trouble = unreachable ?? refused ?? (busy === null ? failed : null);
    const words = trouble ?? (busy === null ? standing : `${sentence(busy)}…`);
    said.classList.toggle("trouble", trouble !== null);
    setText(said, words);
  }

  async function press(action: Action): Promise<void> {
    refused = null;
    try {
      await act(action);
    } catch (error) {
      refused = error instanceof ControlError ? error.message : String(error);
    }
    say();
  }

  /** Each button keeps its place: what is under the pointer is not suddenly another one. */
  function offer(state: RegionsState): void {
    offered = offers(state);
    while (buttons.children.length < offered.length) {
      const place = buttons.children.length;
      const button = h("button", { className: "button", type: "button" });
      button.addEventListener("click", () => {
        const action = offered[place]?.action;
        if (action) void press(action);
      });
      buttons.append(button);
    }
    offered.forEach(({ label, possible, grave }, place) => {
      const button = buttons.children[place] as HTMLButtonElement;
      setText(button, label);
      button.classList.toggle("grave", grave === true);
      button.disabled = !possible || state.busy !== null;
    });
  }

  return {
    element: h("header", { className: "board" }, h("div", { className: "board-head" }, h("h1", { textContent: "One text, two regions" }), facts), said, buttons),
    show(state) {
      busy = state.busy;
      failed = state.failed;
      standing = standingOf(state);
      if (busy !== null) refused = null;
      facts.replaceChildren(...factsOf(state).map(([term, value, tone]) => h("div", {}, h("dt", { textContent: term }), h("dd", { textContent: value, className: tone }))));
      offer(state);
      say();
    },
    fail(message) {
      unreachable = message;
      say();
    },
  };
}

interface Offer { readonly label: string; readonly action: Action; readonly possible: boolean; readonly grave?: boolean }

/** What can be done, and whether it makes sense now. */
function offers({ link, home, regions }: RegionsState): readonly Offer[] {
  const allUp = regions.every(({ state }) => state === "up");
  const next = regions.find(({ name }) => name !== home) ?? regions[0];
  const list: Offer[] = [
    link === "up"
      ? { label: "Cut the link between the regions", action: { action: "cut-link" }, possible: true }
      : { label: "Join the regions again", action: { action: "heal-link" }, possible: true },
  ];
  for (const { name, state } of regions) {
    list.push(state === "up"
      ? { label: `Kill ${titleOf(name)}`, action: { action: "kill", region: name }, possible: allUp, grave: true }
      : { label: `Bring ${titleOf(name)} back`, action: { action: "revive", region: name }, possible: state === "down" });
  }
  if (next) {
    list.push({ label: `Make ${titleOf(next.name)} the home`, action: { action: "switchover", region: next.name }, possible: allUp && home !== null && link === "up" });
  }
  return list;
}

/** What is the matter, in a sentence. */
function standingOf({ link, regions }: RegionsState): string {
  const lost = regions.find(({ state }) => state !== "up");
  if (lost) return `${sentence(titleOf(lost.name))} is ${lost.state === "down" ? "dead" : "starting"}: its writer goes on in the other one. What only one region has is copied once both are there.`;
  if (link === "cut") return "The link is cut: each region goes on by itself, and the texts meet when it is joined.";
  return "What is written in one region is in the other a moment later.";
}

function sentence(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

type Fact = readonly [term: string, value: string, tone: string];

function factsOf({ epoch, home, link, lagMs }: RegionsState): readonly Fact[] {
  const names = [...lagMs.keys()];
  const behind = [...lagMs].map(([name, ms]): Fact => {
    const way = `${name.toUpperCase()} → ${(names.find((other) => other !== name) ?? "?").toUpperCase()}`;
    if (ms === null) return [way, "unknown", "late"];
    return ms === 0 ? [way, "all copied", ""] : [way, `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s behind`, ms > 2_000 ? "late" : ""];
  });
  return [
    ["Home", home === null ? "nobody" : home.toUpperCase(), home === null ? "late" : ""],
    ["Epoch", epoch === null ? "unknown" : String(epoch), ""],
    ["Link", link === "up" ? "joined" : "cut", link === "up" ? "" : "late"],
    ...behind,
  ];
}

void start().catch((error: unknown) => {
  console.error(error);
  wait(error instanceof Error ? error.message : String(error));
});
