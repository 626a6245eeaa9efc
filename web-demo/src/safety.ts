/**
 * How safe the writer's text is, in words a writer understands.
 *
 * Pure: facts in, words out. The rule is to promise no more than is known. "Saved" alone is said only when the highest
 * level this deployment gives has everything; anything less says where the text is and what it waits for.
 */

export type Level = "device" | "region" | "replicated";

/** What is known right now. Counts are own edits that have not reached that level yet. */
export interface Facts {
  /** The writer turned the connection off. */
  readonly switchedOff: boolean;
  readonly link: "connected" | "syncing" | "connecting" | "offline" | "closed";
  /** Edits not yet at each level. */
  readonly waiting: Readonly<Record<Level, number>>;
  /** The highest level this deployment gives, as last heard. */
  readonly highest: Level;
  /** Age of the oldest edit the region has not confirmed. */
  readonly oldestWaitingMs: number;
  /** Whether this load ever heard from a server; without that, nothing is said about it. */
  readonly everConnected: boolean;
  /** Why the device cannot keep the text, if it cannot. */
  readonly deviceTrouble: string | null;
  readonly canWrite: boolean;
  /** The server did not take some of the edits that wait, and nothing was decided about them yet; absent: no. */
  readonly refused?: boolean;
  readonly region: string | null;
}

export type Tone = "safe" | "moving" | "waiting" | "alarm";

export interface Step {
  readonly level: Level;
  readonly name: string;
  readonly done: boolean;
  readonly text: string;
}

export interface Wording {
  readonly tone: Tone;
  /** A few words for the indicator. */
  readonly short: string;
  /** One or two sentences. */
  readonly long: string;
  readonly steps: readonly Step[];
}

export function wording(facts: Facts): Wording {
  return { ...headline(facts), steps: steps(facts) };
}

export function edits(count: number): string {
  return count === 1 ? "1 edit" : `${count.toLocaleString("en")} edits`;
}

function headline(facts: Facts): Omit<Wording, "steps"> {
  const { device, region, replicated } = facts.waiting;
  if (facts.deviceTrouble !== null) {
    const rest = region > 0 ? ` ${edits(region)} exist only in this window.` : "";
    return { tone: "alarm", short: "This device can’t save", long: `${facts.deviceTrouble}${rest}` };
  }
  if (facts.link === "closed") {
    return region > 0
      ? { tone: "alarm", short: `${edits(region)} not sent`, long: "The server no longer takes edits to this text. They are kept on this device." }
      : { tone: "waiting", short: "Kept on this device", long: "The server closed this text. What you see is kept on this device." };
  }
  if (facts.refused === true && region > 0) {
    return { tone: "alarm", short: `${edits(region)} not accepted`, long: "The server did not take them. They are kept on this device." };
  }
  if (!facts.canWrite && region > 0) {
    return { tone: "alarm", short: `${edits(region)} not accepted`, long: "You may read this text but no longer change it. Your edits are kept on this device." };
  }
  if (device > 0 && facts.link !== "connected") {
    return { tone: "moving", short: "Saving on this device…", long: "Being written to this device." };
  }
  if (facts.switchedOff || facts.link === "offline" || facts.link === "connecting") return unconnected(facts);
  if (facts.link === "syncing") {
    return { tone: "moving", short: "Catching up…", long: "Fetching what others wrote, and sending what you wrote." };
  }
  if (region > 0) {
    const slow = facts.oldestWaitingMs > 4000;
    return slow
      ? { tone: "waiting", short: `${edits(region)} on this device, sending…`, long: "The server has not confirmed them yet. They are safe on this device meanwhile." }
      : { tone: "moving", short: "Saving…", long: "On its way to the server." };
  }
  if (facts.highest === "replicated" && replicated > 0) {
    return { tone: "moving", short: "Saved, copying…", long: "The server has everything. A second region is receiving its copy." };
  }
  return facts.highest === "replicated"
    ? { tone: "safe", short: "Saved in two regions", long: "Every edit is on this device, on the server, and in a second region." }
    : { tone: "safe", short: "Saved", long: "Every edit is on this device and on the server." };
}

function unconnected(facts: Facts): Omit<Wording, "steps"> {
  const count = facts.waiting.region;
  const where = count > 0 ? `${edits(count)} on this device` : "all edits sent";
  const kept =
    count > 0
      ? "They are safe on this device and will be sent, and merged with what others wrote, once you are back."
      : facts.everConnected
        ? "The server has everything you wrote. Keep writing: new edits stay on this device until you are back."
        : "Keep writing: edits stay on this device until the server can be reached.";
  if (facts.switchedOff) return { tone: "waiting", short: count > 0 ? `Offline · ${where}` : "Offline", long: `You are working offline. ${kept}` };
  if (facts.link === "connecting" && !facts.everConnected && count === 0) {
    return { tone: "moving", short: "Connecting…", long: kept };
  }
  return { tone: "waiting", short: count > 0 ? `No connection · ${where}` : "No connection", long: `The server can’t be reached; trying again. ${kept}` };
}

function steps(facts: Facts): readonly Step[] {
  const { waiting } = facts;
  const all: Step[] = [
    {
      level: "device",
      name: "This device",
      done: waiting.device === 0 && facts.deviceTrouble === null,
      text: facts.deviceTrouble !== null ? "Cannot save here" : waiting.device > 0 ? `Writing ${edits(waiting.device)}…` : "Everything you typed is here",
    },
    {
      level: "region",
      name: facts.region === null || facts.region === "" || facts.region === "local" ? "Server" : `Server (${facts.region})`,
      done: waiting.region === 0 && facts.everConnected,
      text:
        waiting.region > 0
          ? `${edits(waiting.region)} waiting${facts.oldestWaitingMs > 2000 ? `, the oldest for ${span(facts.oldestWaitingMs)}` : ""}`
          : facts.everConnected
            ? "Everything you typed has arrived"
            : "Not reached yet",
    },
  ];
  if (facts.highest === "replicated") {
    all.push({
      level: "replicated",
      name: "Second region",
      done: waiting.replicated === 0,
      text: waiting.replicated > 0 ? `${edits(waiting.replicated)} being copied` : "Has its own copy",
    });
  }
  return all;
}

/** A length of time, roughly, in words. */
export function span(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}
