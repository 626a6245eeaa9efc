/** One writer in one region: an editor, where it is connected, and what became of every edit. */

import { EditorView } from "@codemirror/view";
import { open, type Room } from "selvedge";
import { IndexedDbStore } from "selvedge/indexeddb";
import { h, setText } from "../dom.ts";
import { editor } from "../editor.ts";
import { wording, type Level } from "../safety.ts";
import { followEdits, type Edit } from "./edits.ts";
import type { Region, RegionsState } from "./control.ts";

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
  ["device", "device"],
  ["region", "region"],
  ["replicated", "both regions"],
];
const AGE_EVERY_MS = 500;

/** Opens `name` as `writer` through the relays of `region`; a device of its own, as if it were another machine. */
export async function pane(name: string, region: Region, writer: Writer): Promise<Pane> {
  const room = await open(name, {
    relays: region.relays,
    persist: new IndexedDbStore({ database: `selvedge-region-${region.name}` }),
    crossTab: false,
  });
  room.awareness.setLocalStateField("user", { ...writer });

  const state = h("span", { className: "badge" });
  const connection = h("p", { className: "pane-connection", attrs: { role: "status" } });
  const stitches = h("span", { className: "stitches", attrs: { "aria-hidden": "true" } });
  const words = h("span", { className: "save-words", attrs: { role: "status", "aria-live": "polite" } });
  const save = h("p", { className: "save pane-save" }, stitches, words);
  const sheet = h("div", { className: "writing" });
  const list = h("ol", { className: "edits", attrs: { "aria-label": `What became of ${writer.name}'s last edits` } });
  const element = h(
    "section",
    { className: "pane", attrs: { "aria-label": `${writer.name} in region ${region.name}`, "data-region": region.name } },
    h("header", { className: "pane-top" },
      h("div", { className: "pane-who" }, h("i", { className: "dot", attrs: { style: `background:${writer.color}` } }), h("b", { textContent: writer.name }), h("span", { textContent: `in region ${region.name}` }), state),
      save),
    connection,
    sheet,
    h("h3", { className: "edits-title", textContent: "Last edits, and where they are safe" }),
    list,
  );
  const view = editor({ room, parent: sheet, onText: () => undefined });
  list.replaceChildren(nothingYet());
  followEdits(room, (edits) => list.replaceChildren(...(edits.length === 0 ? [nothingYet()] : edits.map((edit) => editLine(edit, room)))));

  let everConnected = false;
  function tell(): void {
    const { saved, status, link } = room.relay;
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
    setText(connection, link === null
      ? "Not connected: looking for a relay. Writing goes on."
      : `Connected to ${link.region === "" ? "a relay" : `region ${link.region}`}${away ? `, away from ${region.name},` : ""} by ${link.transport === "webtransport" ? "WebTransport" : "WebSocket"} (${hostOf(link.relay)})`);
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

function nothingYet(): HTMLLIElement {
  return h("li", { className: "edit none", textContent: "Nothing written yet." });
}

function editLine(edit: Edit, room: Room): HTMLLIElement {
  const highest = room.relay.saved.highest;
  const levels = LEVEL_NAMES.filter(([level]) => level !== "replicated" || highest === "replicated");
  return h("li", { className: "edit" },
    h("span", { className: "edit-words", textContent: edit.words }),
    ...levels.map(([level, name]) => {
      const ms = edit.reached.get(level);
      return h("span", { className: ms === undefined ? "edit-level" : "edit-level done", textContent: ms === undefined ? `${name} …` : `${name} ${spell(ms)}` });
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
