/** One open text: the room on one side, the page on the other. Everything the page shows is told from here. */

import { EditorView } from "@codemirror/view";
import type { Room, SaveLevel } from "selvedge";
import { goTo, linkTo, newName, takeCarried } from "./address.ts";
import { keepPerson, keepRecentText, person, type Person } from "./device.ts";
import { h, setText } from "./dom.ts";
import { editor } from "./editor.ts";
import { others, placeOf } from "./others.ts";
import { edits, span, wording, type Facts } from "./safety.ts";
import { closedNotice, discardNotice, readOnlyNotice, refusedNotice, resetNotice, type WaysOut } from "./trouble.ts";
import { edge } from "./ui/edge.ts";
import { header, TITLE_LENGTH_MAX, type Header } from "./ui/header.ts";
import { menuButton } from "./ui/menu.ts";
import { noticeStrip } from "./ui/notice.ts";
import { people } from "./ui/people.ts";
import { saveIndicator } from "./ui/save-indicator.ts";
import { copyText, shareButton } from "./ui/share.ts";
import { toast } from "./ui/toast.ts";
import { welcome } from "./ui/welcome.ts";

/** For the console and for tests: the open text, as this page has it. */
export interface Console {
  readonly room: Room;
  readonly view: EditorView;
  text(): string;
  whenSynced(): Promise<void>;
  whenSaved(level?: SaveLevel): Promise<void>;
}

/** The age of waiting edits is shown, so it is looked at now and then while there are any. */
const AGE_EVERY_MS = 1000;
const COUNT_AFTER_MS = 250;

