/** Opens the text the address names, or a new one. */

import { open } from "selvedge";
import { goTo, nameInAddress, newName, settleName, transportInAddress } from "./address.ts";
import { h } from "./dom.ts";
import { keepFilesOffline } from "./offline-files.ts";
import { showText, type Console } from "./page.ts";
import "./style/base.css";
import "./style/chrome.css";
import "./style/writing.css";

declare global {
  interface Window {
    /** The open text, for the console. */
    selvedge?: Console;
  }
}

const app = document.getElementById("app") as HTMLElement;

async function start(): Promise<void> {
  const wanted = nameInAddress();
  if (wanted === "invalid") {
    showFailure("This link names no text", "Names are made of letters, digits and . _ ~ : -");
    return;
  }
  const name = wanted ?? newName();
  settleName(name);
  try {
    const room = await open(name, { relays: location.origin, transport: transportInAddress() });
    window.selvedge = showText(app, name, room);
  } catch (error) {
    console.error(error);
    showFailure("This text could not be opened", error instanceof Error ? error.message : String(error));
  }
}

function showFailure(title: string, text: string): void {
  const again = h("button", { className: "button", type: "button", textContent: "Try again" });
  again.addEventListener("click", () => location.reload());
  const fresh = h("button", { className: "button primary", type: "button", textContent: "New text" });
  fresh.addEventListener("click", () => goTo(newName()));
  app.replaceChildren(
    h("main", { className: "failure", attrs: { role: "alert" } }, h("h1", { textContent: title }), h("p", { textContent: text }), h("p", {}, again, " ", fresh)),
  );
}

// Another text is another page: nothing of one can leak into the other.
addEventListener("hashchange", () => {
  const left = window.selvedge;
  // Until the page is loaded again no text is open.
  delete window.selvedge;
  void left?.room.close();
  location.reload();
});

void start();
void keepFilesOffline();
