/** The WebSocket to the relay: opened, fed, and left; one end of it hears of each thing once. */

import { CloseCode } from "../core/wire/codes.ts";
import { MAX_TRANSPORT_BYTES } from "../core/wire/limits.ts";

/** Milliseconds until a relay that does not answer is given up. */
export const OPEN_MS = 10_000;

/** Bytes that may wait for a relay that reads nothing; then it is left. */
export const MOST_UNREAD_BYTES = 16 * 2 ** 20;

/** Close codes that a browser makes up: there was no close frame, or none with a code. */
const NO_CODE: ReadonlySet<number> = new Set([1005, 1006, 1015]);

/** What an open or opening connection tells; nothing more comes after `closed`. */
export interface SocketEnd {
  readonly opened: () => void;
  readonly received: (message: string | Uint8Array) => void;
  /**
   * It is gone, or was never there.
   *
   * @param code of the close frame, null if there was none
   * @param reason of the close frame, the relay's words
   * @param wasOpen whether `opened` was called
   */
  readonly closed: (code: number | null, reason: string, wasOpen: boolean) => void;
}

/** A connection. */
export interface Socket {
  readonly send: (text: string) => void;
  /** Leave it; `closed` is not called any more. */
  readonly leave: () => void;
}

/** Opens a connection to a `ws:` or `wss:` URL. */
export type Dial = (url: string, end: SocketEnd) => Socket;

/** Opens one, without a subprotocol, as the relay knows none. */
export const dial: Dial = (url, end) => {
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  let wasOpen = false;
  let isOver = false;
  const over = (code: number | null, reason: string): void => {
    if (!isOver) {
      isOver = true;
      clearTimeout(timer);
      end.closed(code, reason, wasOpen);
    }
  };
  const timer = setTimeout(() => {
    over(null, "");
    socket.close();
  }, OPEN_MS);
  socket.addEventListener("open", () => {
    if (!isOver) {
      wasOpen = true;
      clearTimeout(timer);
      end.opened();
    }
  });
  socket.addEventListener("message", ({ data }: MessageEvent<unknown>) => {
    if (isOver) {
      return;
    }
    const message = data instanceof ArrayBuffer ? new Uint8Array(data) : String(data);
    if (message.length > MAX_TRANSPORT_BYTES) {
      over(CloseCode.MESSAGE_TOO_BIG, "");
      socket.close();
      return;
    }
    end.received(message);
  });
  socket.addEventListener("close", ({ code, reason }) => over(NO_CODE.has(code) ? null : code, reason));
  return {
    send: (text) => {
      if (socket.readyState !== WebSocket.OPEN) {
        return; // `closed` is on its way, and what is lost is sent again
      }
      socket.send(text);
      if (socket.bufferedAmount > MOST_UNREAD_BYTES) {
        over(null, "");
        socket.close();
      }
    },
    leave: () => {
      isOver = true;
      clearTimeout(timer);
      socket.close();
    },
  };
};
