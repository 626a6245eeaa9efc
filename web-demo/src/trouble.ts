/**
 * What went wrong for good, as a notice. Whatever it is, the text on this device stays, and there is a way to take it along.
 */

import { edits } from "./safety.ts";
import type { Notice, NoticeAction } from "./ui/notice.ts";

/** Ways out that every such notice offers. */
export interface WaysOut {
  readonly copy: () => void;
  readonly continueElsewhere: () => void;
  readonly reload: () => void;
}

/** The server ended this document's connection for good. */
export function closedNotice(code: number, reason: string, ways: WaysOut): Notice {
  const copy: NoticeAction = { label: "Copy my text", run: ways.copy };
  const elsewhere: NoticeAction = { label: "Continue in a new text", run: ways.continueElsewhere };
  const reload: NoticeAction = { label: "Reload", run: ways.reload };
  switch (code) {
    case 4410:
      return { kind: "alarm", title: "This text was deleted.", text: "What you see is your own copy. It stays on this device, but is no longer shared.", actions: [copy, elsewhere] };
    case 4401:
    case 4403:
      return { kind: "alarm", title: "You have no access to this text.", text: "What you wrote is kept on this device, but not shared.", actions: [copy, elsewhere] };
    case 4409:
      return { kind: "alarm", title: "This text was replaced on the server.", text: "Your copy belongs to an earlier one. It is kept on this device.", actions: [copy, elsewhere, reload] };
    case 4413:
      return { kind: "alarm", title: "The text has grown too large for the server.", text: "Your copy is kept on this device.", actions: [copy] };
    case 4426:
      return { kind: "alarm", title: "This page is older than the server.", text: "Reload it; your text is kept on this device.", actions: [reload, copy] };
    default:
      return { kind: "alarm", title: "The server ended the connection.", text: `${sentence(reason, code)} Your text is kept on this device.`, actions: [reload, copy] };
  }
}

/** What can be done about edits that the server did not take. */
export interface Choices {
  /** Offers them again. */
  readonly retry: () => void;
  /** Asks whether to give them up. */
  readonly discard: () => void;
}

/** Some edits were refused. They stay until there are rights or room for them, or until the writer gives them up. */
export function refusedNotice(code: number, message: string, ways: WaysOut, choices: Choices): Notice {
  const full = code === 4413;
  const title = full ? "There is no room for your last edits." : "The server did not accept your last edits.";
  const next = full
    ? "They are kept on this device and are sent once there is room: text can still be taken away."
    : "They are kept on this device and are sent when you may change this text again. Until then it can only be read, and you still receive what others write.";
  return {
    kind: "alarm",
    title,
    text: `${sentence(message, null)} ${next}`,
    actions: [
      { label: "Copy my text", run: ways.copy },
      { label: "Try again", run: choices.retry },
      { label: "Discard my edits", run: choices.discard },
      { label: "Continue in a new text", run: ways.continueElsewhere },
    ],
  };
}

/** Giving edits up cannot be taken back. */
export function discardNotice(unsentOps: number, ways: WaysOut, answers: { readonly discard: () => void; readonly keep: () => void }): Notice {
  return {
    kind: "alarm",
    title: `Discard ${unsentOps === 1 ? "the edit" : `the ${edits(unsentOps)}`} that the server did not accept?`,
    text: "The text becomes the server’s. They cannot be brought back.",
    actions: [
      { label: "Copy my text", run: ways.copy },
      { label: "Discard", run: answers.discard },
      { label: "Keep them", run: answers.keep },
    ],
  };
}

export function readOnlyNotice(ways: WaysOut): Notice {
  return {
    kind: "info",
    title: "You can read this text, but not change it.",
    text: "",
    actions: [
      { label: "Copy the text", run: ways.copy },
      { label: "Continue in a new text", run: ways.continueElsewhere },
    ],
  };
}

/** The server's document started anew while this device held another life of it. */
export function resetNotice(unsentOps: number, takeBack: (() => void) | null): Notice {
  const unsent = unsentOps > 0 ? ` ${unsentOps === 1 ? "One edit" : `${unsentOps} edits`} of yours had not reached it.` : "";
  return {
    kind: "info",
    title: "This text was rebuilt on the server.",
    text: `You see the new one.${unsent}`,
    actions: takeBack === null ? [] : [{ label: "Copy my earlier text", run: takeBack }],
    dismissible: true,
  };
}

function sentence(text: string, code: number | null): string {
  if (text === "") return code === null || code === 0 ? "" : `(Code ${code}.)`;
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