/** Shows `room` in `app`. */
export function showText(app: HTMLElement, name: string, room: Room): Console {
  let self = person();
  let switchedOff = false;
  let everConnected = false;
  let lasting: "closed" | "refused" | null = null;

  const notice = noticeStrip();
  const save = saveIndicator();
  const others_ = people({
    self,
    onSelf: (next) => {
      self = keepPerson(next);
      tellSelf(room, self);
    },
    onGoTo: (id) => goToPerson(view, room, id),
  });
  const share = shareButton(
    () => linkTo(name),
    (copied) => toast(copied ? "Link copied" : "The browser did not let the link be copied. Select it and copy it by hand."),
  );
  const menu = menuButton({
    current: name,
    onNew: () => goTo(newName()),
    onOpen: (other) => goTo(other),
    onCopy: () => void copyAll(room),
    onDownload: () => download(title(room, name), room.text.toString()),
    about: () => connectionLine(room),
  });
  const top: Header = header({
    save: save.button,
    people: others_.button,
    share,
    menu,
    onTitle: (next) => setTitle(room, next),
    onTitleDone: () => view.focus(),
    onOnline: (on) => {
      switchedOff = !on;
      if (on) room.relay.connect();
      else room.relay.disconnect();
      top.showOnline(on);
      tellSafety();
    },
  });
  const woven = edge({
    view: () => view,
    others: () => others(room),
    placeOf: (id) => placeOf(room, id),
    onGoTo: (id) => goToPerson(view, room, id),
  });
  const sheet = h("main", { className: "writing" });
  const foot = h("p", { className: "foot", attrs: { "aria-hidden": "true" } });
  const empty = welcome();
  app.replaceChildren(top.element, notice.element, h("div", { className: "desk" }, woven.element, sheet));
  const view = editor({ room, parent: sheet, onText: textChanged });
  sheet.append(empty.element, foot);

  const ways: WaysOut = {
    copy: () => void copyAll(room),
    continueElsewhere: () => goTo(newName(), room.text.toString()),
    reload: () => location.reload(),
  };

  function facts(): Facts {
    const { saved, status, link } = room.relay;
    return {
      switchedOff,
      link: status === "readonly" ? "connected" : status,
      waiting: { device: saved.device.ops, region: saved.region.ops, replicated: saved.replicated.ops },
      highest: saved.highest,
      oldestWaitingMs: saved.oldestPendingMs,
      everConnected,
      deviceTrouble: saved.deviceError,
      canWrite: mayWrite() || !everConnected,
      refused: lasting === "refused",
      region: link?.region ?? null,
    };
  }

  function tellSafety(): void {
    if (room.relay.synced) everConnected = true;
    save.show(wording(facts()));
  }

  function closed({ code, reason }: { readonly code: number; readonly reason: string }): void {
    lasting = "closed";
    notice.show(closedNotice(code, reason, ways));
    tellSafety();
  }

  let rights = room.relay.permission;
  function permitted({ read, write }: { readonly read: boolean; readonly write: boolean }): void {
    top.setReadOnly(!write);
    if (lasting === null) notice.show(read && !write ? readOnlyNotice(ways) : null);
    // Edits that were refused for want of rights are offered again when those change, once: by itself nothing comes of it.
    const changed = rights !== room.relay.permission;
    rights = room.relay.permission;
    if (changed && lasting === "refused" && mayWrite()) room.relay.retryRefused();
    tellSafety();
  }

  function refused({ code, message }: { readonly code: number; readonly message: string }): void {
    lasting = "refused";
    const choices = {
      retry: () => {
        decided();
        room.relay.retryRefused();
      },
      discard: () => notice.show(discardNotice(room.relay.saved.region.ops, ways, { discard, keep: () => refused({ code, message }) })),
    };
    notice.show(refusedNotice(code, message, ways, choices));
    tellSafety();
  }

  function discard(): void {
    decided();
    room.relay.discardRefused();
    if (room.relay.link === null) toast("Your edits are discarded when the server can be reached.");
  }

  /** Nothing refused is open any more: what is still refused is told again. */
  function decided(): void {
    lasting = null;
    notice.show(room.relay.permission === "read" ? readOnlyNotice(ways) : null);
    tellSafety();
  }

  function mayWrite(): boolean {
    return room.relay.permission === "write" || room.relay.permission === "admin";
  }

  let counting: ReturnType<typeof setTimeout> | null = null;
  function showOthers(): void {
    others_.show(others(room));
    woven.update();
  }

  function textChanged(): void {
    woven.update();
    empty.show(view.state.doc.length === 0);
    counting ??= setTimeout(() => {
      counting = null;
      top.showTitle(sharedTitle(room), fallbackTitle(view));
      setText(foot, length(view));
      if (room.doc.site !== null) remember(name, title(room, name, view));
    }, COUNT_AFTER_MS);
  }

  function titleChanged(): void {
    top.showTitle(sharedTitle(room), fallbackTitle(view));
    document.title = `${title(room, name, view)} · Selvedge`;
  }

  room.relay.on("saved", tellSafety);
  room.relay.on("status", tellSafety);
  // Told after the status: only then is it known that the server has everything.
  room.relay.on("synced", tellSafety);
  room.relay.on("permission", permitted);
  room.relay.on("refused", refused);
  // What was refused for want of room is offered again by itself.
  room.relay.on("status", ({ status }) => {
    if (status === "connected" && lasting === "refused") decided();
  });
  room.relay.on("closed", closed);
  room.relay.on("reconciled", ({ offlineMs, sent, received }) => {
    if (received > 0) toast(`Back after ${span(offlineMs)}: ${sent > 0 ? `${edits(sent)} of yours sent, ` : ""}others’ changes merged in.`);
  });
  room.relay.on("persisted", (granted) =>
    save.showKeeping(granted ? "The browser promised to keep this device’s copy." : "The browser may drop this device’s copy if it runs out of space."),
  );
  // Kept as the editor's own immutable text: a string of it is made only when somebody needs one.
  let lastText = view.state.doc;
  room.doc.on("reset", ({ unsentOps }) => {
    const before = lastText.toString();
    notice.show(resetNotice(unsentOps, before === "" ? null : () => void copy(before)));
  });
  room.relay.on("status", ({ status }) => {
    if (status !== "syncing" && status !== "closed") lastText = view.state.doc;
  });
  room.doc.meta.observe(titleChanged);
  room.awareness.on("change", showOthers);
  setInterval(() => {
    if (room.relay.saved.region.ops > 0) tellSafety();
  }, AGE_EVERY_MS);

  // What was said before anybody listened.
  if (room.relay.status === "closed") closed({ code: 0, reason: "" });
  else if (room.relay.status === "readonly") permitted({ read: true, write: false });
  tellSelf(room, self);
  showOthers();
  tellSafety();
  titleChanged();
  textChanged();
  empty.show(view.state.doc.length === 0);
  if (view.state.doc.length > 0) remember(name, title(room, name, view));
  bringAlong(name, room);
  if (matchMedia("(hover: hover)").matches) view.focus();

  return {
    room,
    view,
    text: () => room.text.toString(),
    whenSynced: () => room.relay.whenSynced(),
    whenSaved: async (level) => void (await room.relay.whenSaved(level)),
  };
}

