/** Who is here: a row of initials, and under it the list, where writers name themselves and pick their thread. */

import { COLORS, NAME_LENGTH_MAX, type Person } from "../device.ts";
import { h, setText } from "../dom.ts";
import { popover } from "./popover.ts";

/** Somebody else at this text. */
export interface Other {
  readonly id: string;
  readonly person: Person;
  /** Whether they have a caret in the text to go to. */
  readonly hasCursor: boolean;
}

export interface People {
  readonly button: HTMLButtonElement;
  show(others: readonly Other[]): void;
}

interface PeopleOptions {
  readonly self: Person;
  readonly onSelf: (next: Person) => void;
  readonly onGoTo: (id: string) => void;
}

const FACES_MAX = 4;

export function people(options: PeopleOptions): People {
  let self = options.self;
  let others: readonly Other[] = [];

  const faces = h("span", { className: "faces", attrs: { "aria-hidden": "true" } });
  const count = h("span", { className: "visually-hidden", attrs: { role: "status", "aria-live": "polite" } });
  const button = h("button", { className: "people", type: "button", title: "Who is here" }, faces, count);

  const name = h("input", {
    className: "field",
    type: "text",
    id: "own-name",
    value: self.name,
    maxLength: NAME_LENGTH_MAX,
    autocomplete: "off",
    spellcheck: false,
  });
  const swatches = h("div", { className: "swatches", attrs: { role: "radiogroup", "aria-label": "Your colour" } });
  const list = h("ul", { className: "others" });
  const panel = popover(
    button,
    [
      h("label", { className: "panel-label", htmlFor: "own-name", textContent: "Your name, as others see it" }),
      name,
      swatches,
      h("p", { className: "panel-label", textContent: "Also here" }),
      list,
    ],
    { label: "Who is here" },
  );

  function change(next: Person): void {
    self = next;
    options.onSelf(next);
    render();
  }

  name.addEventListener("input", () => {
    const next = name.value.trim();
    if (next !== "") change({ ...self, name: next });
  });
  name.addEventListener("blur", () => {
    name.value = self.name;
  });
  name.addEventListener("keydown", (event) => {
    if (event.key === "Enter") panel.close();
  });

  for (const { label, color, colorLight } of COLORS) {
    const radio = h("input", { type: "radio", name: "own-colour", value: color, checked: color === self.color, ariaLabel: label });
    radio.addEventListener("change", () => change({ ...self, color, colorLight }));
    const swatch = h("label", { className: "swatch", title: label }, radio);
    swatch.style.setProperty("--thread", color);
    swatches.append(swatch);
  }

  function render(): void {
    const shown = [self, ...others.map((other) => other.person)];
    const rest = shown.length - FACES_MAX;
    faces.replaceChildren(...shown.slice(0, rest === 1 ? FACES_MAX + 1 : FACES_MAX).map(face));
    if (rest > 1) faces.append(h("span", { className: "face more", textContent: `+${rest}` }));
    setText(count, others.length === 0 ? "You are alone here" : `${shown.length} people here`);
    list.replaceChildren(...(others.length === 0 ? [h("li", { className: "nobody", textContent: "Nobody else yet. Share the link to write together." })] : others.map(row)));
  }

  function row(other: Other): HTMLLIElement {
    const go = h("button", { className: "other", type: "button", disabled: !other.hasCursor }, face(other.person), h("span", { textContent: other.person.name }));
    if (other.hasCursor) {
      go.title = `Go to where ${other.person.name} is writing`;
      go.append(h("span", { className: "other-go", textContent: "Go to" }));
    }
    go.addEventListener("click", () => {
      panel.close();
      options.onGoTo(other.id);
    });
    return h("li", {}, go);
  }

  render();
  return {
    button,
    show(next) {
      // Carets move with every key; who is here does not.
      if (JSON.stringify(next) === JSON.stringify(others)) return;
      others = next;
      render();
    },
  };
}

function face(who: Person): HTMLSpanElement {
  const element = h("span", { className: "face", textContent: initials(who.name), title: who.name });
  element.style.setProperty("--thread", who.color);
  return element;
}

function initials(name: string): string {
  const words = name.split(/\s+/).filter((word) => word !== "");
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : [words[0]];
  return letters.map((word) => [...(word ?? "?")][0] ?? "?").join("").toUpperCase();
}
