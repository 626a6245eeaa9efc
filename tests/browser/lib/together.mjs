/** Waiting for several things. */

/** All of them, also when some fail; then throws the first failure. */
export async function together(...promises) {
  const results = await Promise.allSettled(promises);
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  return results.map((result) => result.value);
}