function tellSelf(room: Room, self: Person): void {
  room.awareness.setLocalStateField("user", self);
}

function goToPerson(view: EditorView, room: Room, id: string): void {
  const place = placeOf(room, id);
  if (place === null) return;
  view.dispatch({ effects: EditorView.scrollIntoView(Math.min(place, view.state.doc.length), { y: "center" }) });
  view.focus();
}

function setTitle(room: Room, next: string): void {
  if (next === sharedTitle(room)) return;
  try {
    if (next === "") room.doc.meta.delete("title");
    else room.doc.meta.set("title", next);
  } catch {
    toast("You can’t change the title of this text.");
  }
}

function sharedTitle(room: Room): string {
  const value = room.doc.meta.get("title");
  return typeof value === "string" ? value.slice(0, TITLE_LENGTH_MAX) : "";
}

/** What the text calls itself until somebody gives it a title: its first line. */
function fallbackTitle(view: EditorView): string {
  const first = view.state.doc.line(1).text.replace(/^[#>\s]+/, "").trim();
  return first === "" ? "Untitled" : first.slice(0, 60);
}

function title(room: Room, name: string, view?: EditorView): string {
  const shared = sharedTitle(room);
  if (shared !== "") return shared;
  const fallback = view === undefined ? "Untitled" : fallbackTitle(view);
  return fallback === "Untitled" ? name : fallback;
}

function remember(name: string, shown: string): void {
  keepRecentText({ name, title: shown, openedAt: Date.now() });
}

/** A text continued from elsewhere is put into a new one. */
function bringAlong(name: string, room: Room): void {
  const text = takeCarried(name);
  if (text !== null && room.text.length === 0) room.text.insert(0, text);
}

/** Beyond this many units words are not counted: it would take longer than a keystroke may. */
const COUNTED_UNITS_MAX = 200_000;

function length(view: EditorView): string {
  const { doc } = view.state;
  if (doc.length === 0) return "";
  if (doc.length > COUNTED_UNITS_MAX) return `${grouped(doc.length)} characters`;
  const count = doc.toString().match(/[\p{L}\p{N}]+(?:['’-][\p{L}\p{N}]+)*/gu)?.length ?? 0;
  return count === 1 ? "1 word" : `${grouped(count)} words`;
}

/** With a comma at every thousand: the browser's own number format takes tens of milliseconds to load. */
function grouped(count: number): string {
  return String(count).replace(/\B(?=(?:\d{3})+$)/g, ",");
}

function connectionLine(room: Room): string {
  const { link } = room.relay;
  if (link === null) return "Selvedge · not connected";
  const host = new URL(link.relay).host;
  const way = link.transport === "webtransport" ? "WebTransport" : "WebSocket";
  return `Selvedge · connected to ${host}${link.region === "" ? "" : `, region ${link.region}`}, by ${way}`;
}

async function copyAll(room: Room): Promise<void> {
  await copy(room.text.toString());
}

async function copy(text: string): Promise<void> {
  toast((await copyText(text)) ? "Text copied" : "The browser did not let the text be copied. Select it and copy it by hand.");
}

function download(title: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  const link = h("a", { href: url, download: `${title.replace(/[^\p{L}\p{N} _-]+/gu, "").trim() || "text"}.md` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
