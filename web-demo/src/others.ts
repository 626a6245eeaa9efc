/** Who else is here, told from what their sessions say of themselves. What they say is not trusted to be well-formed. */

import { positionFromJSON, type PeerState, type Room } from "selvedge";
import { COLORS, NAME_LENGTH_MAX, type Person } from "./device.ts";
import type { Other } from "./ui/people.ts";

const COLOR = /^#[0-9a-f]{6}$/i;

export function others(room: Room): readonly Other[] {
  return [...room.awareness.getStates()]
    .filter(([, state]) => state.user !== undefined)
    .map(([id, state]) => ({ id: String(id), person: personOf(id, state), hasCursor: cursorHead(state) !== null }))
    .sort((a, b) => a.person.name.localeCompare(b.person.name));
}

/** Where in the text they are, or null. */
export function placeOf(room: Room, id: string): number | null {
  const state = room.awareness.getStates().get(Number(id));
  const head = state === undefined ? null : cursorHead(state);
  if (head === null) return null;
  try {
    return room.text.indexOf(positionFromJSON(head));
  } catch {
    return null;
  }
}

function personOf(id: number, state: PeerState): Person {
  const user: unknown = state.user;
  const { name, color } = (typeof user === "object" && user !== null ? user : {}) as Record<string, unknown>;
  const own = typeof color === "string" && COLOR.test(color) ? color : (COLORS[Math.abs(id) % COLORS.length]?.color ?? "#4a62c9");
  const shown = typeof name === "string" && name.trim() !== "" ? name.trim().slice(0, NAME_LENGTH_MAX) : "Somebody";
  return { name: shown, color: own, colorLight: `${own}33` };
}

function cursorHead(state: PeerState): string | null {
  const cursor: unknown = state.cursor;
  if (typeof cursor !== "object" || cursor === null) return null;
  const { head } = cursor as Record<string, unknown>;
  return typeof head === "string" ? head : null;
}
