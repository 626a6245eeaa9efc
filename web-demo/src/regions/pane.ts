/** One writer in one region: an editor, where it is connected, and what became of every edit. */

import { EditorView } from "@codemirror/view";
import { open, type Room } from "selvedge";
import { IndexedDbStore } from "selvedge/indexeddb";
import { h, setText } from "../dom.ts";
import { editor } from "../editor.ts";
import { wording, type Level } from "../safety.ts";
import { EDITS_MAX, followEdits, type Edit } from "./edits.ts";
import { titleOf, type Region, type RegionsState } from "./control.ts";

export interface Pane {
  readonly element: HTMLElement;
  readonly room: Room;
  readonly view: EditorView;
  /** Shows how its region stands. */
  show(region: Region, state: RegionsState): void;
}

/** Who writes here. */
export interface Writer {
  readonly name: string;
  readonly color: string;
}

const LEVEL_NAMES: readonly (readonly [Level, string])[] = [
  ["device", "on the device"],
  ["region", "in a region"],
  ["replicated", "in both regions"],
];
const AGE_EVERY_MS = 500;

/**
 * Opens `name` as `writer` through the relays of `region`; a device of its own, as if it were another machine. Where that
 * region is down, `elsewhere` are the relays to begin with, as names of the service would lead there. `trust` verifies what says where
 * the other region is.
 */
export async function pane(name: string, region: Region, elsewhere: readonly string[], trust: string | null, writer: Writer): Promise<Pane> {
  const room = await open(name, {
    relays: region.state === "up" ? region.relays : [...region.relays, ...elsewhere],
    persist: new IndexedDbStore({ database: `selvedge-region-${region.name}` }),
    crossTab: false,
    ...(trust === null ? {} : { trust }),
  });
  room.awareness.setLocalStateField("user", { ...writer });

  const state = h("span", { className: "badge" });
  const connection = h("p", { className: "pane-connection", attrs: { role: "status" } });
  const stitches = h("span", { className: "stitches", attrs: { "aria-hidden": "true" } });
  const words = h("span", { className: "save-words", attrs: { role: "status", "aria-live": "polite" } });
  const save = h("p", { className: "save pane-save" }, stitches, words);
  const sheet = h("div", { className: "writing" });
  const edits = h("table", { className: "edits", attrs: { "aria-label": `What became of ${writer.name}'s last edits` } });
  const element = h(
    "section",
    { className: "pane", attrs: { "aria-label": `${writer.name} in ${titleOf(region.name)}`, "data-region": region.name } },
    h("header", { className: "pane-top" },
      h("div", { className: "pane-who" }, h("i", { className: "dot", attrs: { style: `background:${writer.color}` } }), h("b", { textContent: writer.name }), h("span", { textContent: `in ${titleOf(region.name)}` }), state),
      save),
    connection,
    sheet,
    edits,
  );
  const view = editor({ room, parent: sheet, onText: () => undefined });
  let latest: readonly Edit[] = [];
  let highest: Level | null = null;
  function showEdits(): void {
    highest = room.relay.saved.highest;
    edits.replaceChildren(...editLines(latest, highest));
  }
  followEdits(room, (last) => {
    latest = last;
    showEdits();
  });

  let everConnected = false;
  function tell(): void {
    const { saved, status, link } = room.relay;
    // Which levels there are is known when a relay has said so.
    if (saved.highest !== highest) showEdits();
    everConnected ||= room.relay.synced;
    const told = wording({
      switchedOff: false,
      link: status === "readonly" ? "connected" : status,
      waiting: { device: saved.device.ops, region: saved.region.ops, replicated: saved.replicated.ops },
      highest: saved.highest,
      oldestWaitingMs: saved.oldestPendingMs,
      everConnected,
      deviceTrouble: saved.deviceError,
      canWrite: true,
      region: link?.region ?? null,
    });
    save.dataset.tone = told.tone;
    setText(words, told.short);
    stitches.replaceChildren(...told.steps.map(({ done }) => h("i", { className: done ? "stitch done" : "stitch" })));
    const away = link !== null && link.region !== "" && link.region !== region.name;
    connection.classList.toggle("away", away);
    setText(connection, connectionWords(link, away ? region.name : null));
  }
  for (const event of ["saved", "status", "synced"] as const) room.relay.on(event, tell);
  setInterval(tell, AGE_EVERY_MS);
  tell();

  return {
    element, room, view,
    show(now, { home }) {
      state.dataset.state = now.state;
      setText(state, now.state === "down" ? "dead" : now.state === "starting" ? "starting…" : now.name === home ? "home" : "standby");
      element.classList.toggle("dead", now.state === "down");
    },
  };
}

/** Where a writer is connected; `away` is the region that is not. */
function connectionWords(link: Room["relay"]["link"], away: string | null): string {
  if (link === null) return "Not connected: looking for a relay. Writing goes on.";
  const where = link.region === "" ? "a relay" : titleOf(link.region);
  const transport = link.transport === "webtransport" ? "WebTransport" : "WebSocket";
  return `Connected to ${where}${away === null ? "" : `, away from ${titleOf(away)},`} by ${transport} (${hostOf(link.relay)})`;
}

function editLines(edits: readonly Edit[], highest: Level): readonly HTMLElement[] {
  const levels = LEVEL_NAMES.filter(([level]) => level !== "replicated" || highest === "replicated");
  const heads = levels.map(([, name]) => h("th", { textContent: name, attrs: { scope: "col" } }));
  const rows = edits.map((edit) => editLine(edit, levels));
  if (rows.length === 0) rows.push(h("tr", { className: "edit none" }, h("td", { textContent: "Nothing written yet.", attrs: { colspan: `${levels.length + 1}` } })));
  // Always as many rows: the text above does not move when the first are written.
  while (rows.length < EDITS_MAX) rows.push(h("tr", { className: "edit-room", attrs: { "aria-hidden": "true" } }, h("td")));
  return [
    h("thead", {}, h("tr", {}, h("th", { textContent: "Last edits, safe", attrs: { scope: "col" } }), ...heads)),
    h("tbody", {}, ...rows),
  ];
}

function editLine(edit: Edit, levels: typeof LEVEL_NAMES): HTMLElement {
  return h("tr", { className: "edit" },
    h("td", { className: "edit-words", textContent: edit.words }),
    ...levels.map(([level]) => {
      const ms = edit.reached.get(level);
      return h("td", { className: ms === undefined ? "edit-level" : "edit-level done", textContent: ms === undefined ? "not yet" : `after ${spell(ms)}`, attrs: { "data-level": level } });
    }));
}

function spell(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}

function hostOf(relay: string): string {
  try {
    return new URL(relay).host;
  } catch {
    return relay;
  }
}
