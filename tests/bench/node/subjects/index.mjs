/** What is measured. Each module is loaded in a process of its own alone. */

/** Its name, by which rows are compared; `selvedge` first. */
export const SUBJECTS = ["selvedge", "yjs", "ywasm", "loro", "automerge", "json-joy"];

/**
 * The class of a subject, a replica of one text: `create()` and `load(saved)` make one; `edit(edits)` applies [at, delete, insert] as
 * one transaction, which makes one message; `messages()` has all of them, each with its `length` in bytes; `integrate(message)`,
 * which hears those of a replica in their order, `text()`; `save()` gives
 * the bytes that `load` takes, a document that merges with anyone.
 */
export async function subject(name) {
  return (await import(`./${name}.mjs`)).default;
}
