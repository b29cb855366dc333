/** The WebSocket to the relay: opened, fed, and left; one end of it hears of each thing once. */

/** Milliseconds until a relay that does not answer is given up. */
export const OPEN_MS = 10_000;

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
    if (!isOver) {
      end.received(data instanceof ArrayBuffer ? new Uint8Array(data) : String(data));
    }
  });
  socket.addEventListener("close", ({ code, reason }) => over(NO_CODE.has(code) ? null : code, reason));
  return {
    send: (text) => {
      if (socket.readyState === WebSocket.OPEN) {
        socket.send(text); // else `closed` is on its way, and what is lost is sent again
      }
    },
    leave: () => {
      isOver = true;
      clearTimeout(timer);
      socket.close();
    },
  };
};
