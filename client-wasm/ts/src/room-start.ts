/** Starts the module for documents of rooms. */

import { Doc } from "./doc.js";
import { instant } from "./machine/environment.js";
import { Link } from "./machine/link.js";
import { Replica } from "./machine/replica.js";
import { startRehearsed, type Cast, type Load } from "./rehearsal.js";
import { UndoManager } from "./undo.js";
import { facade, type DefaultSource, type InitInput } from "./wasm/load.js";

/** Starts the module, once per page; the rehearsal follows by itself. */
export function begin(input: InitInput | Promise<InitInput> | undefined, source: DefaultSource): Promise<void> {
  return startRehearsed(input, source, roomCast);
}

/** Documents on a link to nowhere. @internal For tests. */
export function roomCast(): Cast {
  const client = new (facade().Client)([], [], undefined, 0n, "", false, instant());
  const link = new Link({ client, transports: [], token: null, onEmpty: () => undefined });
  const replicas: Replica[] = [];
  const doc = (name: string): Doc => {
    const replica = replicaOn(link, name);
    replicas.push(replica);
    return new Doc(replica);
  };
  const close = (): void => { for (const replica of replicas) void replica.close(); };
  const writer = doc("writer");
  new UndoManager(writer);
  const load = (name: string): Load => {
    const late = doc(name);
    return { keep: (from) => from.encodeState(), load: (kept) => { late.applyState(kept); return late; } };
  };
  return { writer, reader: doc("reader"), loads: [load("late"), load("later")], close };
}

function replicaOn(link: Link, document: string): Replica {
  const replica = new Replica({ document: `rehearsal/${document}`, principal: "rehearsal", link, store: null, tabs: null, keepPrincipal: false, storeProblem: null });
  link.open({ document: replica.document, principal: replica.principal, store: false }, (channel) => replica.attach(channel));
  return replica;
}
