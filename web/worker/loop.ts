/**
 * One step at a time: something comes in, the core takes it, what has changed is stored, frames leave, and the page
 * hears.
 *
 * Nothing leaves and nobody hears before it is stored. If it cannot be stored, or the core fails, the core is thrown
 * away with the connection, and another one is made of what is stored: it is never ahead of it for anybody outside.
 *
 * What comes in while something is stored waits, and is taken together: a backlog of texts is stored in few
 * transactions.
 */
import type { Connection } from "../api.ts";
import { audienceOf } from "../core/wire/names.ts";
import { UsageError, VaultError } from "../core/client/errors.ts";
import type { Messenger } from "../core/client/messenger.ts";
import { LOST, outage } from "../core/client/outages.ts";
import { quoted } from "../core/client/sanitize.ts";
import type { Event } from "../core/client/status.ts";
import type { Batch, Vault } from "../core/client/vault.ts";
import * as notices from "../core/client/notices.ts";
import { Aside } from "./aside.ts";
import type { GroupsOfCore } from "./groups.ts";
import type { Dial, Socket } from "./socket.ts";

/** The wait before the n-th attempt to connect is drawn from 0 to the n-th bound (full jitter); milliseconds. */
export const FIRST_BACKOFF_MS = 1_000;
export const LONGEST_BACKOFF_MS = 30_000;

/** After so long a connection was one: what ends sooner is tried again later each time. */
export const SETTLED_MS = 10_000;

/** How long to wait before what could not be stored, or has failed, is tried again; twice as long each time. */
export const FIRST_PAUSE_MS = 1_000;
export const LONGEST_PAUSE_MS = 60_000;

/** How long what has come in is taken together before it is stored, so that calls are answered soon. */
export const STEP_MS = 40;

/**
 * What may wait here of what the relay has sent: more than two mailboxes hold. A browser takes whatever comes, so a
 * relay that sends more is left; what was not acknowledged comes again.
 */
export const MOST_WAITING_CHARS = 64 * 2 ** 20;
export const MOST_WAITING = 20_000;

/** A timer that is late by so much has slept. */
export const SLEPT_MS = 10_000;

/** Times of the next attempt that differ by less are shown as the same. */
const SAME_MS = 100;

const FLOOD = "the relay sends more than this device can take";
const FAILED = "an internal error occurred; what you wrote is saved";

/** A client that was made of what is stored. */
export interface Core {
  readonly vault: Vault;
  readonly messenger: Messenger;
  readonly groups?: GroupsOfCore;
}

/** What has happened in a step, and is stored. */
export interface Step {
  readonly events: readonly Event[];
  /** Null if it has not changed. */
  readonly connection: Connection | null;
}

/** What surrounds the loop. */
export interface LoopPorts {
  /** Makes the client of what is stored, and throws if that cannot be read. */
  readonly open: () => Promise<Core>;
  /** Stores all of a batch, durably, or nothing. */
  readonly commit: (batch: Batch) => Promise<void>;
  /** Hears of each step. */
  readonly told: (step: Step) => void;
  /** Something could not be stored, or has failed, and is tried again. */
  readonly troubled: (error: unknown) => void;
  readonly dial: Dial;
  /** Milliseconds that never go back, of the messenger's monotonic clock. */
  readonly monotonic: () => number;
  /** Milliseconds since 1970. */
  readonly wall: () => number;
  /** A number from 0 to 1. */
  readonly chance: () => number;
  /** Whether the device has a network, as far as it knows. */
  readonly isOnline: () => boolean;
}

/** Something that has come in, for the core. */
interface Input {
  readonly take: (core: Core) => void;
  /** The message of the relay that it is. */
  readonly message?: string;
  /** All that it has changed is stored, and frames have left. */
  readonly stored: () => void;
  readonly failed: (error: unknown) => void;
}

const nothing = (): void => undefined;
const CLOSED = "this profile was closed";

/** Runs a client until it is stopped. */
export class Loop {
  private core: Core | null = null;
  /** What the page asks for goes before what the relay sends, so that no relay can keep its user waiting. */
  private readonly calls: Input[] = [];
  private readonly arrived: Input[] = [];
  /** Of the messages that have arrived and wait. */
  private waitingChars = 0;
  private readonly aside = new Aside();
  /** What the page is to hear once the step is stored. */
  private said: Event[] = [];
  /** A connection, or an attempt to make one. */
  private socket: Socket | null = null;
  private isConnected = false;
  /** When to connect next; null while there is a connection, or if the relay does not want this client. */
  private dialAt: number | null = 0;
  private tickAt = 0;
  /** Until when nothing is done that nobody has asked for. */
  private quietUntil = 0;
  private bound = FIRST_BACKOFF_MS;
  /** Since when this connection's login is through; null if it is not. */
  private onlineSince: number | null = null;
  private pause = FIRST_PAUSE_MS;
  private isStopped = false;
  private wake: () => void = nothing;
  private running: Promise<void> | null = null;
  private shown: Connection;

  constructor(private readonly ports: LoopPorts) {
    this.shown = { state: "connecting", reason: "", since: ports.wall(), nextTryAt: null, waiting: 0 };
  }

