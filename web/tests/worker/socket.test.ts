/** The WebSocket over a real line, to a relay that sends too much or reads nothing. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo, Socket as Line } from "node:net";
import { test } from "node:test";
import { MAX_TRANSPORT_BYTES } from "../../core/wire/limits.ts";
import { dial, MOST_UNREAD_BYTES } from "../../worker/socket.ts";
import type { Socket } from "../../worker/socket.ts";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** A text message as a server sends it. */
function frameOf(text: string): Buffer {
  const length = Buffer.alloc(9);
  length[0] = 127;
  length.writeBigUInt64BE(BigInt(text.length), 1);
  return Buffer.concat([Buffer.from([0x81]), length, Buffer.from(text, "latin1")]);
}

interface Met {
  readonly socket: Socket;
  /** What the client hears, in order. */
  readonly heard: string[];
  readonly closed: Promise<readonly [number | null, boolean]>;
}

/** Dial a relay that answers the handshake, and then does as it is told with the line. */
async function meet(relay: (line: Line) => void, use: (met: Met) => Promise<void>): Promise<void> {
  const lines: Line[] = [];
  const server = createServer((line) => {
    lines.push(line);
    line.on("error", () => undefined);
    line.once("data", (request) => {
      const key = /sec-websocket-key: (\S+)/i.exec(request.toString())?.[1] ?? "";
      const accept = createHash("sha1").update(key + GUID).digest("base64");
      const upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
      line.write(`${upgrade}Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
      relay(line);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const heard: string[] = [];
  const { port } = server.address() as AddressInfo;
  let socket: Socket | null = null;
  try {
    const opened = new Promise<void>((resolve, reject) => {
      const closed = new Promise<readonly [number | null, boolean]>((over) => {
        socket = dial(`ws://127.0.0.1:${port}/ws`, {
          opened: () => void use({ socket: socket as unknown as Socket, heard, closed }).then(resolve, reject),
          received: (message) => heard.push(String(message)),
          closed: (code, _, wasOpen) => over([code, wasOpen]),
        });
      });
    });
    await opened;
  } finally {
    (socket as Socket | null)?.leave();
    lines.forEach((line) => line.destroy());
    server.close();
  }
}

test("a message above the protocol's limit ends the connection, and is not handed on", async () => {
  const texts = ["x".repeat(MAX_TRANSPORT_BYTES), "y".repeat(30 * 2 ** 20), "z"];
  await meet(
    (line) => texts.forEach((text) => line.write(frameOf(text))),
    async ({ closed, heard }) => {
      assert.deepEqual(await closed, [1009, true]);
      assert.deepEqual(heard, texts.slice(0, 1), "the control: the largest that may be comes through");
    },
  );
});

test("a relay that reads nothing is left before what waits for it fills the memory", async () => {
  await meet(
    (line) => void line.pause(),
    async ({ closed, socket }) => {
      let isOver = false;
      void closed.then(() => (isOver = true));
      let sent = 0;
      const text = "x".repeat(60_000);
      for (; !isOver && sent < 3 * MOST_UNREAD_BYTES; sent += text.length) {
        socket.send(text);
        await Promise.resolve();
      }
      assert.deepEqual(await closed, [null, true]);
      assert.ok(sent > MOST_UNREAD_BYTES, "what an honest relay may leave waiting does not end it");
      assert.ok(sent < 3 * MOST_UNREAD_BYTES, `${sent} bytes were taken`);
    },
  );
});
