/** A line between browsers and a relay that can be cut for WebSockets alone: the page still comes through it. */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

/** Where people reach the relay. */
export interface Line {
  /** `127.0.0.1:port`. */
  readonly host: string;
  /** Ends all WebSockets, and lets none begin until `restore`. */
  cut(): void;
  restore(): void;
  close(): Promise<void>;
}

/** Opens a line to a relay. */
export async function openLine(relay: URL): Promise<Line> {
  const sockets = new Set<Socket>();
  let isCut = false;
  const server: Server = createServer((near) => {
    near.on("error", () => near.destroy());
    near.once("data", (first) => {
      const isWebSocket = first.subarray(0, 8).toString("latin1") === "GET /ws ";
      if (isWebSocket && isCut) return near.destroy();
      const far = connect(Number(relay.port), relay.hostname);
      far.on("error", () => near.destroy());
      far.on("close", () => near.destroy());
      near.on("close", () => far.destroy());
      if (isWebSocket) {
        sockets.add(near);
        near.on("close", () => sockets.delete(near));
      }
      far.write(first);
      near.pipe(far);
      far.pipe(near);
      return undefined;
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut() {
      isCut = true;
      for (const one of sockets) one.destroy();
    },
    restore() {
      isCut = false;
    },
    async close() {
      for (const one of sockets) one.destroy();
      await new Promise((done) => server.close(done));
    },
  };
}
