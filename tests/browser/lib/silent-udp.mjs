/** A network where UDP leads nowhere: what a browser is told of WebTransport points at a socket that never answers. */

import dgram from "node:dgram";
import { once } from "node:events";

const ROUNDS = 3;
const QUICK_MS = 1_000;

/** Opens the socket. */
export async function silentUdp() {
  const socket = dgram.createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  return {
    /** Leads every page of this browser there, and notes when each begins with WebTransport. */
    async lead(context) {
      await context.route("**/v1/endpoints", async (route) => {
        const response = await route.fetch();
        const body = (await response.text()).replaceAll(/(https:\/\/127\.0\.0\.1):\d+/g, `$1:${port}`);
        await route.fulfill({ response, body });
      });
      await context.addInitScript(() => {
        const Real = window.WebTransport;
        window.WebTransport = class extends Real {
          constructor(...given) {
            window.begun ??= performance.now();
            super(...given);
          }
        };
      });
    },
    /** Opens a tab until one is connected quickly, three times at most: how busy the machine is must not decide. */
    async quickest(profile, origin, name) {
      let ms = Infinity;
      let tab;
      for (let round = 0; round < ROUNDS && ms >= QUICK_MS; round += 1) {
        await tab?.close();
        tab = await profile.tab(origin, name);
        await tab.page.waitForFunction(() => window.selvedge.room.relay.link !== null);
        ms = Math.min(ms, await tab.page.evaluate(() => performance.now() - window.begun));
      }
      return { tab, ms };
    },
    close: () => socket.close(),
  };
}