  /** Begin with a client that is open already. */
  start(core: Core): void {
    this.core = core;
    this.running ??= this.run();
  }

  /** Leave the relay and end, once what is under way is stored. */
  async stop(): Promise<void> {
    this.isStopped = true;
    this.wake();
    await this.running;
  }

  /** The state of the connection. */
  get connection(): Connection {
    return this.shown;
  }

  /**
   * Do something with the client, and answer once what it has changed is stored.
   *
   * @param action must not wait for anything
   * @throws whatever the action throws, or what has prevented that it was stored
   */
  call<T>(action: (core: Core) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const done: { result?: T } = {};
      this.put({
        take: (core) => {
          done.result = action(core);
        },
        stored: () => resolve(done.result as T),
        failed: reject,
      });
    });
  }

  /**
   * The user wants to connect now, whatever the relay has asked for.
   *
   * An attempt that is under way is given up for a new one: it may have begun without a network, and take its time.
   */
  retryNow(): void {
    if (!this.isConnected && this.core?.messenger.isDeleted !== true) {
      this.dialAt = this.ports.monotonic();
      this.bound = FIRST_BACKOFF_MS;
      this.wake();
    }
  }

  /** The network has come or gone, or the device was asleep: see at once whether the connection still lives. */
  suspect(): void {
    this.put({ take: ({ messenger }) => messenger.check(), stored: nothing, failed: nothing });
    const isWanted = this.dialAt !== null || this.socket !== null;
    if (isWanted && (this.core?.messenger.retryAfter ?? null) === null) {
      this.retryNow();
    }
  }

  /** Give up the connection, if there is one; another is made. `reason` is a sentence for people. */
  drop(reason: string): void {
    this.put({
      take: ({ messenger }) => {
        if (this.socket !== null) {
          this.ended(messenger, null, reason);
        }
      },
      stored: nothing,
      failed: nothing,
    });
  }

  private put(input: Input, queue = this.calls): void {
    if (this.isStopped) {
      input.failed(new VaultError(CLOSED));
      return;
    }
    queue.push(input);
    this.wake();
  }

  /** The next that waits; what has arrived is counted off. */
  private next(): Input | undefined {
    const input = this.calls.shift() ?? this.arrived.shift();
    this.waitingChars -= input?.message?.length ?? 0;
    return input;
  }

  /** Whether no more of what arrives may wait here. */
  private get isFlooded(): boolean {
    return this.arrived.length >= MOST_WAITING || this.waitingChars >= MOST_WAITING_CHARS;
  }

  private async run(): Promise<void> {
    while (!this.isStopped) {
      if (this.core === null) {
        await this.reopen();
      } else {
        await this.idle(this.core);
        await this.step(this.core);
      }
    }
    this.leave();
    this.failAll(new VaultError(CLOSED));
  }

  /** Wait until something comes in, or it is time. */
  private async idle({ messenger }: Core): Promise<void> {
    const now = this.ports.monotonic();
    this.tickAt = Math.max(this.quietUntil, Math.min(this.tickAt, now + messenger.nextTick()));
    const wait = Math.min(this.tickAt, this.dialAt ?? Infinity) - now;
    if (this.calls.length + this.arrived.length > 0 || wait <= 0 || this.isStopped) {
      return;
    }
    const due = this.ports.wall() + wait;
    await this.sleep(wait);
    if (this.ports.wall() - due >= SLEPT_MS) {
      this.suspect();
    }
  }

  /** Until something wakes it, or a time has passed. */
  private async sleep(milliseconds: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | null = null;
    await new Promise<void>((resolve) => {
      this.wake = resolve;
      timer = setTimeout(resolve, milliseconds);
    });
    this.wake = nothing;
    if (timer !== null) {
      clearTimeout(timer);
    }
  }

  /** Take what has come in, store what follows from it, and let it out. */
  private async step(core: Core): Promise<void> {
    const { messenger, vault } = core;
    const taken: Input[] = [];
    try {
      this.takeAll(core, taken);
      const batch = vault.takeBatch();
      if (batch.puts.length > 0 || batch.deletes.length > 0) {
        await this.ports.commit(batch);
      }
    } catch (error) {
      this.fail(error, taken);
      return;
    }
    this.pause = FIRST_PAUSE_MS;
    for (const text of messenger.drain()) {
      this.socket?.send(text);
    }
    this.tell(messenger);
    for (const input of taken) {
      input.stored();
    }
  }

  /** What has come in, as far as there is time; and what time itself brings. */
  private takeAll(core: Core, taken: Input[]): void {
    const { messenger } = core;
    const end = this.ports.monotonic() + STEP_MS;
    do {
      const input = this.next();
      if (input === undefined) {
        break;
      }
      taken.push(input);
      try {
        input.take(core);
      } catch (error) {
        if (!(error instanceof UsageError)) {
          if (input.message !== undefined) {
            this.aside.failed(input.message);
          }
          throw error;
        }
        taken.pop();
        input.failed(error);
      }
    } while (this.ports.monotonic() < end);
    const now = this.ports.monotonic();
    if (now >= this.tickAt) {
      messenger.tick();
      this.tickAt = this.ports.monotonic() + messenger.nextTick();
    }
    if (messenger.isLost) {
      this.ended(messenger, null, this.shown.reason || "the relay has stopped answering");
    }
    if (this.dialAt !== null && now >= this.dialAt) {
      this.connect(messenger);
    }
  }

  private connect(messenger: Messenger): void {
    const url = messenger.server;
    this.leave();
    this.dialAt = null;
    this.onlineSince = null;
    messenger.dialling();
    // What a connection says that was left meanwhile is not for the client any more.
    const put = (take: (messenger: Messenger) => void, message?: string): void => {
      const input: Input = {
        ...(message === undefined ? {} : { message }),
        take: (core) => {
          if (this.socket === socket) {
            take(core.messenger);
          }
        },
        stored: nothing,
        failed: nothing,
      };
      this.waitingChars += message?.length ?? 0;
      this.put(input, this.arrived);
      if (this.isFlooded && this.socket === socket) {
        socket.leave();
        this.forgetArrived();
        this.drop(FLOOD);
      }
    };
    const socket = this.ports.dial(url, {
      opened: () =>
        put((messenger) => {
          this.isConnected = true;
          messenger.connected(audienceOf(url));
        }),
      received: (message) =>
        typeof message === "string"
          ? put((messenger) => this.receive(messenger, message), message)
          : put((messenger) => messenger.receive(message)),
      closed: (code, reason, wasOpen) =>
        put((messenger) => {
          const why = reason === "" ? LOST : quoted(reason);
          this.ended(messenger, code, wasOpen ? why : outage(this.ports.isOnline()));
        }),
    });
    this.socket = socket;
  }

  private receive(messenger: Messenger, message: string): void {
    const held = this.aside.holds(message);
    if (held === "news") {
      this.said.push(notices.setAside());
    }
    if (held === false) {
      messenger.receive(message);
    }
  }

  private forgetArrived(): void {
    this.arrived.length = this.waitingChars = 0;
  }

  private leave(): void {
    this.forgetArrived();
    this.socket?.leave();
    this.socket = null;
    this.isConnected = false;
  }

  /** The connection is gone, or could not be made. */
  private ended(messenger: Messenger, code: number | null, reason: string): void {
    const hasSettled = this.onlineSince !== null && this.ports.monotonic() - this.onlineSince >= SETTLED_MS;
    this.leave();
    const again = messenger.disconnected(code, reason);
    this.bound = hasSettled ? FIRST_BACKOFF_MS : Math.min(this.bound * 2, LONGEST_BACKOFF_MS);
    const wait = (messenger.retryAfter ?? 0) + this.ports.chance() * this.bound;
    this.dialAt = again ? this.ports.monotonic() + wait : null;
  }

  /** The page hears what has happened. */
  private tell(messenger: Messenger): void {
    if (messenger.isOnline) {
      this.onlineSince ??= this.ports.monotonic();
    }
    const events = [...messenger.drainEvents(), ...this.said.splice(0)];
    const said = events.findLast((event) => event.kind === "connection");
    this.show(said?.state ?? this.shown.state, said?.reason ?? this.shown.reason, messenger.waitingFor(), events);
  }

  private show(
    state: Connection["state"],
    reason: string,
    waiting: number,
    events: readonly Event[] = [],
  ): void {
    const before = this.shown;
    const wall = this.ports.wall();
    const isWaiting = state === "offline" && this.dialAt !== null;
    const after: Connection = {
      state,
      reason,
      since: state === before.state ? before.since : wall,
      nextTryAt: isWaiting ? Math.round(wall + (this.dialAt ?? 0) - this.ports.monotonic()) : null,
      waiting,
    };
    const isSame =
      after.state === before.state &&
      after.reason === before.reason &&
      after.waiting === before.waiting &&
      Math.abs((after.nextTryAt ?? 0) - (before.nextTryAt ?? 0)) < SAME_MS;
    this.shown = isSame ? before : after;
    if (events.length > 0 || !isSame) {
      this.ports.told({ events, connection: isSame ? null : after });
    }
  }

  /** It could not be stored, or the client has failed: nothing of it counts. */
  private fail(error: unknown, taken: readonly Input[]): void {
    this.core = null;
    this.leave();
    for (const input of taken) {
      input.failed(error);
    }
    const wait = this.pause + this.ports.chance() * this.pause;
    this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MS);
    // Who asks is answered meanwhile, from what is stored.
    this.dialAt = this.tickAt = this.quietUntil = this.ports.monotonic() + wait;
    this.ports.troubled(error);
    this.show("offline", error instanceof VaultError ? error.message : FAILED, this.shown.waiting);
  }

  private failAll(error: unknown): void {
    for (const input of this.calls.splice(0)) {
      input.failed(error);
    }
  }

  /** Go on with what is stored. */
  private async reopen(): Promise<void> {
    try {
      this.core = await this.ports.open();
    } catch (error) {
      this.failAll(error);
      this.ports.troubled(error);
      if (this.isStopped) {
        return;
      }
      await this.sleep(this.pause);
      this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MS);
    }
  }
}
